//! What this crate needs from the rest of the guest, as traits: something that starts processes
//! and something that knows images. The agent gives the real ones, tests the scripted ones.
//!
//! Every function here is synchronous and may block; this crate calls them from
//! `spawn_blocking`.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use linkspan_runtime::launch::Network;
use linkspan_runtime::plan::{CapabilitySets, Look, Plan, Process, Resources};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::{
    error::{ImageError, LaunchError},
    health::Healthcheck,
    signal::Signal,
    stats::{InterfaceUsage, Usage},
    top::ProcessInfo,
};

/// What a new process's standard streams are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StdioSpec {
    /// A pipe for standard input; otherwise /dev/null. Ignored with a terminal.
    pub stdin: bool,
    /// Pipes for output; otherwise /dev/null. Ignored with a terminal.
    pub output: bool,
}

/// Our ends of a process's standard streams.
#[derive(Debug)]
pub enum Stdio {
    /// One pipe each.
    Pipes {
        /// None: /dev/null.
        stdin: Option<OwnedFd>,
        /// None: /dev/null.
        stdout: Option<OwnedFd>,
        /// None: /dev/null.
        stderr: Option<OwnedFd>,
    },
    /// The master of the process's terminal.
    Terminal {
        /// Read, written and resized.
        master: OwnedFd,
    },
}

/// How a process ended: as a shell reports it, the code, or 128 + the signal's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitCode(pub i32);

/// One step of a start and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// What was done.
    pub name: String,
    /// Microseconds since the start began.
    pub started_us: u64,
    /// Microseconds.
    pub duration_us: u64,
}

/// A process that runs.
#[derive(Debug, Clone)]
pub struct Target {
    /// In the VM's PID namespace.
    pub pid: u32,
    /// Refers to the process however pids are reused. None: the launcher knows it by its pid.
    pub pidfd: Option<Arc<OwnedFd>>,
    /// The container's, relative to the cgroup2 mount.
    pub cgroup: PathBuf,
}

/// Whose namespaces a container joins. None: its own, or the VM's, as the plan says.
#[derive(Debug, Clone, Default)]
pub struct Joins {
    /// Process numbers.
    pub pid: Option<Target>,
    /// Message queues, semaphores, shared memory.
    pub ipc: Option<Target>,
    /// Host and domain name.
    pub uts: Option<Target>,
    /// Mapped ids: whoever owns what else is joined.
    pub user: Option<Target>,
}

/// A process that has just been started.
#[derive(Debug)]
pub struct Launched {
    /// Which.
    pub target: Target,
    /// Our ends of its streams.
    pub stdio: Stdio,
    /// Resolves when it has ended and was reaped.
    pub exit: oneshot::Receiver<ExitCode>,
    /// What starting it consisted of.
    pub trace: Vec<TraceStep>,
}

/// Starts processes in namespaces and cgroups, and ends them.
pub trait Launcher: Send + Sync + 'static {
    /// Carries a plan out: cgroup, namespaces, root, first process. Leaves nothing behind when it
    /// fails, except the empty cgroup, which [`Launcher::remove_cgroup`] removes.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    fn start(
        &self,
        plan: &Plan,
        stdio: StdioSpec,
        network: Network<'_>,
        joins: &Joins,
    ) -> Result<Launched, LaunchError>;

    /// The socket of Docker's API in this VM: made by the first call. Inside a runtime.
    ///
    /// # Errors
    /// When it cannot be made.
    fn docker_api(&self) -> io::Result<PathBuf>;

    /// The network namespace of a process that runs.
    ///
    /// # Errors
    /// When it has ended.
    fn network_namespace(&self, target: &Target) -> io::Result<OwnedFd>;

    /// One more process beside `target`, in all its namespaces and its cgroup.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    fn exec(
        &self,
        target: &Target,
        process: &Process,
        stdio: StdioSpec,
    ) -> Result<Launched, LaunchError>;

    /// Sends one process a signal. Succeeds when the process is already gone.
    ///
    /// # Errors
    /// As kill(2).
    fn signal(&self, target: &Target, signal: Signal) -> io::Result<()>;

    /// SIGKILL to everything in a cgroup. Succeeds when there is no such cgroup.
    ///
    /// # Errors
    /// When the cgroup's files cannot be written.
    fn kill_all(&self, cgroup: &Path) -> io::Result<()>;

    /// Freezes everything in a cgroup; returns when it has stopped. A freeze that fails is taken
    /// back.
    ///
    /// # Errors
    /// When the processes do not stop in time, or there is no such cgroup.
    fn freeze(&self, cgroup: &Path) -> io::Result<()>;

    /// Lets everything in a cgroup run on. Succeeds when there is no such cgroup.
    ///
    /// # Errors
    /// When the cgroup's files cannot be written.
    fn thaw(&self, cgroup: &Path) -> io::Result<()>;

    /// Writes those limits of a cgroup that are given.
    ///
    /// # Errors
    /// Names the file and the value.
    fn limit(&self, cgroup: &Path, resources: &Resources) -> io::Result<()>;

    /// What a cgroup has used up to now.
    ///
    /// # Errors
    /// When there is no such cgroup, or a file cannot be read.
    fn usage(&self, cgroup: &Path) -> io::Result<Usage>;

    /// What the interfaces of a process's network have carried, without loopback.
    ///
    /// # Errors
    /// When the process has ended.
    fn interfaces(&self, target: &Target) -> io::Result<Vec<InterfaceUsage>>;

    /// The processes of a cgroup, by pid.
    ///
    /// # Errors
    /// When there is no such cgroup, or a file cannot be read.
    fn processes(&self, cgroup: &Path) -> io::Result<Vec<ProcessInfo>>;
    /// The root of a process, with all that is mounted there, opened O_PATH.
    ///
    /// # Errors
    /// When the process has ended.
    fn root_of(&self, target: &Target) -> io::Result<OwnedFd>;

    /// Mounts the files of a container that does not run, for as long as the answer lives.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    fn look(&self, look: &Look) -> Result<Box<dyn Mounted>, LaunchError>;

    /// How often the kernel's OOM killer ended a process of this cgroup (memory.events).
    ///
    /// # Errors
    /// When the file cannot be read.
    fn oom_kills(&self, cgroup: &Path) -> io::Result<u64>;

    /// Tells when the OOM killer may have ended a process of this cgroup, as it happens.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    fn watch_oom(&self, cgroup: &Path) -> io::Result<OomWatch>;

    /// Removes a cgroup without processes; waits a short while for the last to be gone. Succeeds
    /// when there is none.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove_cgroup(&self, cgroup: &Path) -> io::Result<()>;

    /// The default system call filter for a process with these capabilities, compiled.
    ///
    /// # Errors
    /// When the filter cannot be compiled.
    fn default_seccomp(&self, capabilities: &CapabilitySets) -> Result<Vec<u64>, LaunchError>;

    /// Changes a terminal's size.
    ///
    /// # Errors
    /// As ioctl(TIOCSWINSZ).
    fn resize(&self, terminal: &OwnedFd, rows: u16, columns: u16) -> io::Result<()>;
}

/// News of a cgroup's memory, until it is dropped.
pub struct OomWatch {
    /// Changes whenever [`Launcher::oom_kills`] may have.
    pub news: watch::Receiver<()>,
    /// Ends the watch.
    pub guard: Box<dyn Send + Sync>,
}

/// Files of a container that are mounted only to be worked with.
pub trait Mounted {
    /// The container's root, opened O_PATH.
    fn root(&self) -> BorrowedFd<'_>;
}

/// What a container takes from an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageView {
    /// `sha256:...` of the configuration.
    pub id: String,
    /// How it was named, in full (`busybox:latest`).
    pub reference: String,
    /// KEY=VALUE
    pub env: Vec<String>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub command: Vec<String>,
    /// Empty: /.
    pub working_dir: String,
    /// Empty: root.
    pub user: String,
    /// Empty: SIGTERM.
    pub stop_signal: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// None: nothing is probed.
    pub health: Option<Healthcheck>,
    /// Paths that get an anonymous volume when nothing else is mounted there.
    pub volumes: Vec<String>,
    /// `80/tcp`
    pub exposed_ports: Vec<String>,
    /// The folders of its unpacked layers, base first, never empty.
    pub layers: Vec<PathBuf>,
    /// `sha256:...` of each layer's uncompressed archive.
    pub diff_ids: Vec<String>,
}

/// Knows images and where their layers are.
pub trait Images: Send + Sync + 'static {
    /// Finds an image by reference, id or unique prefix of one.
    ///
    /// # Errors
    /// When there is none.
    fn resolve(&self, reference: &str) -> Result<ImageView, ImageError>;
}
