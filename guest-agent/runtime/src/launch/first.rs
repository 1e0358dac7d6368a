//! The first process of a container: made here where that can be, else by an errand.

use std::os::fd::{BorrowedFd, RawFd};

use linkspan_sys::spawn::CloneFlags;

use super::{
    Conversation, LaunchError, Launcher, PrepareNetwork, Role, RunHooks, Spawned, Spawner, Started,
    Stdio, clone_flags, out_of_turn, prepare_network,
};
use crate::plan::Plan;
use crate::wire::{CGROUP_FD, OrderRef};

/// What is made first for a container.
pub(super) struct First {
    pub(super) spawned: Spawned,
    /// It makes the container's process, and is none itself.
    pub(super) errand: bool,
}

impl<S: Spawner> Launcher<S> {
    /// Makes the first process of a container, or the errand that makes it.
    pub(super) fn spawn_first<'fds>(
        &self,
        plan: &Plan,
        joins_pid: bool,
        stdio: &Stdio,
        mut fds: Vec<(BorrowedFd<'fds>, RawFd)>,
        folder: BorrowedFd<'fds>,
    ) -> Result<First, LaunchError> {
        // A process cannot be born in another's pid namespace, nor in one that a user namespace
        // owns which has yet to be made: as in an exec, an errand does what comes before and
        // makes the process, which is then born in the cgroup.
        let mapped = plan.user_namespace.is_some();
        let errand = mapped || joins_pid;
        let (cgroup, role) = if errand {
            fds.push((folder, CGROUP_FD));
            (None, Role::Errand)
        } else {
            (Some(folder), Role::Process)
        };
        let flags = if mapped { CloneFlags::CLONE_NEWNS } else { clone_flags(plan.namespaces) };
        Ok(First { spawned: self.spawn(stdio, &fds, flags, cgroup, role)?, errand })
    }

    /// Gives the order to what [`Self::spawn_first`] made.
    pub(super) fn hold_first(
        &self,
        mut conversation: Conversation,
        order: &OrderRef<'_>,
        First { spawned, errand }: First,
        prepare: Option<&PrepareNetwork<'_>>,
        hooks: &mut RunHooks<'_>,
    ) -> Result<Started, LaunchError> {
        if errand {
            return self.hold_errand(conversation, order, spawned, prepare, hooks);
        }
        match conversation.hold(order, |_, _| Ok(()), hooks) {
            Ok(()) => Ok(conversation.started(spawned)),
            Err(error) => {
                self.spawner.abandon(spawned);
                Err(error)
            }
        }
    }

    /// Gives an order to an errand that makes the process that is wanted. `prepare`: that one
    /// has the network namespace, not the errand.
    pub(super) fn hold_errand(
        &self,
        mut conversation: Conversation,
        order: &OrderRef<'_>,
        errand: Spawned,
        prepare: Option<&PrepareNetwork<'_>>,
        hooks: &mut RunHooks<'_>,
    ) -> Result<Started, LaunchError> {
        let adopt = |pid, pidfd: BorrowedFd<'_>| {
            self.spawner.adopt(pid, pidfd);
            prepare.map_or(Ok(()), |prepare| prepare_network(pid, prepare))
        };
        let result = conversation.hold(order, adopt, hooks);
        match (result, conversation.process.take()) {
            (Ok(()), Some(spawned)) => Ok(conversation.started(spawned)),
            (Ok(()), None) => Err(out_of_turn(&"Ready, before there was a process")),
            (Err(error), None) => {
                self.spawner.abandon(errand);
                Err(error)
            }
            (Err(error), Some(spawned)) => {
                self.spawner.abandon(spawned);
                Err(error)
            }
        }
    }
}
