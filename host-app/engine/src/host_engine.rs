//! The real engine: the machines of one home, on one driver.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use linkspan_agent_client::AgentChannel;
use linkspan_credentials::Registry;
use linkspan_machine::{Budgets, StopOrder, driver::Driver};
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    host::v1::{
        HostHelloRequest, HostHelloResponse, HostInfoResponse, HostPort, Machine,
        MachineSettingsPatch, RegistrySettings, RegistrySettingsPatch, StartMachineResponse,
        StopMachineResponse,
    },
    v1::{CreateContainerRequest, CreateContainerResponse, RegistryCredentials, UsageRequest},
};
use linkspan_state::{Config, MachineName, Paths, image::ImageSearch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    DockerClient, Engine, Updates,
    builtin::BuiltinImages,
    failure,
    fleet::{Fleet, not_halted},
    host, ports,
    registries::Registries,
    shares, start, view,
};

/// A guest that is asked what it uses answers at once or is not worth waiting for.
const USAGE_DEADLINE: std::time::Duration = std::time::Duration::from_secs(2);

/// What an engine is made of.
pub struct EngineOptions {
    /// The home.
    pub paths: Paths,
    /// Its settings.
    pub config: Config,
    /// Where the VM image may be: [`ImageSearch::usual`].
    pub images: ImageSearch,
    /// How long things of a boot may take.
    pub budgets: Budgets,
    /// What runs the VMs.
    pub driver: Arc<dyn Driver>,
    /// Cancelled by the engine when a client asks the daemon to end.
    pub ended: CancellationToken,
}

/// See the module.
pub struct HostEngine {
    paths: Paths,
    search: ImageSearch,
    driver: &'static str,
    fleet: Arc<Fleet>,
    builtin: BuiltinImages,
    registries: Registries,
    ended: CancellationToken,
}

impl HostEngine {
    /// Opens the machines of a home, and adopts the VMs that an earlier daemon left running. A
    /// machine that cannot be opened is logged and reported by the calls that name it; it does
    /// not keep the others from being used.
    ///
    /// # Errors
    /// When the machines cannot even be listed.
    pub async fn open(options: EngineOptions) -> Result<Arc<Self>, Failure> {
        let EngineOptions { paths, config, images: search, driver, budgets, ended } = options;
        let name = driver.name();
        let registries = Registries::new(config.registries.clone(), None);
        let fleet = Fleet::open(paths.clone(), config, driver, search.clone(), budgets).await?;
        let builtin = BuiltinImages::new(search.clone());
        Ok(Arc::new(Self { paths, search, driver: name, fleet, builtin, registries, ended }))
    }

    /// Gives the bind mounts of a request their places in what the running machine has of this
    /// host. Also what the user should be told.
    async fn resolve_mounts(
        &self,
        name: &MachineName,
        mut request: Request<CreateContainerRequest>,
    ) -> Result<(Request<CreateContainerRequest>, Vec<String>), Failure> {
        let Some(config) = &mut request.get_mut().config else { return Ok((request, Vec::new())) };
        if config.mounts.is_empty() {
            return Ok((request, Vec::new()));
        }
        let mut mounts = std::mem::take(&mut config.mounts);
        let snapshot = self.fleet.get(name)?.snapshot();
        let running = snapshot.state.running();
        let shares = running.map(|running| running.settings.shares.clone()).unwrap_or_default();
        let machine = name.to_string();
        let docker = self.paths.docker_socket();
        let work = move || {
            let warnings = shares::resolve(&mut mounts, &shares, &machine, &docker);
            warnings.map(|warnings| (mounts, warnings))
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(failure::lost_task)?;
        let (mounts, warnings) = done?;
        config.mounts = mounts;
        Ok((request, warnings))
    }

    async fn stop_all(&self) -> Result<(), Failure> {
        let machines = self.fleet.all();
        let order = StopOrder { force: false, stop_timeout: None };
        let stops = machines.iter().map(|machine| machine.stop(order));
        for result in futures::future::join_all(stops).await {
            result.map_err(failure::machine)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Engine for HostEngine {
    fn hello(&self, request: &HostHelloRequest) -> HostHelloResponse {
        if request.protocol_version != PROTOCOL_VERSION {
            tracing::info!(
                client = %request.version,
                protocol = request.protocol_version,
                "a client of another protocol version"
            );
        }
        HostHelloResponse {
            protocol_version: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
        }
    }

    async fn host_info(&self) -> Result<HostInfoResponse, Failure> {
        let (paths, search, driver) = (self.paths.clone(), self.search.clone(), self.driver);
        let default = self.fleet.default_name().clone();
        tokio::task::spawn_blocking(move || host::info(&paths, &search, default.as_str(), driver))
            .await
            .map_err(failure::lost_task)
    }

    fn ports(&self) -> Vec<HostPort> {
        let mut all = Vec::new();
        for (machine, publications) in self.fleet.ports() {
            for of_one in publications {
                all.extend(of_one.ports.into_iter().map(|port| HostPort {
                    machine: machine.to_string(),
                    container_id: of_one.container_id.clone(),
                    container_name: of_one.container_name.clone(),
                    port: Some(ports::wire_published(port)),
                }));
            }
        }
        all
    }

    async fn shutdown(&self, stop_machines: bool) -> Result<(), Failure> {
        if stop_machines {
            self.stop_all().await?;
        }
        self.ended.cancel();
        Ok(())
    }

    async fn create_machine(
        &self,
        name: &str,
        settings: MachineSettingsPatch,
    ) -> Result<Machine, Failure> {
        let name = self.fleet.resolve(name)?;
        let machine = self.fleet.create(name, view::patch(settings)).await?;
        Ok(view::machine(&machine.snapshot()))
    }

    async fn start_machine(&self, name: &str) -> Result<Updates<StartMachineResponse>, Failure> {
        let name = self.fleet.resolve(name)?;
        let machine = self.fleet.get_or_create(&name).await?;
        Ok(start::updates(machine))
    }

    async fn stop_machine(
        &self,
        name: &str,
        force: bool,
        stop_timeout_seconds: Option<u32>,
    ) -> Result<StopMachineResponse, Failure> {
        let machine = self.fleet.get(&self.fleet.resolve(name)?)?;
        let stop_timeout =
            stop_timeout_seconds.map(|seconds| std::time::Duration::from_secs(seconds.into()));
        if !force {
            not_halted(&machine).map_err(|failure| {
                let hint = failure.hint.clone().unwrap_or_default();
                failure.hint(format!("{hint}; or cut its power with --force"))
            })?;
        }
        let result = machine.stop(StopOrder { force, stop_timeout }).await;
        Ok(view::stopped(result.map_err(failure::machine)?))
    }

    async fn list_machines(&self) -> Result<Vec<Machine>, Failure> {
        let machines = self.fleet.all();
        let status = machines.iter().map(|machine| machine.status());
        let status = futures::future::join_all(status).await;
        // One that was removed meanwhile is not in the list.
        let mut seen: Vec<_> = status.iter().flatten().map(view::measured).collect();
        seen.extend(self.fleet.broken().into_iter().map(|(name, failure)| {
            view::broken(&name, self.driver, &self.paths.machine(&name), failure)
        }));
        seen.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(seen)
    }

    async fn inspect_machine(&self, name: &str) -> Result<Machine, Failure> {
        let name = self.fleet.resolve(name)?;
        let machine = self.fleet.get(&name)?;
        let status = machine.status().await.map_err(failure::machine)?;
        let mut seen = view::measured(&status);
        if let Some(agent) = self.fleet.running_agent(&name) {
            let mut agent = agent.agent();
            let usage = tokio::time::timeout(USAGE_DEADLINE, agent.usage(UsageRequest {}));
            match usage.await {
                Ok(Ok(usage)) => seen.usage = Some(usage.into_inner()),
                // The rest is worth having without it.
                Ok(Err(status)) => {
                    tracing::warn!(%name, %status, "the guest does not tell its usage")
                }
                Err(_) => tracing::warn!(%name, "the guest does not tell its usage in time"),
            }
        }
        Ok(seen)
    }

    async fn update_machine(
        &self,
        name: &str,
        settings: MachineSettingsPatch,
    ) -> Result<Machine, Failure> {
        let machine = self.fleet.get(&self.fleet.resolve(name)?)?;
        machine.update(view::patch(settings)).await.map_err(failure::machine)?;
        Ok(view::machine(&machine.snapshot()))
    }

    async fn remove_machine(&self, name: &str, force: bool) -> Result<(), Failure> {
        self.fleet.remove(&self.fleet.resolve(name)?, force).await
    }

    async fn watch_machine(&self, name: &str) -> Result<Updates<Machine>, Failure> {
        let name = self.fleet.resolve(name)?;
        let changes = start::changes(&self.fleet.get(&name)?);
        // The last one says that the machine was removed: an end with a reason.
        let updates = changes.map(move |snapshot| {
            if snapshot.removed {
                return Err(Failure::new(
                    ErrorCode::NotFound,
                    format!("machine `{name}` was removed"),
                ));
            }
            Ok(view::machine(&snapshot))
        });
        Ok(updates.boxed())
    }

    async fn serial_log(
        &self,
        name: &str,
        follow: bool,
        tail: Option<u64>,
    ) -> Result<Updates<Vec<u8>>, Failure> {
        let machine = self.fleet.get(&self.fleet.resolve(name)?)?;
        let chunks = machine.serial().read(tail, follow);
        let unreadable = |error| {
            Failure::new(ErrorCode::Internal, format!("cannot read the serial log: {error}"))
        };
        Ok(chunks.map(move |chunk| chunk.map_err(unreadable)).boxed())
    }

    async fn agent(&self, machine: &str) -> Result<AgentChannel, Failure> {
        self.fleet.agent(&self.fleet.resolve(machine)?).await
    }

    async fn registry_agent(&self, machine: &str) -> Result<AgentChannel, Failure> {
        let name = self.fleet.resolve(machine)?;
        let agent = self.fleet.agent(&name).await?;
        self.registries.configure(name.as_str(), &agent).await?;
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
        self.registries.update(&self.paths, patch).await
    }

    fn docker_clients(&self) -> BoxStream<'static, DockerClient> {
        self.fleet.docker_api.clients()
    }

    async fn create_container(
        &self,
        machine: &str,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let name = self.fleet.resolve(machine)?;
        let agent = self.fleet.agent(&name).await?;
        let (request, warnings) = self.resolve_mounts(&name, request).await?;
        let mut response = self.builtin.create(name.as_str(), &agent, request).await?;
        response.get_mut().warnings.extend(warnings);
        Ok(response)
    }

    async fn provide_image(&self, machine: &str, reference: &str) -> Result<(), Failure> {
        let name = self.fleet.resolve(machine)?;
        let agent = self.fleet.agent(&name).await?;
        self.builtin.provide(name.as_str(), &agent, reference).await
    }
}
