//! One container: a task owns it, takes commands from a queue and shows its status in a `watch`.
//!
//! The task never waits for the container's process: it starts it, signals it and is told when it
//! ended. So a `kill` is not held up by a `stop` that waits for its grace period; whoever wants
//! to wait, waits on the status.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    Error, Shared,
    error::{LaunchError, LaunchKind},
    io::Streams,
    launch::{ExitCode, Launched, StdioSpec, Target, TraceStep},
    mounts::{self, MountPoint},
    output::Hub,
    plan::{self, CGROUP_PARENT, Permissions, Surroundings},
    signal::Signal,
    state::{Action, Exit, State, Verdict, judge},
    store::{Folder, Record},
    volumes::Held,
};

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
}

/// The handle that everyone but the task has.
pub(crate) struct Container {
    pub(crate) record: Record,
    pub(crate) folder: Folder,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) hub: Arc<Hub>,
    /// Set while it runs: what exec and signals go to.
    pub(crate) target: Mutex<Option<Target>>,
    /// Held, on threads that may block, while a container that does not run is started, removed or
    /// mounted to work with its files: its overlay is mounted once at most.
    pub(crate) files: Mutex<()>,
}

type Reply = oneshot::Sender<Result<(), Error>>;

/// What the task is asked. Each is answered as soon as it is under way, not when it is over.
pub(crate) enum Command {
    Start { size: Option<(u16, u16)>, reply: Reply },
    Stop { signal: Signal, grace: Duration, reply: Reply },
    Kill { signal: Signal, reply: Reply },
    Remove { force: bool, volumes: bool, reply: Reply },
}

impl Container {
    pub(crate) fn cgroup(&self) -> PathBuf {
        Path::new(CGROUP_PARENT).join(self.record.id.as_str())
    }

    pub(crate) fn name(&self) -> &str {
        &self.record.name
    }

    /// The legality table's answer as an error.
    pub(crate) fn permit(&self, action: Action) -> Result<Verdict, Error> {
        let verdict = judge(self.status.borrow().state.kind(), action);
        match verdict {
            Verdict::Refuse(why) => Err(Error::WrongState {
                action: action.verb(),
                name: self.name().into(),
                why: why.into(),
            }),
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

    /// Hands a command over and waits for its answer.
    pub(crate) async fn ask(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Gone(self.name().into());
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
    /// Keeps the content of its volumes of memory.
    held: Held,
}

/// Owns a container.
pub(crate) struct Task {
    container: Arc<Container>,
    shared: Arc<Shared>,
    status: watch::Sender<Status>,
    commands: mpsc::Receiver<Command>,
    run: Option<Run>,
    remove_when_ended: bool,
    /// Its anonymous volumes go with it.
    removes_volumes: bool,
    over: bool,
}

/// Makes a container's handle and starts its task.
pub(crate) fn spawn(shared: &Arc<Shared>, record: Record, state: State) -> Arc<Container> {
    let (commands, queue) = mpsc::channel(32);
    let last_exit = state.exit().cloned();
    let (sender, status) =
        watch::channel(Status { state, exits: 0, last_exit, trace: Arc::from([]) });
    let folder = Folder::of(&shared.root, &record);
    let hub = Arc::new(Hub::new(&folder.log()));
    let target = Mutex::default();
    let files = Mutex::default();
    let container = Arc::new(Container { record, folder, commands, status, hub, target, files });
    let task = Task {
        container: Arc::clone(&container),
        shared: Arc::clone(shared),
        status: sender,
        commands: queue,
        run: None,
        remove_when_ended: false,
        removes_volumes: container.record.config.auto_remove,
        over: false,
    };
    tokio::spawn(task.live());
    container
}

enum Happening {
    Asked(Option<Command>),
    Ended(i32),
    GraceOver,
}

impl Task {
    #[tracing::instrument(skip_all, fields(container = self.container.record.id.short()))]
    async fn live(mut self) {
        while !self.over {
            let happening = match &mut self.run {
                None => Happening::Asked(self.commands.recv().await),
                Some(run) => {
                    let kill_at = run.kill_at;
                    tokio::select! {
                        command = self.commands.recv() => Happening::Asked(command),
                        code = &mut run.exit => Happening::Ended(code.map_or(255, |code| code.0)),
                        () = sleep_until(kill_at.unwrap_or_else(Instant::now)),
                            if kill_at.is_some() => Happening::GraceOver,
                    }
                }
            };
            match happening {
                Happening::Asked(Some(command)) => self.obey(command).await,
                // The table has let go of the last handle: only when the agent ends.
                Happening::Asked(None) => return,
                Happening::Ended(code) => self.ended(code).await,
                Happening::GraceOver => self.grace_over().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Start { size, reply } => {
                let result = match self.container.permit(Action::Start) {
                    Ok(Verdict::Go) => self.start(size).await,
                    other => other.map(drop),
                };
                let removes = result.is_err()
                    && self.run.is_none()
                    && self.container.record.config.auto_remove;
                if removes {
                    // Before the caller hears of it, as at the end of a run.
                    self.shared.forget(&self.container.record.id);
                }
                // The caller may have gone; the container runs all the same.
                let _ = reply.send(result);
                // After the answer: a start need not wait for the disk. A crash in between loses
                // no more than that it ran.
                self.persist().await;
                if removes {
                    self.remove().await;
                }
            }
            Command::Stop { signal, grace, reply } => {
                let result = match self.container.permit(Action::Stop) {
                    Ok(Verdict::Go) => {
                        if let Some(run) = &mut self.run {
                            let at = Instant::now() + grace;
                            run.kill_at = Some(run.kill_at.map_or(at, |known| known.min(at)));
                        }
                        self.signal(signal).await
                    }
                    other => other.map(drop),
                };
                let _ = reply.send(result);
            }
            Command::Kill { signal, reply } => {
                let result = match self.container.permit(Action::Kill) {
                    Ok(_) if signal == Signal::KILL => self.kill_all().await,
                    Ok(_) => self.signal(signal).await,
                    Err(error) => Err(error),
                };
                let _ = reply.send(result);
            }
            Command::Remove { force, volumes, reply } => {
                let result = self.container.permit(Action::Remove { force });
                let go = result.is_ok();
                let _ = reply.send(result.map(drop));
                self.removes_volumes |= go && volumes;
                if go && self.run.is_some() {
                    self.remove_when_ended = true;
                    if let Err(error) = self.kill_all().await {
                        tracing::error!(%error, "a container that is to be removed was not killed");
                    }
                } else if go {
                    self.remove().await;
                }
            }
        }
    }

    async fn start(&mut self, size: Option<(u16, u16)>) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        let (container, shared) = (Arc::clone(&self.container), Arc::clone(&self.shared));
        let launched = blocking(move || launch(&container, &shared, size)).await.and_then(
            |(launched, held)| {
                self.connect(launched, held).map_err(|error| {
                    Error::Launch(LaunchError {
                        kind: LaunchKind::Engine,
                        message: format!("the process's streams cannot be used: {error}"),
                    })
                })
            },
        );
        tracing::debug!(took = ?begun.elapsed(), ok = launched.is_ok(), "start");
        let Err(error) = launched else { return Ok(()) };
        self.container.hub.close();
        if let Error::Launch(failure) = &error {
            let failure = failure.clone();
            self.status.send_modify(|status| match &mut status.state {
                State::Created { failed } | State::Exited { failed, .. } => *failed = Some(failure),
                _ => {}
            });
        }
        Err(error)
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
        let exit = launched.exit;
        self.run = Some(Run { started_at, exit, ended, pumps, kill_at: None, held });
        self.status.send_modify(|status| {
            status.state = State::Running { pid, started_at };
            status.trace = launched.trace.into();
        });
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(target) = self.container.target.lock().clone() else { return Ok(()) };
        let launcher = Arc::clone(&self.shared.launcher);
        let result = blocking(move || launcher.signal(&target, signal)).await;
        result.map_err(|source| self.process_error("signal", source))
    }

    async fn kill_all(&self) -> Result<(), Error> {
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let result = blocking(move || launcher.kill_all(&cgroup)).await;
        result.map_err(|source| self.process_error("kill", source))
    }

    fn process_error(&self, action: &'static str, source: std::io::Error) -> Error {
        Error::Process { action, name: self.container.name().into(), source }
    }

    async fn grace_over(&mut self) {
        if let Some(run) = &mut self.run {
            run.kill_at = None;
        }
        if let Err(error) = self.kill_all().await {
            // Whoever waits for the stop is told by the time-out.
            tracing::error!(%error, "SIGKILL after the grace period failed");
        }
    }

    async fn ended(&mut self, code: i32) {
        let Some(mut run) = self.run.take() else { return };
        run.ended.send_replace(true);
        self.container.target.lock().take();
        while run.pumps.join_next().await.is_some() {}
        self.container.hub.close();
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let held = run.held;
        let oom_killed = blocking(move || {
            drop(held);
            launcher.oom_kills(&cgroup).unwrap_or(0) > 0
        })
        .await;
        let removes = self.remove_when_ended || self.container.record.config.auto_remove;
        if removes {
            // Before anyone hears of the end: a `run --rm --name x` can follow another at once.
            self.shared.forget(&self.container.record.id);
        }
        let exit = Exit {
            code,
            oom_killed,
            error: String::new(),
            started_at: run.started_at,
            finished_at: Timestamp::now(),
        };
        tracing::debug!(code, oom_killed, "ended");
        self.status.send_modify(|status| {
            status.last_exit = Some(exit.clone());
            status.state = State::Exited { exit, failed: None };
            status.exits += 1;
        });
        if removes {
            self.remove().await;
        } else {
            self.remove_cgroup().await;
            self.persist().await;
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
        self.container.hub.close();
        self.remove_cgroup().await;
        let (container, shared) = (Arc::clone(&self.container), Arc::clone(&self.shared));
        let volumes = self.removes_volumes;
        match blocking(move || delete(&container, &shared, volumes)).await {
            Ok(()) => {
                self.shared.forget(&self.container.record.id);
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
        if self.container.record.config.auto_remove {
            // Never read: such a container is deleted, not restored, when the machine starts.
            return;
        }
        let state = self.status.borrow().state.clone();
        let folder = self.container.folder.clone();
        if let Err(error) = blocking(move || folder.save(&state)).await {
            tracing::warn!(%error, "a container's state was not written");
        }
    }
}

/// Deletes the files of a container, and lets go of its volumes. Blocks.
fn delete(container: &Container, shared: &Shared, anonymous_volumes: bool) -> Result<(), Error> {
    let _files = container.files.lock();
    container.folder.remove()?;
    let record = &container.record;
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
    shared: &Shared,
    size: Option<(u16, u16)>,
) -> Result<(Launched, Held), Error> {
    let (config, resolved) = (&container.record.config, &container.record.resolved);
    let permissions = Permissions::of(config)?;
    let cgroup = container.cgroup();
    let around = Surroundings {
        cgroup: cgroup.clone(),
        folder: container.folder.path().into(),
        devices: if config.privileged {
            plan::devices_of_the_vm().map_err(Error::file("read", "/dev"))?
        } else {
            Vec::new()
        },
        seccomp: if permissions.seccomp {
            shared.default_seccomp(&permissions)?
        } else {
            Vec::new()
        },
        size,
    };
    let mut plan = plan::build(config, resolved, around)?;
    let own = mounts::plan::mounts(&resolved.mounts, &shared.volumes)?;
    plan.mounts = mounts::plan::merge(plan.mounts, own);
    let held = shared.volumes.hold(resolved.mounts.iter().filter_map(MountPoint::volume))?;
    let log = container.folder.log();
    container.hub.open(&log).map_err(Error::file("open", log))?;
    let stdio = StdioSpec { stdin: config.open_stdin, output: true };
    let _files = container.files.lock();
    match shared.launcher.start(&plan, stdio) {
        Ok(launched) => {
            *container.target.lock() = Some(launched.target.clone());
            Ok((launched, held))
        }
        Err(failure) => {
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
