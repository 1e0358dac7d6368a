//! An engine without machines: the faces are tested against it. Its one guest is a
//! [`FakeGuest`]; a machine "boots" by being asked for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use linkspan_agent_client::{AgentChannel, AgentOptions, fake::FakeGuest};
use linkspan_credentials::{DockerConfig, Registry};
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    host::v1::{
        HostHelloRequest, HostHelloResponse, HostInfoResponse, HostPort, Machine, MachineSettings,
        MachineSettingsPatch, MachineState, RegistrySettings, RegistrySettingsPatch,
        StartMachineResponse, StopMachineResponse,
    },
    v1::{CreateContainerRequest, CreateContainerResponse, RegistryCredentials},
};
use linkspan_state::{Paths, image::ImageSearch};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    DockerClient, Engine, Updates, builtin::BuiltinImages, docker_api::DockerApi, failure,
    registries::Registries,
};

/// See the module.
pub struct StubEngine {
    /// Every machine's guest.
    pub guest: FakeGuest,
    /// Cancelled by `shutdown`.
    pub ended: CancellationToken,
    docker_api: DockerApi,
    agent: AgentChannel,
    builtin: BuiltinImages,
    registries: Registries,
    home: std::path::PathBuf,
    machines: Mutex<BTreeMap<String, Machine>>,
    boots: AtomicUsize,
}

impl StubEngine {
    /// With the machine `default`, stopped, and the built-in images of a VM image folder. Beside
    /// that folder, `docker` is Docker's configuration and `home` the home.
    #[must_use]
    pub fn new(vm_image: impl Into<std::path::PathBuf>) -> Arc<Self> {
        let vm_image = vm_image.into();
        let beside = |name: &str| vm_image.with_file_name(name);
        let docker = DockerConfig::at(&beside("docker"), std::ffi::OsString::new());
        let home = beside("home");
        let guest = FakeGuest::default();
        let agent = AgentChannel::new(Arc::new(guest.clone()), AgentOptions::new("default"));
        let machine = Machine {
            name: "default".into(),
            state: MachineState::Stopped.into(),
            settings: Some(MachineSettings { cpus: 2, ..MachineSettings::default() }),
            ..Machine::default()
        };
        Arc::new(Self {
            guest,
            ended: CancellationToken::new(),
            docker_api: DockerApi::default(),
            agent,
            builtin: BuiltinImages::new(ImageSearch::only(vm_image)),
            registries: Registries::new(linkspan_state::RegistrySettings::default(), Some(docker)),
            home,
            machines: Mutex::new([("default".into(), machine)].into()),
            boots: AtomicUsize::default(),
        })
    }

    /// How often a machine was booted.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.boots.load(Ordering::SeqCst)
    }

    /// A program in a container connects to Docker's API.
    pub async fn connect_docker(&self, client: DockerClient) {
        self.docker_api.welcome(client).await;
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Machine) -> T) -> Result<T, Failure> {
        let name = if name.is_empty() { "default" } else { name };
        self.machines.lock().get_mut(name).map(act).ok_or_else(|| {
            Failure::new(ErrorCode::NotFound, format!("no such machine: `{name}`"))
                .hint("list them with `linkspan machine list`")
        })
    }

    fn boot(&self, name: &str) -> Result<Machine, Failure> {
        self.with(name, |machine| {
            if machine.state() != MachineState::Running {
                self.boots.fetch_add(1, Ordering::SeqCst);
                machine.state = MachineState::Running.into();
            }
            machine.clone()
        })
    }
}

#[async_trait]
impl Engine for StubEngine {
    fn hello(&self, _: &HostHelloRequest) -> HostHelloResponse {
        HostHelloResponse {
            protocol_version: PROTOCOL_VERSION,
            version: "0.0.0-stub".into(),
            pid: std::process::id(),
        }
    }

    async fn host_info(&self) -> Result<HostInfoResponse, Failure> {
        Ok(HostInfoResponse { default_machine: "default".into(), ..HostInfoResponse::default() })
    }

    fn ports(&self) -> Vec<HostPort> {
        Vec::new()
    }

    async fn shutdown(&self, _: bool) -> Result<(), Failure> {
        self.ended.cancel();
        Ok(())
    }

    async fn create_machine(
        &self,
        name: &str,
        settings: MachineSettingsPatch,
    ) -> Result<Machine, Failure> {
        let settings =
            MachineSettings { cpus: settings.cpus.unwrap_or(2), ..MachineSettings::default() };
        let machine = Machine {
            name: name.into(),
            state: MachineState::Stopped.into(),
            settings: Some(settings),
            ..Machine::default()
        };
        self.machines.lock().insert(name.into(), machine.clone());
        Ok(machine)
    }

    async fn start_machine(&self, name: &str) -> Result<Updates<StartMachineResponse>, Failure> {
        let starting = self.with(name, |machine| machine.clone())?;
        let running = self.boot(name)?;
        let updates = [starting, running].map(|machine| {
            Ok(StartMachineResponse { machine: Some(machine), notice: String::new() })
        });
        Ok(stream::iter(updates).boxed())
    }

    async fn stop_machine(
        &self,
        name: &str,
        force: bool,
        _: Option<u32>,
    ) -> Result<StopMachineResponse, Failure> {
        self.with(name, |machine| machine.state = MachineState::Stopped.into())?;
        Ok(StopMachineResponse { killed: force, start_broken_off: false })
    }

    async fn list_machines(&self) -> Result<Vec<Machine>, Failure> {
        Ok(self.machines.lock().values().cloned().collect())
    }

    async fn inspect_machine(&self, name: &str) -> Result<Machine, Failure> {
        self.with(name, |machine| machine.clone())
    }

    async fn update_machine(
        &self,
        name: &str,
        patch: MachineSettingsPatch,
    ) -> Result<Machine, Failure> {
        self.with(name, |machine| {
            let settings = machine.settings.get_or_insert_default();
            settings.cpus = patch.cpus.unwrap_or(settings.cpus);
            machine.clone()
        })
    }

    async fn remove_machine(&self, name: &str, _: bool) -> Result<(), Failure> {
        self.with(name, |_| ())?;
        self.machines.lock().remove(name);
        Ok(())
    }

    async fn watch_machine(&self, name: &str) -> Result<Updates<Machine>, Failure> {
        let now = self.inspect_machine(name).await?;
        Ok(stream::once(async { Ok(now) }).chain(stream::pending()).boxed())
    }

    async fn serial_log(
        &self,
        name: &str,
        _: bool,
        _: Option<u64>,
    ) -> Result<Updates<Vec<u8>>, Failure> {
        self.with(name, |_| ())?;
        Ok(stream::iter([Ok(b"serial\n".to_vec())]).boxed())
    }

    async fn agent(&self, machine: &str) -> Result<AgentChannel, Failure> {
        self.boot(machine)?;
        Ok(self.agent.clone())
    }

    async fn registry_agent(&self, machine: &str) -> Result<AgentChannel, Failure> {
        let agent = self.agent(machine).await?;
        self.registries.configure(machine, &agent).await?;
        Ok(agent)
    }

    async fn authenticate(
        &self,
        registry: &Registry,
        credentials: &mut Option<RegistryCredentials>,
    ) -> Result<(), Failure> {
        self.registries.authenticate(registry, credentials).await
    }

    fn registry_settings(&self) -> RegistrySettings {
        self.registries.settings()
    }

    async fn update_registry_settings(
        &self,
        patch: RegistrySettingsPatch,
    ) -> Result<RegistrySettings, Failure> {
        let paths = Paths::at(&self.home).map_err(failure::state)?;
        self.registries.update(&paths, patch).await
    }

    fn docker_clients(&self) -> stream::BoxStream<'static, DockerClient> {
        self.docker_api.clients()
    }

    async fn create_container(
        &self,
        machine: &str,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let agent = self.agent(machine).await?;
        self.builtin.create(machine, &agent, request).await
    }

    async fn provide_image(&self, machine: &str, reference: &str) -> Result<(), Failure> {
        let agent = self.agent(machine).await?;
        self.builtin.provide(machine, &agent, reference).await
    }
}
