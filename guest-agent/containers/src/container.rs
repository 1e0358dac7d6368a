//! One container: a task owns it, takes commands from a queue and shows its status in a `watch`.
//!
//! The task never waits for the container's process: it starts it, signals it and is told when it
//! ended. So a `kill` is not held up by a `stop` that waits for its grace period; whoever wants
//! to wait, waits on the status.
//!
//! Here are the handle and the task. A run's beginning is in [`begin`], its end in [`end`]. What is
//! asked comes through [`command`]; how it is done is in [`signals`] (stop, kill, pause), [`again`] (restarts) and
//! [`change`] (rename, update).

mod again;
mod around;
mod begin;
mod change;
mod command;
mod end;
mod signals;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use linkspan_net::EndpointSpec;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use tokio_util::sync::CancellationToken;

use crate::{
    Error, KILL_BUDGET, Shared,
    health::{self, Health},
    id::ContainerId,
    launch::{ExitCode, OomWatch, Target, TraceStep},
    log::LogFiles,
    output::Hub,
    plan::CGROUP_PARENT,
    ports::PublishedPort,
    restart::Backoff,
    revision::Shown,
    state::{Action, Exit, State, Verdict, judge},
    store::{Folder, Record, Saved},
    volumes::Held,
};

pub(crate) use around::tell_network;
pub use change::Changes;
use command::Reply;
pub(crate) use command::{Command, Hears};
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
    /// The networks that it is to be in, once they were read.
    pub(crate) wanted: Mutex<Option<Vec<EndpointSpec>>>,
    /// Held, on threads that may block, while a container that does not run is started, removed or
    /// mounted to work with its files: its overlay is mounted once at most.
    pub(crate) files: Mutex<()>,
    /// It is removed by force: whoever works with its files is not waited for.
    pub(crate) forced: CancellationToken,
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
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
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
    status: Shown,
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
        wanted: Mutex::default(),
        files: Mutex::default(),
        forced: CancellationToken::new(),
    });
    let task = Task {
        container: Arc::clone(&container),
        shared: Arc::clone(shared),
        status: Shown::new(sender, shared.revision.clone()),
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

    fn process_error(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Process { action, name: self.container.name(), source }
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
