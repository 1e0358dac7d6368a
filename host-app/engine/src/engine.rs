//! What the faces may ask for.

use async_trait::async_trait;
use futures::stream::BoxStream;
use linkspan_agent_client::AgentChannel;
use linkspan_credentials::Registry;
use linkspan_proto::{
    error::Failure,
    host::v1::{
        HostHelloRequest, HostHelloResponse, HostInfoResponse, HostPort, Machine,
        MachineSettingsPatch, RegistrySettings, RegistrySettingsPatch, StartMachineResponse,
        StopMachineResponse,
    },
    v1::{CreateContainerRequest, CreateContainerResponse, RegistryCredentials},
};
use tonic::{Request, Response, Status};

use crate::DockerClient;

/// Things that arrive over time, until they end with one failure or none.
pub type Updates<T> = BoxStream<'static, Result<T, Failure>>;

/// Every use case that needs the host. A face calls one of these and encodes what it gets.
/// Machine names come as the caller wrote them; an empty one is the default machine.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Checks the client's version and says ours. A client of another protocol version gets
    /// an answer, not an error: it must still be able to ask this daemon to end.
    fn hello(&self, request: &HostHelloRequest) -> HostHelloResponse;

    /// Facts about this host.
    async fn host_info(&self) -> Result<HostInfoResponse, Failure>;

    /// The ports that are published on this host.
    fn ports(&self) -> Vec<HostPort>;

    /// Ends the daemon, after the machines when `stop_machines`. Returns before the end.
    async fn shutdown(&self, stop_machines: bool) -> Result<(), Failure>;

    /// Makes a machine. It does not start.
    async fn create_machine(
        &self,
        name: &str,
        settings: MachineSettingsPatch,
    ) -> Result<Machine, Failure>;

    /// Starts a machine and tells about its boot; the last update has the state `running`.
    /// Starting a running machine succeeds; two starts at once share one boot. Dropping the
    /// updates does not stop the boot.
    async fn start_machine(&self, name: &str) -> Result<Updates<StartMachineResponse>, Failure>;

    /// Stops a machine, and tells how.
    async fn stop_machine(
        &self,
        name: &str,
        force: bool,
        stop_timeout_seconds: Option<u32>,
    ) -> Result<StopMachineResponse, Failure>;

    /// All machines, by name.
    async fn list_machines(&self) -> Result<Vec<Machine>, Failure>;

    /// One machine, with what its guest uses.
    async fn inspect_machine(&self, name: &str) -> Result<Machine, Failure>;

    /// Changes settings. What a running machine cannot take over waits for its next start.
    async fn update_machine(
        &self,
        name: &str,
        settings: MachineSettingsPatch,
    ) -> Result<Machine, Failure>;

    /// Removes a machine and its data; with `force` also one that runs.
    async fn remove_machine(&self, name: &str, force: bool) -> Result<(), Failure>;

    /// A machine now and at every change.
    async fn watch_machine(&self, name: &str) -> Result<Updates<Machine>, Failure>;

    /// The serial console's log: its last `tail` lines (`None`: all of it), then, with `follow`,
    /// what is added.
    async fn serial_log(
        &self,
        name: &str,
        follow: bool,
        tail: Option<u64>,
    ) -> Result<Updates<Vec<u8>>, Failure>;

    /// The channel to a machine's agent. The machine is started first when it does not run, and
    /// the default machine is made first when it does not exist.
    async fn agent(&self, machine: &str) -> Result<AgentChannel, Failure>;

    /// As [`Self::agent`], for a call that goes to registries: the guest knows by then how they are
    /// reached.
    async fn registry_agent(&self, machine: &str) -> Result<AgentChannel, Failure>;

    /// Puts in what the user has for a registry, where the caller gave no credentials. There may be
    /// none.
    async fn authenticate(
        &self,
        registry: &Registry,
        credentials: &mut Option<RegistryCredentials>,
    ) -> Result<(), Failure>;

    /// How registries are reached, as it is set.
    fn registry_settings(&self) -> RegistrySettings;

    /// Changes how registries are reached, from the next call on.
    async fn update_registry_settings(
        &self,
        patch: RegistrySettingsPatch,
    ) -> Result<RegistrySettings, Failure>;

    /// The programs in containers that connect to Docker's API, as they come, for the one who asks
    /// first; others wait for ever.
    fn docker_clients(&self) -> BoxStream<'static, DockerClient>;

    /// `ContainerService.Create`: as the agent does it, except that an image which is built in
    /// and which the guest lacks is loaded first.
    async fn create_container(
        &self,
        machine: &str,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status>;

    /// `BuildService.ProvideImage`: an image that is built in, and which the guest lacks, is loaded.
    async fn provide_image(&self, machine: &str, reference: &str) -> Result<(), Failure>;
}
