//! The real launcher: what `containers` asks for, done by `runtime` and watched by the reaper.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use linkspan_containers::{
    error::{LaunchError, LaunchKind},
    launch::{
        ExitCode, Joins, Launched, Launcher, Mounted, Network, OomWatch, Stdio, StdioSpec, Target,
        TraceStep,
    },
    signal::Signal,
    stats::{InterfaceUsage, Usage},
    top::ProcessInfo,
};
use linkspan_runtime::{
    cgroup::{CgroupError, Hierarchy},
    launch::{
        InitProgram, LaunchError as RuntimeError, LaunchErrorKind, Launcher as Runtime, Looking,
        Role, Shared, SpawnError, SpawnRequest, Spawned, Spawner, Started, Stdio as ChildStdio,
    },
    plan::{CapabilitySets, Look, Plan, Process, Resources},
    seccomp,
};
use linkspan_sys::{Errno, process, spawn::spawn_exec, tty};
use nix::{
    fcntl::{OFlag, open},
    sys::stat::Mode,
    unistd::{Pid, pipe2},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{docker_api::DockerApi, oom::MemoryEvents, procfs, reaper::Reaper};

/// How long the last process of a cgroup may take to be gone after SIGKILL.
const CGROUP_GOES_WITHIN: Duration = Duration::from_secs(5);

/// How long processes may take to freeze: one in an uninterruptible system call does not, and
/// its container hears nothing else meanwhile.
const FREEZES_WITHIN: Duration = Duration::from_secs(10);

/// Starts processes through `linkspan-init`.
#[derive(Debug)]
pub struct GuestLauncher {
    runtime: Runtime<Reaping>,
    exits: Exits,
    memory: MemoryEvents,
    docker_api: DockerApi,
}

type Exits = Arc<Mutex<HashMap<i32, oneshot::Receiver<ExitCode>>>>;

/// Makes processes so that the reaper knows each before it can end.
#[derive(Debug)]
struct Reaping {
    reaper: Reaper,
    exits: Exits,
}

impl Spawner for Reaping {
    fn spawn(&self, request: SpawnRequest<'_>, role: Role) -> Result<Spawned, SpawnError> {
        match role {
            Role::Errand => {
                let spawned = spawn_exec(request)?;
                self.reaper.expect_orphan();
                Ok(spawned)
            }
            Role::Process => {
                let (pid, spawned, exit) = self
                    .reaper
                    .spawn(|| spawn_exec(request).map(|spawned| (spawned.pid, spawned)))?;
                self.exits.lock().insert(pid.as_raw(), exit);
                Ok(spawned)
            }
        }
    }

    fn adopt(&self, pid: Pid, _pidfd: BorrowedFd<'_>) {
        let exit = self.reaper.adopt(pid);
        self.exits.lock().insert(pid.as_raw(), exit);
    }

    fn abandon(&self, process: Spawned) {
        self.exits.lock().remove(&process.pid.as_raw());
        // ESRCH: it has ended, which is what is wanted. The reaper waits for it.
        let _ = process::pidfd_send_signal(&process.pidfd, Signal::KILL.number());
    }
}

impl GuestLauncher {
    /// With the program `linkspan-init`, the cgroup2 mount and the way to Docker's API.
    ///
    /// # Errors
    /// When the program cannot be read, or the kernel has no inotify.
    pub fn new(
        init: &Path,
        cgroup_mount: impl Into<PathBuf>,
        reaper: Reaper,
        docker_api: DockerApi,
    ) -> io::Result<Self> {
        let exits = Exits::default();
        let spawner = Reaping { reaper, exits: Arc::clone(&exits) };
        let runtime =
            Runtime::new(InitProgram::load(init)?, Hierarchy::new(cgroup_mount), spawner)?;
        Ok(Self { runtime, exits, memory: MemoryEvents::start()?, docker_api })
    }

    fn launched(
        &self,
        started: Started,
        cgroup: &Path,
        ours: Ours,
    ) -> Result<Launched, LaunchError> {
        let pid = started.pid.as_raw();
        let exit = self.exits.lock().remove(&pid).ok_or_else(|| LaunchError {
            kind: LaunchKind::Engine,
            message: format!("process {pid} was started without the reaper's knowledge"),
        })?;
        let stdio = match started.pty_master {
            Some(master) => Stdio::Terminal { master },
            None => Stdio::Pipes { stdin: ours.stdin, stdout: ours.stdout, stderr: ours.stderr },
        };
        let trace = started
            .trace
            .into_iter()
            .map(|step| TraceStep {
                name: step.name.into(),
                started_us: step.started_us,
                duration_us: step.duration_us,
            })
            .collect();
        Ok(Launched {
            target: Target {
                pid: pid.unsigned_abs(),
                pidfd: Some(Arc::new(started.pidfd)),
                cgroup: cgroup.to_owned(),
            },
            stdio,
            exit,
            trace,
        })
    }
}

impl Launcher for GuestLauncher {
    fn start(
        &self,
        plan: &Plan,
        stdio: StdioSpec,
        network: Network<'_>,
        joins: &Joins,
    ) -> Result<Launched, LaunchError> {
        let (theirs, ours) = streams(stdio, plan.process.terminal.is_some())?;
        let fd = |target: &Option<Target>| match target {
            Some(target) => pidfd(target).map(Some),
            None => Ok(None),
        };
        let (pid, ipc, uts) = (fd(&joins.pid)?, fd(&joins.ipc)?, fd(&joins.uts)?);
        let user = fd(&joins.user)?;
        let shared = Shared {
            network,
            pid: pid.as_ref().map(|fd| fd.as_fd()),
            ipc: ipc.as_ref().map(|fd| fd.as_fd()),
            uts: uts.as_ref().map(|fd| fd.as_fd()),
            user: user.as_ref().map(|fd| fd.as_fd()),
        };
        let started = self.runtime.start(plan, theirs, shared, true).map_err(in_words)?;
        self.launched(started, &plan.cgroup, ours)
    }

    fn exec(
        &self,
        target: &Target,
        process: &Process,
        stdio: StdioSpec,
    ) -> Result<Launched, LaunchError> {
        let (theirs, ours) = streams(stdio, process.terminal.is_some())?;
        let pidfd = pidfd(target)?;
        let started = self
            .runtime
            .exec(pidfd.as_fd(), &target.cgroup, process, theirs, false)
            .map_err(in_words)?;
        self.launched(started, &target.cgroup, ours)
    }

    fn docker_api(&self) -> io::Result<PathBuf> {
        self.docker_api.provide()
    }

    fn network_namespace(&self, target: &Target) -> io::Result<OwnedFd> {
        let ended = || io::Error::from(Errno::ESRCH);
        let pidfd = target.pidfd.as_ref().ok_or_else(ended)?;
        let namespace = File::open(format!("/proc/{}/ns/net", target.pid))?;
        // If it still lives, the pid was its own all the while. Signal 0 only asks.
        process::pidfd_send_signal(pidfd, 0).map_err(|_| ended())?;
        Ok(namespace.into())
    }

    fn signal(&self, target: &Target, signal: Signal) -> io::Result<()> {
        let Some(pidfd) = &target.pidfd else { return Ok(()) };
        match process::pidfd_send_signal(pidfd, signal.number()) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn kill_all(&self, cgroup: &Path) -> io::Result<()> {
        absent_is_fine(self.runtime.hierarchy().open(cgroup).kill())
    }

    fn freeze(&self, cgroup: &Path) -> io::Result<()> {
        let frozen = self.runtime.hierarchy().open(cgroup).freeze(FREEZES_WITHIN);
        frozen.map_err(io::Error::other)
    }

    fn thaw(&self, cgroup: &Path) -> io::Result<()> {
        absent_is_fine(self.runtime.hierarchy().open(cgroup).thaw())
    }

    fn limit(&self, cgroup: &Path, resources: &Resources) -> io::Result<()> {
        self.runtime.hierarchy().open(cgroup).apply(resources).map_err(io::Error::other)
    }

    fn usage(&self, cgroup: &Path) -> io::Result<Usage> {
        let used = self.runtime.hierarchy().open(cgroup).usage().map_err(io::Error::other)?;
        let system = procfs::system()?;
        Ok(Usage {
            cpu_ns: used.cpu_us * 1000,
            system_ns: system.cpu_ns,
            cpus: system.cpus,
            memory: used.memory,
            memory_limit: used.memory_max.unwrap_or(u64::MAX).min(system.memory),
            pids: used.pids,
            pids_limit: used.pids_max.unwrap_or(0),
            block_read: used.block_read,
            block_written: used.block_written,
        })
    }

    fn interfaces(&self, target: &Target) -> io::Result<Vec<InterfaceUsage>> {
        procfs::interfaces(target.pid)
    }

    fn processes(&self, cgroup: &Path) -> io::Result<Vec<ProcessInfo>> {
        let pids = self.runtime.hierarchy().open(cgroup).processes().map_err(io::Error::other)?;
        procfs::processes(&pids)
    }

    fn root_of(&self, target: &Target) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let path = format!("/proc/{}/root", target.pid);
        let root = open(path.as_str(), flags, Mode::empty())?;
        if let Some(pidfd) = &target.pidfd {
            // It was the process's own, and not one's that has the number now.
            process::pidfd_send_signal(pidfd, 0)?;
        }
        Ok(root)
    }

    fn look(&self, look: &Look) -> Result<Box<dyn Mounted>, LaunchError> {
        Ok(Box::new(Files(self.runtime.look(look).map_err(in_words)?)))
    }

    fn oom_kills(&self, cgroup: &Path) -> io::Result<u64> {
        self.runtime.hierarchy().open(cgroup).oom_kills().map_err(io::Error::other)
    }

    fn watch_oom(&self, cgroup: &Path) -> io::Result<OomWatch> {
        self.memory.watch(&self.runtime.hierarchy().open(cgroup).path().join("memory.events"))
    }

    fn remove_cgroup(&self, cgroup: &Path) -> io::Result<()> {
        absent_is_fine(self.runtime.hierarchy().open(cgroup).remove(CGROUP_GOES_WITHIN))
    }

    fn default_seccomp(&self, capabilities: &CapabilitySets) -> Result<Vec<u64>, LaunchError> {
        Ok(seccomp::default_filter(capabilities.bounding).to_vec())
    }

    fn resize(&self, terminal: &OwnedFd, rows: u16, columns: u16) -> io::Result<()> {
        Ok(tty::set_window_size(terminal, rows, columns)?)
    }
}

fn pidfd(target: &Target) -> Result<Arc<OwnedFd>, LaunchError> {
    target.pidfd.clone().ok_or_else(|| LaunchError {
        kind: LaunchKind::Engine,
        message: format!("process {} is not known by a pidfd", target.pid),
    })
}

/// Mounted files of a container that does not run.
struct Files(Looking);

impl Mounted for Files {
    fn root(&self) -> BorrowedFd<'_> {
        self.0.root()
    }
}

fn absent_is_fine(result: Result<(), CgroupError>) -> io::Result<()> {
    match result {
        Err(error) if error.errno() == Some(Errno::ENOENT as i32) => Ok(()),
        other => other.map_err(io::Error::other),
    }
}

fn in_words(error: RuntimeError) -> LaunchError {
    let kind = match error.kind {
        LaunchErrorKind::NotFound => LaunchKind::NotFound,
        LaunchErrorKind::NotExecutable => LaunchKind::NotExecutable,
        LaunchErrorKind::Other => LaunchKind::Engine,
    };
    LaunchError { kind, message: error.to_string() }
}

/// Our ends of a process's pipes.
#[derive(Debug, Default)]
struct Ours {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Pipes as asked for; with a terminal there are none.
fn streams(spec: StdioSpec, terminal: bool) -> Result<(ChildStdio, Ours), LaunchError> {
    let (mut theirs, mut ours) = (ChildStdio::default(), Ours::default());
    if terminal {
        return Ok((theirs, ours));
    }
    let pipe = || {
        pipe2(OFlag::O_CLOEXEC).map_err(|errno| LaunchError {
            kind: LaunchKind::Engine,
            message: format!("cannot make a pipe: {}", errno.desc()),
        })
    };
    if spec.stdin {
        let (read, write) = pipe()?;
        (theirs.stdin, ours.stdin) = (Some(read), Some(write));
    }
    if spec.output {
        let (read, write) = pipe()?;
        (ours.stdout, theirs.stdout) = (Some(read), Some(write));
        let (read, write) = pipe()?;
        (ours.stderr, theirs.stderr) = (Some(read), Some(write));
    }
    Ok((theirs, ours))
}
