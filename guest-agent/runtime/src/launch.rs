//! Starts `linkspan-init` with an order and listens to it until it has become what was ordered.
//!
//! ```text
//! start: cgroup, limits, device filter -> spawn in new namespaces -> order -> Ready -> executed
//! look:  spawn in a new mount namespace -> order -> Root, Ready; it stays until it is let go
//! exec:  spawn here -> order -> it joins the container, forks a sibling -> Ready -> go -> executed
//! ```
//!
//! It does not wait for the process to end, nor signal it: the agent's reaper does. The two meet
//! in [`Spawner`].

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use linkspan_sys::nix::unistd::Pid;
use linkspan_sys::spawn::{CloneFlags, Program};
use linkspan_sys::{Errno, process};

use crate::cgroup::{Cgroup, CgroupError, Hierarchy};
use crate::devices::{DeviceFilter, DeviceRule};
use crate::plan::{Namespaces, Plan, Process};
use crate::wire::{
    CGROUP_FD, Failure, IPC_FD, NETWORK_FD, OrderRef, SOCKET_FD, Step, TARGET_FD, USER_FD, UTS_FD,
};

pub use linkspan_sys::spawn::{SpawnError, SpawnRequest, Spawned};

mod conversation;
mod create;
mod error;
mod first;
mod look;
mod spawner;
pub use conversation::monotonic_us;
use conversation::{Clock, Conversation, RunHooks, killed, no_hooks, out_of_turn};
pub use create::{Creation, Joined, begin};
pub use error::{LaunchError, LaunchErrorKind, describe};
pub use look::Looking;
pub use spawner::{DirectSpawner, Role, Spawner};

/// The program `linkspan-init`, in memory and sealed: a container's process that finds it behind
/// /proc/PID/exe while it enters the container cannot change it (CVE-2019-5736).
#[derive(Debug)]
pub struct InitProgram(OwnedFd);

impl InitProgram {
    /// Reads the program once.
    ///
    /// # Errors
    /// When it cannot be read, or there is no memory for it.
    pub fn load(path: &Path) -> io::Result<Self> {
        process::sealed_program(c"linkspan-init", &std::fs::read(path)?).map(Self)
    }

    /// The program where it lies, behind a mount of its own that is read-only: as safe as
    /// [`Self::load`] and without the copy, for a process that starts one container only.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn in_place(path: &Path) -> Result<Self, Errno> {
        let mount = linkspan_sys::mount::clone_tree(path, false)?;
        linkspan_sys::mount::set_attributes(
            &mount,
            linkspan_sys::mount::Attributes::READ_ONLY,
            false,
        )?;
        Ok(Self(mount))
    }
}

/// The child's ends of its standard streams. None: /dev/null. Not used with a terminal.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Read by the process.
    pub stdin: Option<OwnedFd>,
    /// Written by the process.
    pub stdout: Option<OwnedFd>,
    /// Written by the process.
    pub stderr: Option<OwnedFd>,
}

/// A process that has executed its program.
#[derive(Debug)]
pub struct Started {
    /// In the VM's pid namespace; registered with the [`Spawner`].
    pub pid: Pid,
    /// The process itself.
    pub pidfd: OwnedFd,
    /// The master of its terminal, when it has one.
    pub pty_master: Option<OwnedFd>,
    /// What was done, when asked for.
    pub trace: Vec<Timing>,
}

/// How long a step took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// See [`Step::name`].
    pub name: &'static str,
    /// Since the start began.
    pub started_us: u64,
    /// From begin to end.
    pub duration_us: u64,
}

/// Puts interfaces into a network namespace; says why it could not.
pub type PrepareNetwork<'a> = dyn Fn(BorrowedFd<'_>) -> Result<(), String> + 'a;

/// What becomes of the container's network.
#[derive(Clone, Copy)]
pub enum Network<'a> {
    /// What [`Namespaces::network`] says, and no more.
    Plain,
    /// A new namespace, with what this puts into it before anything of the container runs.
    Prepare(&'a PrepareNetwork<'a>),
    /// This one. [`Namespaces::network`] is false then.
    Join(BorrowedFd<'a>),
}

/// What a container shares with others: its network, and the namespaces of the processes behind
/// these pidfds. What is joined is not new in [`Plan::namespaces`].
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// The network.
    pub network: Network<'a>,
    /// Whose processes it sees.
    pub pid: Option<BorrowedFd<'a>>,
    /// Whose message queues, semaphores and shared memory it has.
    pub ipc: Option<BorrowedFd<'a>>,
    /// Whose host name it has.
    pub uts: Option<BorrowedFd<'a>>,
    /// Whose user namespace it has: with mapped ids, of a container of which another is joined.
    pub user: Option<BorrowedFd<'a>>,
}

impl<'a> From<Network<'a>> for Shared<'a> {
    fn from(network: Network<'a>) -> Self {
        Self { network, pid: None, ipc: None, uts: None, user: None }
    }
}

/// Starts containers and processes in them.
#[derive(Debug)]
pub struct Launcher<S> {
    init: InitProgram,
    hierarchy: Hierarchy,
    spawner: S,
    null: OwnedFd,
    /// Loaded device filters by the rules of their own. Nearly always one.
    filters: Mutex<Vec<(Vec<DeviceRule>, Arc<DeviceFilter>)>>,
}

impl<S: Spawner> Launcher<S> {
    /// Ready to start.
    ///
    /// # Errors
    /// When /dev/null cannot be opened.
    pub fn new(init: InitProgram, hierarchy: Hierarchy, spawner: S) -> io::Result<Self> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        Ok(Self { init, hierarchy, spawner, null: null.into(), filters: Mutex::default() })
    }

    /// The cgroups that containers are started in.
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Carries a plan out and returns when the first process has executed its program.
    ///
    /// Leaves the cgroup behind when it fails; [`Cgroup::remove`]
    /// removes it.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    pub fn start<'a>(
        &self,
        plan: &Plan,
        stdio: Stdio,
        shared: impl Into<Shared<'a>>,
        trace: bool,
    ) -> Result<Started, LaunchError> {
        let shared = shared.into();
        let mut clock = Clock::new(trace);
        let cgroup = self.hierarchy.create(&plan.cgroup, &plan.resources)?;
        let folder = open_folder(&cgroup)?;
        clock.done(Step::Cgroup);
        if !plan.all_devices {
            let refused = |errno| LaunchError::kernel(Step::DeviceFilter, errno);
            self.filter(&plan.device_rules).and_then(|f| f.attach(&folder)).map_err(refused)?;
            clock.done(Step::DeviceFilter);
        }
        let (ours, theirs) = socket_pair()?;
        let mut fds = vec![(theirs.as_fd(), SOCKET_FD)];
        if let Network::Join(namespace) = shared.network {
            fds.push((namespace, NETWORK_FD));
        }
        let joined = [
            (shared.ipc, IPC_FD),
            (shared.uts, UTS_FD),
            (shared.pid, TARGET_FD),
            (shared.user, USER_FD),
        ];
        for (target, number) in joined {
            fds.extend(target.map(|target| (target, number)));
        }
        let first = self.spawn_first(plan, shared.pid.is_some(), &stdio, fds, folder.as_fd())?;
        // The end of file is what tells success: ours must be the only other end.
        drop((theirs, stdio));
        clock.done(Step::Spawn);
        let prepare = match shared.network {
            Network::Prepare(prepare) => Some(prepare),
            Network::Plain | Network::Join(_) => None,
        };
        let mapped = plan.user_namespace.is_some();
        if let Some(prepare) = prepare.filter(|_| !mapped) {
            if let Err(error) = prepare_network(first.spawned.pid, prepare) {
                self.spawner.abandon(first.spawned);
                return Err(error);
            }
            clock.done(Step::Network);
        }
        let conversation = Conversation::new(ours, clock);
        let order = OrderRef::Start { plan, trace };
        let prepare = prepare.filter(|_| mapped);
        self.hold_first(conversation, &order, first, prepare, &mut no_hooks)
    }

    /// Runs one more process in a container, given a pidfd of a process in it and its cgroup
    /// (as in [`Plan::cgroup`]), and returns when it has executed its program.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    pub fn exec(
        &self,
        target: BorrowedFd<'_>,
        cgroup: &Path,
        process: &Process,
        stdio: Stdio,
        trace: bool,
    ) -> Result<Started, LaunchError> {
        let mut clock = Clock::new(trace);
        let cgroup = self.hierarchy.open(cgroup);
        let folder = open_folder(&cgroup)?;
        let (ours, theirs) = socket_pair()?;
        let fds = [(theirs.as_fd(), SOCKET_FD), (target, TARGET_FD), (folder.as_fd(), CGROUP_FD)];
        let errand = self.spawn(&stdio, &fds, CloneFlags::empty(), None, Role::Errand)?;
        drop((theirs, stdio));
        clock.done(Step::Spawn);
        let conversation = Conversation::new(ours, clock);
        let order = OrderRef::Exec { process, trace };
        self.hold_errand(conversation, &order, errand, None, &mut no_hooks)
    }

    fn spawn(
        &self,
        stdio: &Stdio,
        fds: &[(BorrowedFd<'_>, RawFd)],
        namespaces: CloneFlags,
        cgroup: Option<BorrowedFd<'_>>,
        role: Role,
    ) -> Result<Spawned, LaunchError> {
        let mut fds = fds.to_vec();
        for (number, stream) in [&stdio.stdin, &stdio.stdout, &stdio.stderr].iter().enumerate() {
            let stream = stream.as_ref().unwrap_or(&self.null).as_fd();
            fds.push((stream, i32::try_from(number).unwrap_or_default()));
        }
        let request = SpawnRequest {
            program: Program::File(self.init.0.as_fd()),
            arguments: vec![c"linkspan-init".to_owned()],
            // Nothing of the agent's environment is the container's business.
            environment: Vec::new(),
            fds,
            namespaces,
            cgroup,
        };
        self.spawner.spawn(request, role).map_err(|error| LaunchError {
            kind: LaunchErrorKind::Other,
            failure: Failure {
                step: Step::Spawn,
                errno: error.errno() as i32,
                detail: error.to_string(),
            },
        })
    }

    fn filter(&self, rules: &[DeviceRule]) -> Result<Arc<DeviceFilter>, Errno> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, filter)) = filters.iter().find(|(known, _)| known == rules) {
            return Ok(Arc::clone(filter));
        }
        let filter = Arc::new(DeviceFilter::load(rules)?);
        // Containers with devices of their own are rare; the standard filter stays in front.
        filters.truncate(7);
        filters.push((rules.to_vec(), Arc::clone(&filter)));
        Ok(filter)
    }
}

/// The new process waits for its order, so its namespace is there and nothing runs in it.
fn prepare_network(pid: Pid, prepare: &PrepareNetwork<'_>) -> Result<(), LaunchError> {
    let failed = |detail: String| Failure { step: Step::Network, errno: 0, detail };
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).map_err(|error| match error.kind() {
        // What has ended has no namespaces any more, reaped or not.
        io::ErrorKind::NotFound => killed(),
        _ => failed(format!("`{path}`: {error}")).into(),
    })?;
    prepare(namespace.as_fd()).map_err(|why| failed(why).into())
}

/// What clone3 makes new. The cgroup namespace is missing: its root is the cgroup that its maker
/// is in, which has to be the container's, so `linkspan-init` makes it itself.
fn clone_flags(namespaces: Namespaces) -> CloneFlags {
    let mut flags = CloneFlags::CLONE_NEWNS;
    flags.set(CloneFlags::CLONE_NEWPID, namespaces.pid);
    flags.set(CloneFlags::CLONE_NEWUTS, namespaces.uts);
    flags.set(CloneFlags::CLONE_NEWIPC, namespaces.ipc);
    flags.set(CloneFlags::CLONE_NEWNET, namespaces.network);
    flags
}

fn socket_pair() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    // std makes both ends CLOEXEC.
    let (ours, theirs) = UnixStream::pair().map_err(|error| {
        LaunchError::kernel(Step::Spawn, Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    })?;
    Ok((ours.into(), theirs.into()))
}

fn open_folder(cgroup: &Cgroup) -> Result<File, LaunchError> {
    let folder = cgroup.folder();
    Ok(folder.map_err(|source| CgroupError::Read { path: cgroup.path().to_owned(), source })?)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    use super::*;

    #[test]
    fn the_network_of_what_was_killed_says_that_it_was_killed() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        // It has ended, and is not reaped.
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        for _ in 0..2 {
            let error = prepare_network(pid, &|_| Ok(())).unwrap_err();
            assert!(error.to_string().contains("killed"), "{error}");
            let _ = child.wait();
        }
    }
}
