//! One container: a task owns it, takes commands from a queue and shows its status in a `watch`.
//!
//! The task never waits for the container's process: it starts it, signals it and is told when it
//! ended. So a `kill` is not held up by a `stop` that waits for its grace period; whoever wants
//! to wait, waits on the status.
//!
//! Here are the handle, the task, and a run's beginning and end. What is asked comes through
//! [`command`]; how it is done is in [`signals`] (stop, kill, pause), [`again`] (restarts) and
//! [`change`] (rename, update).

mod again;
mod around;
mod change;
mod command;
mod signals;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use linkspan_net::Endpoint;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Error, KILL_BUDGET, Shared, devices,
    error::{LaunchError, LaunchKind},
    health::{self, Health},
    id::ContainerId,
    io::Streams,
    launch::{ExitCode, Launched, OomWatch, StdioSpec, Target, TraceStep},
    limits,
    log::LogFiles,
    mounts::{self, MountPoint},
    namespaces, network,
    output::Hub,
    plan::{self, CGROUP_PARENT, Permissions, Surroundings},
    ports::{PortError, PublishedPort},
    restart::Backoff,
    state::{Action, Exit, State, Verdict, judge},
    store::{Folder, Record, Saved},
    userns,
    volumes::Held,
};

pub(crate) use around::tell_network;
pub use change::Changes;
pub(crate) use command::Command;
use command::Reply;
pub(crate) use signals::By;

/// What others see of a container.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// How often it has ended since the agent knows it.
    pub exits: u64,
    /// How its last run ended, also while it runs again.
    pub last_exit: Option<Exit>,
    /// Steps of the last start.
    pub trace: Arc<[TraceStep]>,
    /// Restarts by the policy since the last start by hand.
    pub restarts: u32,
    /// What the probes of this or the last run came to; None: nothing is probed.
    pub health: Option<Arc<Health>>,
    /// What listens on the host while it runs.
    pub ports: Arc<[PublishedPort]>,
    /// The kernel's OOM killer ended a process of it, in this or the last run.
    pub oom_killed: bool,
}

/// The handle that everyone but the task has.
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    /// Replaced by the task alone.
    record: Mutex<Arc<Record>>,
    pub(crate) folder: Folder,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) hub: Arc<Hub>,
    /// Set while it runs: what exec and signals go to.
    pub(crate) target: Mutex<Option<Target>>,
    /// Ids of the commands that `exec` has started and that run.
    pub(crate) execs: Mutex<BTreeSet<ContainerId>>,
    /// Held while its networks change.
    pub(crate) networking: Mutex<()>,
    /// Held, on threads that may block, while a container that does not run is started, removed or
    /// mounted to work with its files: its overlay is mounted once at most.
    pub(crate) files: Mutex<()>,
}

impl Container {
    pub(crate) fn cgroup(&self) -> PathBuf {
        Path::new(CGROUP_PARENT).join(self.id.as_str())
    }

    /// What it is now: a rename or an update replaces it.
    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record.lock())
    }

    pub(crate) fn name(&self) -> String {
        self.record.lock().name.clone()
    }

    /// The legality table's answer as an error.
    pub(crate) fn permit(&self, action: Action) -> Result<Verdict, Error> {
        let verdict = judge(self.status.borrow().state.kind(), action);
        match verdict {
            Verdict::Refuse(why) => {
                Err(Error::WrongState { action: action.verb(), name: self.name(), why: why.into() })
            }
            other => Ok(other),
        }
    }

    /// Waits until `holds`; the last status counts when the task has ended.
    pub(crate) async fn wait_until(&self, mut holds: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        if let Ok(found) = status.wait_for(|status| holds(status)).await {
            return found.clone();
        }
        self.status.borrow().clone()
    }

    /// Waits until what has happened to it is on the disk: what is told after that is known to the
    /// next boot. A container that is gone by then has nothing left to write, and a disk that hangs
    /// holds nobody up for longer than `KILL_BUDGET`.
    pub(crate) async fn settled(&self) {
        let _ = timeout(KILL_BUDGET, self.ask(|reply| Command::Settle { reply })).await;
    }

    /// Hands a command over and waits for its answer.
    pub(crate) async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Gone(self.name());
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A run of the container's first process.
struct Run {
    started_at: Timestamp,
    exit: oneshot::Receiver<ExitCode>,
    /// Becomes true when the process has ended: then the pumps empty the pipes and end.
    ended: watch::Sender<bool>,
    pumps: JoinSet<()>,
    /// When SIGKILL follows the stop signal.
    kill_at: Option<Instant>,
    /// Its end is wanted: no policy starts another after it.
    last: bool,
    /// A `stop` is under way; its event follows the end.
    stopping: bool,
    /// Who asked for a restart, which follows the end.
    restart: Option<Reply>,
    /// Ends the probes with the run.
    _health: Option<health::Watch>,
    /// Keeps the content of its volumes of memory.
    held: Held,
    /// None: the kernel does not tell, and its end shows it.
    oom: Option<OomWatch>,
    /// How many kills by the OOM killer were told.
    oom_told: u64,
}

/// Owns a container.
pub(crate) struct Task {
    container: Arc<Container>,
    shared: Arc<Shared>,
    status: watch::Sender<Status>,
    commands: mpsc::Receiver<Command>,
    run: Option<Run>,
    remove_when_ended: bool,
    /// Somebody stopped it; kept over a boot.
    stopped_by_hand: bool,
    backoff: Backoff,
    /// In Restarting: when the next run begins.
    restart_at: Option<Instant>,
    /// Its anonymous volumes go with it.
    removes_volumes: bool,
    over: bool,
}

/// Makes a container's handle and starts its task.
pub(crate) fn spawn(shared: &Arc<Shared>, record: Record, saved: Saved) -> Arc<Container> {
    let Saved { state, restarts, stopped_by_hand } = saved;
    let (commands, queue) = mpsc::channel(32);
    let last_exit = state.exit().cloned();
    let oom_killed = last_exit.as_ref().is_some_and(|exit| exit.oom_killed);
    let (sender, status) = watch::channel(Status {
        state,
        exits: 0,
        last_exit,
        trace: Arc::from([]),
        restarts,
        health: None,
        ports: Arc::from([]),
        oom_killed,
    });
    let folder = Folder::of(&shared.root, &record);
    let hub = Arc::new(Hub::new(log_files(&folder, &record), folder.path().into()));
    let container = Arc::new(Container {
        id: record.id.clone(),
        record: Mutex::new(Arc::new(record)),
        folder,
        commands,
        status,
        hub,
        target: Mutex::default(),
        execs: Mutex::default(),
        networking: Mutex::default(),
        files: Mutex::default(),
    });
    let task = Task {
        container: Arc::clone(&container),
        shared: Arc::clone(shared),
        status: sender,
        commands: queue,
        run: None,
        remove_when_ended: false,
        removes_volumes: container.record().config.auto_remove,
        stopped_by_hand,
        backoff: Backoff::default(),
        restart_at: None,
        over: false,
    };
    tokio::spawn(task.live());
    container
}

/// None: nothing is kept.
fn log_files(folder: &Folder, record: &Record) -> Option<Arc<LogFiles>> {
    let log = &record.config.log;
    // Valid since it was made, unless somebody else wrote config.json.
    let settings = log.settings().unwrap_or_else(|error| {
        tracing::warn!(%error, container = record.id.short(), "nothing is logged");
        None
    })?;
    let path = folder.log(log.driver())?;
    Some(Arc::new(LogFiles::new(path, settings)))
}

enum Happening {
    Asked(Option<Command>),
    Ended(i32),
    GraceOver,
    RestartDue,
    MemoryNews,
}

/// Never, when there is no watch, or none any more.
async fn news(watch: &mut Option<OomWatch>) {
    if let Some(watch) = watch
        && watch.news.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Never, when there is no such moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Task {
    #[tracing::instrument(skip_all, fields(container = self.container.id.short()))]
    async fn live(mut self) {
        while !self.over {
            let happening = match &mut self.run {
                None => tokio::select! {
                    command = self.commands.recv() => Happening::Asked(command),
                    () = at(self.restart_at) => Happening::RestartDue,
                },
                Some(run) => tokio::select! {
                    command = self.commands.recv() => Happening::Asked(command),
                    code = &mut run.exit => Happening::Ended(code.map_or(255, |code| code.0)),
                    () = at(run.kill_at) => Happening::GraceOver,
                    () = news(&mut run.oom) => Happening::MemoryNews,
                },
            };
            match happening {
                Happening::Asked(Some(command)) => self.obey(command).await,
                // The table has let go of the last handle: only when the agent ends.
                Happening::Asked(None) => return,
                Happening::Ended(code) => self.ended(code).await,
                Happening::GraceOver => self.grace_over().await,
                Happening::MemoryNews => {
                    self.tell_oom().await;
                }
                Happening::RestartDue => self.restart_due().await,
            }
        }
    }

    async fn start(&mut self, size: Option<(u16, u16)>) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        let (container, shared) = (Arc::clone(&self.container), Arc::clone(&self.shared));
        let ports = self.publish().await;
        let launched = match &ports {
            Ok(_) => blocking(move || launch(&container, &shared, size)).await,
            Err(error) => Err(Error::Ports(error.clone())),
        };
        let launched = launched.and_then(|(launched, held)| {
            self.connect(launched, held).map_err(|error| {
                Error::Launch(LaunchError {
                    kind: LaunchKind::Engine,
                    message: format!("the process's streams cannot be used: {error}"),
                })
            })
        });
        tracing::debug!(took = ?begun.elapsed(), ok = launched.is_ok(), "start");
        let Err(error) = launched else {
            let ports = ports.unwrap_or_default().into();
            self.status.send_modify(|status| status.ports = ports);
            return Ok(());
        };
        self.container.hub.close();
        if ports.is_ok_and(|ports| !ports.is_empty()) {
            self.shared.ports.withdraw(self.container.id.as_str()).await;
        }
        let failure = match &error {
            Error::Launch(failure) => Some(failure.clone()),
            _ => None,
        };
        self.status.send_modify(|status| match &mut status.state {
            State::Created { failed } | State::Exited { failed, .. } => *failed = failure,
            // A policy does not try again what cannot be started.
            State::Restarting { exit, .. } => {
                status.state = State::Exited { exit: exit.clone(), failed: failure };
            }
            _ => {}
        });
        Err(error)
    }

    /// Before the process: a container whose port is taken does not start.
    async fn publish(&self) -> Result<Vec<PublishedPort>, PortError> {
        let record = self.container.record();
        let wanted = record.config.ports.wanted(&record.resolved.exposed, &record.config.network);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.shared.ports.publish(record.id.as_str(), &record.name, &wanted).await
    }

    /// The process runs: connects its streams and says so.
    fn connect(&mut self, launched: Launched, held: Held) -> std::io::Result<()> {
        let container = &self.container;
        let streams = match Streams::new(launched.stdio) {
            Ok(streams) => streams,
            Err(error) => {
                // Nobody would ever hear of it again; its exit is the reaper's alone.
                let killed = self.shared.launcher.kill_all(&container.cgroup());
                container.target.lock().take();
                tracing::warn!(?killed, "a container without usable streams was killed");
                return Err(error);
            }
        };
        let stdin = streams.input.map(|input| {
            let (sender, chunks) = mpsc::channel(8);
            tokio::spawn(input.feed(chunks));
            sender
        });
        container.hub.connect(stdin, streams.terminal);
        let (ended, watch_end) = watch::channel(false);
        let mut pumps = JoinSet::new();
        for (channel, output) in streams.outputs {
            pumps.spawn(Arc::clone(&container.hub).pump(channel, output, watch_end.clone()));
        }
        let started_at = Timestamp::now();
        let pid = launched.target.pid;
        *container.target.lock() = Some(launched.target);
        let check = container.record().resolved.health.clone();
        let health = check.as_ref().map(|_| Arc::new(Health::default()));
        around::tell_begin(container, &self.shared);
        self.shared.tell(container, "start", []);
        self.status.send_modify(|status| {
            status.state = State::Running { pid, started_at };
            status.trace = launched.trace.into();
            status.health = health;
            status.oom_killed = false;
        });
        let watch = |check| {
            health::watch(Arc::clone(container), Arc::clone(&self.shared), check, started_at)
        };
        self.run = Some(Run {
            started_at,
            exit: launched.exit,
            ended,
            pumps,
            kill_at: None,
            held,
            oom: around::watch_oom(container, &self.shared),
            oom_told: 0,
            last: false,
            stopping: false,
            restart: None,
            _health: check.map(watch),
        });
        Ok(())
    }

    fn process_error(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Process { action, name: self.container.name(), source }
    }

    async fn ended(&mut self, code: i32) {
        let oom_killed = self.tell_oom().await;
        let Some(mut run) = self.run.take() else { return };
        run.ended.send_replace(true);
        self.container.target.lock().take();
        while run.pumps.join_next().await.is_some() {}
        self.container.hub.close();
        if namespaces::shares_pids(&self.container.record().config)
            && let Err(error) = self.kill_all().await
        {
            tracing::warn!(%error, "processes are left of a container that has ended");
        }
        let held = run.held;
        blocking(move || drop(held)).await;
        let config = &self.container.record().config;
        let removes = self.remove_when_ended || config.auto_remove && run.restart.is_none();
        if removes {
            // Before anyone hears of the end: a `run --rm --name x` can follow another at once.
            self.shared.forget(&self.container.id);
        }
        let exit = Exit {
            code,
            oom_killed,
            error: String::new(),
            started_at: run.started_at,
            finished_at: Timestamp::now(),
        };
        tracing::debug!(code, oom_killed, "ended");
        // Before anyone hears of the end, its networks can be removed.
        let left = self.shared.networks.leave(self.container.id.as_str());
        let published = !self.status.borrow().ports.is_empty();
        if published {
            self.shared.ports.withdraw(self.container.id.as_str()).await;
        }
        self.tell_end(&exit, run.stopping, &left);
        let again = !removes && !run.last && run.restart.is_none();
        let state = self.after(exit.clone(), again.then_some(config.restart));
        self.status.send_modify(|status| {
            status.last_exit = Some(exit);
            status.restarts += u32::from(matches!(state, State::Restarting { .. }));
            status.state = state;
            status.exits += 1;
            status.ports = Arc::from([]);
        });
        let networks = Arc::clone(&self.shared.networks);
        blocking(move || networks.clean(left)).await;
        if removes {
            return self.remove().await;
        }
        self.remove_cgroup().await;
        if let Some(reply) = run.restart {
            self.start_again(reply).await;
        }
        self.persist().await;
    }

    fn tell_end(&self, exit: &Exit, stopped: bool, left: &[Endpoint]) {
        let ran = exit.started_at.duration_until(exit.finished_at).as_secs().to_string();
        let details = [("exitCode", exit.code.to_string()), ("execDuration", ran)];
        self.shared.tell(&self.container, "die", details);
        around::tell_end(&self.container, &self.shared, left);
        if stopped {
            self.shared.tell(&self.container, "stop", []);
        }
    }

    async fn remove_cgroup(&self) {
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        if let Err(error) = blocking(move || launcher.remove_cgroup(&cgroup)).await {
            tracing::warn!(%error, "a container's cgroup was not removed");
        }
    }

    /// Deletes everything and ends the task; [`State::Dead`] when that fails.
    async fn remove(&mut self) {
        let exit = self.status.borrow().state.exit().cloned();
        let begun = State::Removing { exit: exit.clone() };
        self.status.send_modify(|status| status.state = begun);
        self.restart_at = None;
        self.container.hub.close();
        self.remove_cgroup().await;
        let (container, shared) = (Arc::clone(&self.container), Arc::clone(&self.shared));
        let volumes = self.removes_volumes;
        match blocking(move || delete(&container, &shared, volumes)).await {
            Ok(()) => {
                self.shared.forget(&self.container.id);
                self.shared.tell(&self.container, "destroy", []);
                self.status.send_modify(|status| status.state = State::Removed { exit });
                self.shared.removed();
                self.over = true;
            }
            Err(error) => {
                // Removing it again finds it by its id.
                self.shared.remember(&self.container);
                let error = error.to_string();
                self.status.send_modify(|status| status.state = State::Dead { error, exit });
            }
        }
    }

    /// Writes state.json. A disk that cannot be written must not stop the container.
    async fn persist(&self) {
        if self.container.record().config.auto_remove {
            // Never read: such a container is deleted, not restored, when the machine starts.
            return;
        }
        let (state, restarts) = {
            let status = self.status.borrow();
            (status.state.clone(), status.restarts)
        };
        let saved = Saved { state, restarts, stopped_by_hand: self.stopped_by_hand };
        let folder = self.container.folder.clone();
        if let Err(error) = blocking(move || folder.save(&saved)).await {
            tracing::warn!(%error, "a container's state was not written");
        }
    }
}

/// Deletes the files of a container, and lets go of its volumes. Blocks.
fn delete(container: &Container, shared: &Shared, anonymous_volumes: bool) -> Result<(), Error> {
    let _files = container.files.lock();
    if let Some(log) = container.hub.log() {
        log.close();
    }
    container.folder.remove()?;
    let record = container.record();
    let anonymous: Vec<String> = if anonymous_volumes {
        let mounts = record.resolved.mounts.iter();
        mounts.filter_map(MountPoint::anonymous_volume).map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Ok(shared.volumes.release(&record.id, &anonymous)?)
}

/// Everything from the configuration to the process. Blocks.
fn launch(
    container: &Container,
    shared: &Arc<Shared>,
    size: Option<(u16, u16)>,
) -> Result<(Launched, Held), Error> {
    let record = container.record();
    let (config, resolved) = (&record.config, &record.resolved);
    // Again: the setting may be another than when it was made.
    userns::validate(config, shared.user_namespace.as_ref())?;
    let permissions = Permissions::of(config)?;
    let cgroup = container.cgroup();
    let (mut nodes, device_rules) = devices::resolve(config)?;
    if config.privileged {
        nodes.extend(plan::devices_of_the_vm().map_err(Error::file("read", "/dev"))?);
    }
    let around = Surroundings {
        cgroup: cgroup.clone(),
        folder: container.folder.path().into(),
        devices: nodes,
        device_rules,
        disk_limits: limits::disk_limits(&config.limits, devices::disk)?,
        seccomp: shared.seccomp(config, &permissions)?,
        user_namespace: shared.user_namespace(config).cloned(),
        size,
    };
    let mut plan = plan::build(config, resolved, around)?;
    let own = mounts::plan::mounts(&resolved.mounts, &shared.volumes)?;
    plan.mounts = mounts::plan::merge(plan.mounts, own);
    let held = shared.volumes.hold(resolved.mounts.iter().filter_map(MountPoint::volume))?;
    let attributes = config.log.attributes(record.as_ref())?;
    container
        .hub
        .open(attributes)
        .map_err(Error::file("open the log in", container.folder.path()))?;
    let stdio = StdioSpec { stdin: config.open_stdin, output: true };
    let joins = namespaces::find(container, shared)?;
    let _files = container.files.lock();
    let _turn = container.networking.lock();
    let prepared = network::prepare(container, shared)?;
    prepared.change(config, &mut plan);
    let launched = prepared
        .with(container, shared, |network| shared.launcher.start(&plan, stdio, network, &joins));
    match launched {
        Ok(launched) => {
            *container.target.lock() = Some(launched.target.clone());
            Ok((launched, held))
        }
        Err(failure) => {
            network::give_up(container, shared);
            if let Err(error) = shared.launcher.remove_cgroup(&cgroup) {
                tracing::warn!(%error, "the cgroup of a failed start was not removed");
            }
            Err(Error::Launch(failure))
        }
    }
}

/// Runs `work` where it may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime shuts down, and with it this task.
            Err(_) => std::future::pending().await,
        },
    }
}
