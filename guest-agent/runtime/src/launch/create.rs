//! A container in two steps, as the OCI runtime specification has it: created by one command,
//! started by another (runtime.md, "Lifecycle").

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linkspan_sys::nix::unistd::Pid;

use super::{
    Conversation, LaunchError, Launcher, RunHooks, Spawned, Spawner, Started, Stdio, open_folder,
    out_of_turn, socket_pair,
};
use crate::bundle::{Bundle, HookStates};
use crate::devices::{DeviceFilter, Verdict};
use crate::launch::Clock;
use crate::plan::Plan;
use crate::wire::{
    CGROUP_NAMESPACE_FD, Channel, Failure, IPC_FD, InitMessage, NETWORK_FD, OrderRef, SOCKET_FD,
    START_FD, Step, TARGET_FD, TIME_FD, USER_FD, UTS_FD,
};

/// Files of namespaces that the container joins. What is joined is not new in
/// [`Plan::namespaces`].
#[derive(Debug, Default)]
pub struct Joined {
    /// Network.
    pub network: Option<OwnedFd>,
    /// Processes.
    pub pid: Option<OwnedFd>,
    /// System V and POSIX message queues, semaphores, shared memory.
    pub ipc: Option<OwnedFd>,
    /// Host name.
    pub uts: Option<OwnedFd>,
    /// The view of cgroups.
    pub cgroup: Option<OwnedFd>,
    /// Ids; [`Plan::user_namespace`] has its mappings.
    pub user: Option<OwnedFd>,
    /// Clocks.
    pub time: Option<OwnedFd>,
}

/// What is created.
pub struct Creation<'a> {
    /// The container.
    pub plan: &'a Plan,
    /// What is more.
    pub bundle: &'a Bundle,
    /// Files of the cgroup and what is written to them, after the plan's resources.
    pub cgroup_files: &'a [(String, String)],
    /// What the device filter says, the first that fits; instead of the plan's rules.
    pub device_verdicts: &'a [Verdict],
    /// Namespaces of others.
    pub joined: Joined,
    /// Its streams.
    pub stdio: Stdio,
    /// A listening unix socket: who connects to it starts the container, see [`begin`].
    pub start: BorrowedFd<'a>,
}

impl<S: Spawner> Launcher<S> {
    /// Carries a plan out as far as to the program, and returns while the process waits for its
    /// start. `hooks` is called when the namespaces and mounts are there, if the bundle has any.
    ///
    /// Leaves the cgroup behind when it fails.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    pub fn create(
        &self,
        creation: Creation<'_>,
        hooks: &mut dyn FnMut(Pid) -> Result<HookStates, String>,
    ) -> Result<Started, LaunchError> {
        let Creation { plan, bundle, joined, stdio, .. } = creation;
        let cgroup = self.hierarchy.create(&plan.cgroup, &plan.resources)?;
        for (file, value) in creation.cgroup_files {
            self.hierarchy.enable_for(&plan.cgroup, file)?;
            cgroup.set(file, value)?;
        }
        let folder = open_folder(&cgroup)?;
        let refused = |errno| LaunchError::kernel(Step::DeviceFilter, errno);
        let filter = DeviceFilter::load_verdicts(creation.device_verdicts).map_err(refused)?;
        let (ours, theirs) = socket_pair()?;
        let mut fds = vec![(theirs.as_fd(), SOCKET_FD), (creation.start, START_FD)];
        for (namespace, number) in [
            (&joined.network, NETWORK_FD),
            (&joined.ipc, IPC_FD),
            (&joined.uts, UTS_FD),
            (&joined.cgroup, CGROUP_NAMESPACE_FD),
            (&joined.user, USER_FD),
            (&joined.time, TIME_FD),
            (&joined.pid, TARGET_FD),
        ] {
            fds.extend(namespace.as_ref().map(|namespace| (namespace.as_fd(), number)));
        }
        let first = self.spawn_first(plan, joined.pid.is_some(), &stdio, fds, folder.as_fd())?;
        drop((theirs, stdio));
        let conversation = Conversation::new(ours, Clock::new(false));
        let order = OrderRef::Create { plan, bundle };
        let own = first.spawned.pid;
        let hooks: &mut RunHooks<'_> = &mut |announced: Option<Pid>| {
            hooks(announced.unwrap_or(own)).map_err(|detail| {
                LaunchError::from(Failure { step: Step::Hooks, errno: 0, detail })
            })
        };
        let started = self.hold_first(conversation, &order, first, None, hooks)?;
        // Not before: it may forbid the nodes that the bundle itself wants made.
        if let Err(errno) = filter.attach(&folder) {
            self.spawner.abandon(Spawned { pid: started.pid, pidfd: started.pidfd });
            return Err(refused(errno));
        }
        Ok(started)
    }
}

/// Starts a created container over a connection to its socket, and returns when its process has
/// executed the program.
///
/// # Errors
/// Names the failing step and the reason.
pub fn begin(socket: OwnedFd) -> Result<(), LaunchError> {
    let mut channel = Channel::new(socket);
    let mut ready = false;
    while let Some(message) = channel.receive().map_err(LaunchError::wire)? {
        match message {
            InitMessage::Failed(failure) => return Err(failure.into()),
            InitMessage::Ready { .. } if !ready => ready = true,
            other => return Err(out_of_turn(&other)),
        }
    }
    if !ready {
        let detail = "the container's process ended before it was started".to_owned();
        return Err(Failure { step: Step::AwaitStart, errno: 0, detail }.into());
    }
    Ok(())
}
