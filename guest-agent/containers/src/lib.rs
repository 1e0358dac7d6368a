//! Containers: what they are, what may be done with them, and who does it.
//!
//! [`Containers`] is the way in. Each container is owned by one task ([`container`]'s); its state
//! carries its data ([`state`]) and is stored on the data disk ([`store`]). Processes are started
//! through the trait [`launch::Launcher`], images are found through [`launch::Images`], networks
//! through [`network::Networks`]: with the fakes behind the feature `fake` everything here runs without namespaces.
//!
//! Knows no wire types.

mod actions;
mod attach;
mod commit;
pub mod config;
mod container;
mod create;
mod devices;
pub mod error;
pub mod events;
mod exec;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod files;
pub mod filter;
pub mod health;
pub mod id;
pub mod io;
pub mod launch;
pub mod limits;
pub mod log;
pub mod mounts;
pub mod names;
mod namespaces;
pub mod network;
mod output;
pub mod plan;
pub mod ports;
mod prune;
pub mod restart;
mod revision;
pub mod session;
pub mod signal;
pub mod size;
pub mod state;
pub mod stats;
pub mod store;
#[cfg(test)]
mod tests;
pub mod top;
pub mod userns;
pub mod validate;
pub mod volumes;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use linkspan_runtime::plan::UserNamespace;
use parking_lot::Mutex;
use tokio::time::timeout;

pub use attach::{AttachOptions, AttachedInput, Attachment, LogStream};
pub use container::{Changes, Status};
pub use create::{Created, Snapshot};
pub use error::Error;
pub use output::PATIENCE;
pub use prune::{PruneFilters, Pruned};

use crate::{
    config::Config,
    container::{By, Command, Container},
    events::Events,
    id::ContainerId,
    launch::{Images, Launcher},
    limits::Capacity,
    mounts::MountPoint,
    network::Networks,
    plan::Permissions,
    revision::{Counted, Revision},
    signal::Signal,
    state::{Action, Exit, Kind, State, Verdict},
    store::Saved,
    validate::Seccomp,
    volumes::Volumes,
};

/// How long after SIGKILL a container may take to end before it counts as stuck (in an
/// uninterruptible system call, say). Docker's figure.
const KILL_BUDGET: Duration = Duration::from_secs(10);

/// Every container of the VM.
#[derive(Clone)]
pub struct Containers {
    shared: Arc<Shared>,
}

type OnRemoved = Box<dyn Fn() + Send + Sync>;

/// What every container's task needs.
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) images: Arc<dyn Images>,
    pub(crate) networks: Arc<dyn Networks>,
    pub(crate) ports: Arc<dyn ports::Broker>,
    pub(crate) capacity: Capacity,
    pub(crate) user_namespace: Option<UserNamespace>,
    pub(crate) volumes: Arc<Volumes>,
    table: Mutex<Table>,
    pub(crate) revision: Revision,
    /// Compiled filters by effective capabilities: compiling one takes longer than a system call.
    filters: Mutex<HashMap<u64, Vec<u64>>>,
    /// Called after a container was removed: its image's layers may be unused now.
    on_removed: Option<OnRemoved>,
    pub(crate) events: Events,
    /// What [`Containers::resume`] starts.
    at_boot: Mutex<Vec<Arc<Container>>>,
}

#[derive(Default)]
struct Table {
    by_id: BTreeMap<ContainerId, Arc<Container>>,
    /// The layers of those that are being made.
    coming: HashMap<ContainerId, Vec<String>>,
    names: HashMap<String, ContainerId>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// At once when it does not run.
    NotRunning,
    /// The next end of a run.
    NextExit,
    /// Its removal.
    Removed,
}

/// What [`Containers::open`] needs.
pub struct Setup {
    /// The folder of containers, made when missing.
    pub root: PathBuf,
    /// The volumes of the VM.
    pub volumes: Arc<Volumes>,
    /// Starts processes.
    pub launcher: Arc<dyn Launcher>,
    /// Knows images.
    pub images: Arc<dyn Images>,
    /// Knows networks.
    pub networks: Arc<dyn Networks>,
    /// Opens ports on the host.
    pub ports: Arc<dyn ports::Broker>,
    /// What the VM has.
    pub capacity: Capacity,
    /// The machine's setting: ids are mapped so. None: they are the machine's.
    pub user_namespace: Option<UserNamespace>,
    /// Called after each removal, on a task.
    pub on_removed: Option<OnRemoved>,
}

impl Shared {
    /// The mapping of a container's ids, if they are mapped.
    pub(crate) fn user_namespace(&self, config: &Config) -> Option<&UserNamespace> {
        userns::of(config, self.user_namespace.as_ref())
    }

    /// Takes a container out of the table; its name is free.
    pub(crate) fn forget(&self, id: &ContainerId) {
        let mut table = self.table.lock();
        if let Some(container) = table.by_id.remove(id)
            && table.names.get(&container.name()) == Some(id)
        {
            table.names.remove(&container.name());
        }
        self.revision.next();
    }

    /// Tells of something that happened to a container, with Docker's attributes.
    pub(crate) fn tell<const N: usize>(
        &self,
        container: &Container,
        action: impl Into<String>,
        details: [(&str, String); N],
    ) {
        let record = container.record();
        let mut attributes = record.resolved.labels.clone();
        let own = [("name", record.name.clone()), ("image", record.config.image.clone())];
        attributes.extend(own.into_iter().chain(details).map(|(key, value)| (key.into(), value)));
        self.events.publish("container", action, record.id.as_str(), attributes);
    }

    /// Puts a container back that could not be removed. Its name may be another's by now.
    pub(crate) fn remember(&self, container: &Arc<Container>) {
        let id = &container.id;
        let mut table = self.table.lock();
        table.names.entry(container.name()).or_insert_with(|| id.clone());
        table.by_id.insert(id.clone(), Arc::clone(container));
        self.revision.next();
    }

    /// The system call filter of a container's process.
    pub(crate) fn seccomp(
        &self,
        config: &Config,
        permissions: &Permissions,
    ) -> Result<Vec<u64>, Error> {
        if !permissions.seccomp {
            return Ok(Vec::new());
        }
        if let Seccomp::Profile(json) = validate::security(&config.security_opts)?.seccomp {
            return validate::profile(json, &permissions.capabilities);
        }
        let key = permissions.capabilities.effective;
        if let Some(known) = self.filters.lock().get(&key) {
            return Ok(known.clone());
        }
        let filter = self.launcher.default_seccomp(&permissions.capabilities);
        let filter = filter.map_err(Error::Launch)?;
        self.filters.lock().insert(key, filter.clone());
        Ok(filter)
    }

    pub(crate) fn removed(&self) {
        if let Some(notify) = &self.on_removed {
            notify();
        }
    }
}

impl Containers {
    /// Reads what the data disk holds. Blocks; call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(setup: Setup) -> Result<Self, Error> {
        let found = store::load(&setup.root)?;
        let events = Events::default();
        setup.volumes.tell_to(&events);
        let revision = Revision::default();
        let networks = Counted { networks: setup.networks, revision: revision.clone() };
        let shared = Arc::new(Shared {
            root: setup.root,
            launcher: setup.launcher,
            images: setup.images,
            networks: Arc::new(networks),
            ports: setup.ports,
            capacity: setup.capacity,
            user_namespace: setup.user_namespace,
            volumes: setup.volumes,
            table: Mutex::default(),
            revision,
            filters: Mutex::default(),
            on_removed: setup.on_removed,
            events,
            at_boot: Mutex::default(),
        });
        for (record, saved) in found {
            for name in record.resolved.mounts.iter().filter_map(MountPoint::volume) {
                shared.volumes.remember(name, &record.id);
            }
            let Saved { state, stopped_by_hand, .. } = &saved;
            let starts = record.config.restart.starts_at_boot(state, *stopped_by_hand);
            let container = container::spawn(&shared, record, saved);
            shared.remember(&container);
            if starts {
                shared.at_boot.lock().push(container);
            }
        }
        let this = Self { shared };
        this.shared.volumes.sweep(|id| this.shared.table.lock().by_id.contains_key(id));
        Ok(this)
    }

    /// Where everything that happens is told. Others publish here what is theirs: images,
    /// networks, volumes.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// Finds a container by id, name, or unique beginning of an id, in Docker's order.
    pub(crate) fn find(&self, who: &str) -> Result<Arc<Container>, Error> {
        let not_found = || Error::NotFound(who.into());
        let table = self.shared.table.lock();
        if let Some(container) = who.parse().ok().and_then(|id: ContainerId| table.by_id.get(&id)) {
            return Ok(Arc::clone(container));
        }
        let name = who.strip_prefix('/').unwrap_or(who);
        if let Some(container) = table.names.get(name).and_then(|id| table.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        if who.is_empty() {
            return Err(not_found());
        }
        let matching: Vec<_> =
            table.by_id.values().filter(|known| known.id.as_str().starts_with(who)).collect();
        match matching[..] {
            [] => Err(not_found()),
            [only] => Ok(Arc::clone(only)),
            ref several => Err(Error::Ambiguous { prefix: who.into(), count: several.len() }),
        }
    }

    fn all(&self) -> Vec<Arc<Container>> {
        self.shared.table.lock().by_id.values().cloned().collect()
    }

    /// Starts a container. Does nothing when it runs: false.
    ///
    /// # Errors
    /// When it cannot be started, with the failing step, or its state forbids it.
    pub async fn start(&self, who: &str) -> Result<bool, Error> {
        let start = |reply| Command::Start { size: None, hears: None, reply };
        Ok(self.find(who)?.ask(start).await?.verdict == Verdict::Go)
    }

    /// Sends the stop signal and, after the grace period, SIGKILL to everything in the container.
    /// Returns when it has ended. Does nothing when it does not run: false.
    ///
    /// # Errors
    /// When it does not end even then.
    pub async fn stop(
        &self,
        who: &str,
        signal: Option<Signal>,
        grace: Option<Duration>,
    ) -> Result<bool, Error> {
        let container = self.find(who)?;
        if container.permit(Action::Stop)? == Verdict::AlreadySo {
            return Ok(false);
        }
        let (signal, grace) = how_to_stop(&container, signal, grace);
        Self::stop_one(&container, signal, grace, By::Hand).await?;
        Ok(true)
    }

    async fn stop_one(
        container: &Container,
        signal: Signal,
        grace: Duration,
        by: By,
    ) -> Result<(), Error> {
        let exits = container.status.borrow().exits;
        container.ask(|reply| Command::Stop { signal, grace, by, reply }).await?;
        Self::until_ended(container, exits, grace + KILL_BUDGET).await
    }

    /// Sends a signal to the first process; SIGKILL goes to every process, and then this returns
    /// when the container has ended.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self, who: &str, signal: Signal) -> Result<(), Error> {
        let container = self.find(who)?;
        let exits = container.status.borrow().exits;
        container.ask(|reply| Command::Kill { signal, reply }).await?;
        if signal == Signal::KILL {
            Self::until_ended(&container, exits, KILL_BUDGET).await?;
        }
        Ok(())
    }

    async fn until_ended(container: &Container, exits: u64, budget: Duration) -> Result<(), Error> {
        let ended =
            container.wait_until(|status| status.exits > exits || !status.state.kind().is_live());
        match timeout(budget, ended).await {
            Ok(_) => {
                container.settled().await;
                Ok(())
            }
            Err(_) => Err(Error::TimedOut {
                name: container.name(),
                what: "end",
                seconds: budget.as_secs(),
            }),
        }
    }

    /// Deletes a container with everything in it; returns its id. With `force`, kills it first;
    /// with `volumes`, deletes its anonymous volumes too, where no other container has them.
    ///
    /// # Errors
    /// When its state forbids it, or its files cannot be deleted.
    pub async fn remove(
        &self,
        who: &str,
        force: bool,
        volumes: bool,
    ) -> Result<ContainerId, Error> {
        let container = self.find(who)?;
        let exits = container.status.borrow().exits;
        if force {
            // Not in its task: that may be the one that waits for a copy.
            container.forced.cancel();
        }
        container.ask(|reply| Command::Remove { force, volumes, reply }).await?;
        let ended = |status: &Status| status.exits > exits || !status.state.kind().is_live();
        let ended = timeout(KILL_BUDGET, container.wait_until(ended)).await;
        ended.map_err(|_| Error::TimedOut {
            name: container.name(),
            what: "end",
            seconds: KILL_BUDGET.as_secs(),
        })?;
        // Deleting takes as long as there are files.
        let gone = container.wait_until(|status| {
            matches!(status.state, State::Removed { .. } | State::Dead { .. })
        });
        match gone.await.state {
            State::Dead { error, .. } => {
                Err(Error::WrongState { action: "remove", name: container.name(), why: error })
            }
            _ => Ok(container.id.clone()),
        }
    }

    /// Waits for a condition; None when the container never ran.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn wait(&self, who: &str, condition: WaitCondition) -> Result<Option<Exit>, Error> {
        Ok(self.waiting(who, condition)?.await)
    }

    /// The same in two steps: what happens once this has returned is not missed.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn waiting(
        &self,
        who: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = Option<Exit>> + Send + use<>, Error> {
        let container = self.find(who)?;
        let before = container.status.borrow().exits;
        let holds = move |status: &Status| match condition {
            // A run that its policy follows with another has ended too.
            WaitCondition::NotRunning => status.exits > before || !status.state.kind().is_live(),
            WaitCondition::NextExit => {
                status.exits > before || status.state.kind() == Kind::Removed
            }
            WaitCondition::Removed => status.state.kind() == Kind::Removed,
        };
        Ok(async move { container.wait_until(holds).await.last_exit })
    }

    /// How many have processes.
    #[must_use]
    pub fn running(&self) -> usize {
        let runs = |c: &&Arc<Container>| c.status.borrow().state.process().is_some();
        self.shared.table.lock().by_id.values().filter(runs).count()
    }

    /// Stops every container that runs, all at once, because the machine goes down: the next boot
    /// starts again what its policy says. Returns how many, and what went wrong, when the state of
    /// each is on the disk.
    pub async fn stop_all(&self, grace: Option<Duration>) -> (usize, Vec<Error>) {
        let mut stops = tokio::task::JoinSet::new();
        for container in self.all() {
            if container.status.borrow().state.kind().is_live() {
                stops.spawn(async move {
                    let (signal, grace) = how_to_stop(&container, None, grace);
                    Self::stop_one(&container, signal, grace, By::Machine).await
                });
            }
        }
        let count = stops.len();
        let results = stops.join_all().await;
        for container in self.all() {
            // Those that ended by themselves just now.
            container.settled().await;
        }
        (count, results.into_iter().filter_map(Result::err).collect())
    }

    /// Which images containers use: image id, container's name, whether it runs.
    #[must_use]
    pub fn images_in_use(&self) -> Vec<(String, String, bool)> {
        let used = |c: Arc<Container>| {
            let runs = c.status.borrow().state.kind().is_live();
            (c.record().resolved.image_id.clone(), c.name(), runs)
        };
        self.all().into_iter().map(used).collect()
    }

    /// Whether a container stands on the layer with this diff id, or will.
    #[must_use]
    pub fn uses_layer(&self, diff_id: &str) -> bool {
        let uses = |c: &Arc<Container>| c.record().resolved.diff_ids.iter().any(|d| d == diff_id);
        let table = self.shared.table.lock();
        let comes = |layers: &Vec<String>| layers.iter().any(|layer| layer == diff_id);
        table.by_id.values().any(uses) || table.coming.values().any(comes)
    }
}

/// Fills in the container's own signal and seconds.
fn how_to_stop(
    container: &Container,
    signal: Option<Signal>,
    grace: Option<Duration>,
) -> (Signal, Duration) {
    let resolved = &container.record().resolved;
    let own = || Duration::from_secs(resolved.stop_timeout.into());
    (signal.unwrap_or(resolved.stop_signal), grace.unwrap_or_else(own))
}
