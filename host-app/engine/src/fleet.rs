//! The machines of one home by name: opening, making, removing them, and the channel to the
//! agent of each. A machine's own life is the `machine` crate's.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use linkspan_agent_client::{AgentChannel, AgentOptions};
use linkspan_forward::{Ports, Publication};
use linkspan_machine::{
    Budgets, HostLimits, MIN_FREE_BYTES, Machine, MachineError, Parts,
    driver::{Driver, DriverError},
    state::Running,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    ports,
};
use linkspan_state::{Config, MachineName, Paths, SettingsPatch, image::ImageSearch};
use linkspan_transport::{GuestSocket, dialer};
use parking_lot::Mutex;

use crate::{
    agent_log::AgentLog,
    clock::Clock,
    companion,
    docker_api::DockerApi,
    failure,
    folders::FolderWatch,
    guest::AgentGuest,
    ports::{Guest, Publisher},
};

pub(crate) struct Fleet {
    paths: Paths,
    config: Config,
    driver: Arc<dyn Driver>,
    search: ImageSearch,
    budgets: Budgets,
    host: HostLimits,
    pub(crate) docker_api: DockerApi,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    machines: BTreeMap<MachineName, Machine>,
    /// Those that could not be opened, and why.
    broken: BTreeMap<MachineName, Failure>,
    /// Those that are being made: several first calls share the default machine.
    making: HashMap<MachineName, Making>,
    agents: HashMap<MachineName, Agent>,
    ports: BTreeMap<MachineName, Arc<Ports>>,
}

type Making = Shared<BoxFuture<'static, Result<Machine, Failure>>>;

/// The channel to one boot of one machine.
struct Agent {
    boot_id: String,
    socket: GuestSocket,
    channel: AgentChannel,
}

impl Agent {
    fn is_for(&self, running: &Running) -> bool {
        self.boot_id == running.guest.boot_id && self.socket == running.socket
    }
}

impl Fleet {
    pub(crate) async fn open(
        paths: Paths,
        config: Config,
        driver: Arc<dyn Driver>,
        search: ImageSearch,
        budgets: Budgets,
    ) -> Result<Arc<Self>, Failure> {
        let (names, host) = {
            let paths = paths.clone();
            let look = move || (paths.machine_names(), HostLimits::detect());
            tokio::task::spawn_blocking(look).await.map_err(failure::lost_task)?
        };
        let names = names.map_err(failure::state)?;
        let (known, docker_api) = (Mutex::default(), DockerApi::default());
        let fleet =
            Arc::new(Self { paths, config, driver, search, budgets, host, docker_api, known });
        let opened = names.into_iter().map(|name| {
            let parts = fleet.parts(&name);
            async move { (name, Machine::open(parts).await) }
        });
        for (name, result) in futures::future::join_all(opened).await {
            let mut known = fleet.known.lock();
            match result {
                Ok(machine) => {
                    fleet.accompany(&mut known, &machine);
                    known.machines.insert(name, machine);
                }
                Err(error) => {
                    tracing::error!(%name, %error, "cannot open a machine");
                    known.broken.insert(name, failure::machine(error));
                }
            }
        }
        Ok(fleet)
    }

    fn parts(&self, name: &MachineName) -> Parts {
        Parts {
            paths: self.paths.machine(name),
            images: self.search.clone(),
            driver: self.driver.clone(),
            guest: Arc::new(AgentGuest::new(name.as_str())),
            budgets: self.budgets.clone(),
            host: self.host,
            beacon_port: ports::HOST_BOOT_BEACON,
            min_free_bytes: MIN_FREE_BYTES,
        }
    }

    pub(crate) fn default_name(&self) -> &MachineName {
        &self.config.default_machine
    }

    /// The machine that a caller means; empty is the default one.
    pub(crate) fn resolve(&self, name: &str) -> Result<MachineName, Failure> {
        if name.is_empty() {
            return Ok(self.default_name().clone());
        }
        name.parse().map_err(failure::name)
    }

    /// By name.
    pub(crate) fn all(&self) -> Vec<Machine> {
        self.known.lock().machines.values().cloned().collect()
    }

    /// Those that are there but cannot be opened, by name.
    pub(crate) fn broken(&self) -> Vec<(MachineName, Failure)> {
        let known = self.known.lock();
        known.broken.iter().map(|(name, failure)| (name.clone(), failure.clone())).collect()
    }

    pub(crate) fn get(&self, name: &MachineName) -> Result<Machine, Failure> {
        let known = self.known.lock();
        if let Some(machine) = known.machines.get(name) {
            return Ok(machine.clone());
        }
        if let Some(failure) = known.broken.get(name) {
            return Err(failure.clone());
        }
        let failure = failure::machine(MachineError::NotFound(name.clone()));
        Err(match name == self.default_name() {
            true => failure.hint("the first command that needs it makes it, as `linkspan run`"),
            false => failure,
        })
    }

    /// The default machine is made by the first call that needs it; others are not.
    pub(crate) async fn get_or_create(
        self: &Arc<Self>,
        name: &MachineName,
    ) -> Result<Machine, Failure> {
        match self.get(name) {
            Err(failure) if failure.code == ErrorCode::NotFound && name == self.default_name() => {}
            result => return result,
        }
        let making = {
            let mut known = self.known.lock();
            match known.machines.get(name) {
                Some(machine) => return Ok(machine.clone()),
                None => self.making(&mut known, name, SettingsPatch::default()),
            }
        };
        making.await
    }

    pub(crate) async fn create(
        self: &Arc<Self>,
        name: MachineName,
        patch: SettingsPatch,
    ) -> Result<Machine, Failure> {
        let making = {
            let mut known = self.known.lock();
            let taken = known.machines.contains_key(&name)
                || known.making.contains_key(&name)
                || known.broken.contains_key(&name);
            if taken {
                return Err(failure::machine(MachineError::Exists(name)));
            }
            self.making(&mut known, &name, patch)
        };
        making.await
    }

    /// The one making of a machine, begun unless it is under way. In a task of its own: a caller
    /// that goes away leaves no machine that is on the disk and not in the list.
    fn making(
        self: &Arc<Self>,
        known: &mut Known,
        name: &MachineName,
        patch: SettingsPatch,
    ) -> Making {
        if let Some(making) = known.making.get(name) {
            return making.clone();
        }
        let (fleet, parts) = (self.clone(), self.parts(name));
        let (name, patch) = (name.clone(), patch.over(self.config.machine.clone()));
        let key = name.clone();
        let task = tokio::spawn(async move {
            let made = Machine::create(parts, &patch).await.map_err(failure::machine);
            let mut known = fleet.known.lock();
            known.making.remove(&name);
            if let Ok(machine) = &made {
                fleet.accompany(&mut known, machine);
                known.machines.insert(name, machine.clone());
            }
            made
        });
        let making =
            async move { task.await.unwrap_or_else(|error| Err(failure::lost_task(error))) };
        let making = making.boxed().shared();
        known.making.insert(key, making.clone());
        making
    }

    pub(crate) async fn remove(&self, name: &MachineName, force: bool) -> Result<(), Failure> {
        if self.known.lock().broken.contains_key(name) {
            return self.remove_broken(name, force).await;
        }
        let machine = self.get(name)?;
        machine.remove(force).await.map_err(failure::machine)?;
        let mut known = self.known.lock();
        known.machines.remove(name);
        known.agents.remove(name);
        known.ports.remove(name);
        Ok(())
    }

    /// Removes a machine that could not be opened: it has no owner that would do it.
    async fn remove_broken(&self, name: &MachineName, force: bool) -> Result<(), Failure> {
        let paths = self.paths.machine(name);
        let failed = |error: DriverError| Failure::new(ErrorCode::Internal, error.to_string());
        if let Some(vm) = self.driver.adopt(paths.run()).await.map_err(failed)? {
            if !force {
                let message = format!("cannot remove machine `{name}`: its VM runs");
                return Err(Failure::new(ErrorCode::WrongState, message)
                    .hint("remove it with --force, which ends the VM"));
            }
            vm.kill(self.budgets.kill).await.map_err(failed)?;
        }
        let removed = tokio::task::spawn_blocking(move || paths.remove()).await;
        removed.map_err(failure::lost_task)?.map_err(failure::state)?;
        self.known.lock().broken.remove(name);
        Ok(())
    }

    /// What goes on beside a machine from now on.
    fn accompany(self: &Arc<Self>, known: &mut Known, machine: &Machine) {
        let (fleet, name) = (Arc::downgrade(self), machine.name().clone());
        companion::run(fleet.clone(), machine, AgentLog::of(machine));
        companion::run(fleet.clone(), machine, Clock::of(machine));
        let guest = Guest { fleet: fleet.clone(), machine: name.clone() };
        let ports = Arc::new(Ports::new(Arc::new(guest)));
        known.ports.insert(name.clone(), ports.clone());
        companion::run(fleet.clone(), machine, Publisher { machine: name.clone(), ports });
        // As a client of the host's socket says it.
        let name = if name == *self.default_name() { String::new() } else { name.to_string() };
        companion::run(fleet.clone(), machine, self.docker_api.beside(name));
        companion::run(fleet, machine, FolderWatch::of(machine));
    }

    /// The published ports of every machine.
    pub(crate) fn ports(&self) -> Vec<(MachineName, Vec<Publication>)> {
        let known = self.known.lock();
        known.ports.iter().map(|(name, ports)| (name.clone(), ports.table())).collect()
    }

    /// The channel to a machine's agent; the machine is started first when it does not run.
    pub(crate) async fn agent(
        self: &Arc<Self>,
        name: &MachineName,
    ) -> Result<AgentChannel, Failure> {
        let machine = self.get_or_create(name).await?;
        not_halted(&machine)?;
        if let Some(channel) = self.running_agent(name) {
            match channel.connect().await {
                Ok(_) => return Ok(channel),
                Err(error) if !error.is_transient() => return Err(error.into()),
                // It may just have ended, and its owner not have said so yet: the start below
                // queues behind that news.
                Err(_) => {}
            }
        }
        machine.start().await.map_err(failure::machine)?;
        self.running_agent(name).ok_or_else(|| {
            let state = machine.snapshot().state.name();
            Failure::new(
                ErrorCode::Unavailable,
                format!("machine `{name}` started, but is {state} by now"),
            )
            .hint(format!("see `linkspan machine logs {name}`"))
        })
    }

    /// The channel to the agent of a machine that runs.
    pub(crate) fn running_agent(&self, name: &MachineName) -> Option<AgentChannel> {
        let mut known = self.known.lock();
        let snapshot = known.machines.get(name)?.snapshot();
        let running = snapshot.state.running()?;
        if let Some(agent) = known.agents.get(name).filter(|agent| agent.is_for(running)) {
            return Some(agent.channel.clone());
        }
        let dial = match dialer(&running.socket) {
            Ok(dial) => dial,
            Err(error) => {
                tracing::error!(%name, %error, "cannot reach a machine that runs");
                return None;
            }
        };
        let options =
            AgentOptions { halted: running.halted.clone(), ..AgentOptions::new(name.as_str()) };
        let channel = AgentChannel::new(dial, options);
        let agent = Agent {
            boot_id: running.guest.boot_id.clone(),
            socket: running.socket.clone(),
            channel: channel.clone(),
        };
        known.agents.insert(name.clone(), agent);
        Some(channel)
    }
}

/// A machine that stands still is waited for in vain.
pub(crate) fn not_halted(machine: &Machine) -> Result<(), Failure> {
    let snapshot = machine.snapshot();
    let Some(why) = snapshot.halted else { return Ok(()) };
    let name = snapshot.name;
    let message = format!("machine `{name}` stands still: {why}");
    Err(Failure::new(ErrorCode::NoSpace, message).hint(format!(
        "free some space on the disk of `{}`: the machine goes on by itself then",
        snapshot.directory.display()
    )))
}
