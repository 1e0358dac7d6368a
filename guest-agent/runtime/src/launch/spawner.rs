//! Where processes are made, and who reaps them.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use linkspan_sys::nix::sys::signal::Signal;
use linkspan_sys::nix::unistd::Pid;
use linkspan_sys::spawn::spawn_exec;
use linkspan_sys::{Errno, process};

use super::{SpawnError, SpawnRequest, Spawned};

/// What a new process is to the one who reaps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A container's process: somebody will ask how it ended.
    Process,
    /// A helper that ends by itself within moments: it only has to be reaped.
    Errand,
}

/// Where processes are made, so that whoever reaps them knows each before it can end.
pub trait Spawner: Send + Sync {
    /// Calls [`spawn_exec`] and registers the process, in one step as far as the reaper can see.
    ///
    /// # Errors
    /// As [`spawn_exec`]; nothing is registered then.
    fn spawn(&self, request: SpawnRequest<'_>, role: Role) -> Result<Spawned, SpawnError>;

    /// Registers a child that an errand made for us ([`Role::Process`]). It waits for our "go"
    /// and so cannot end by itself before this returns; if somebody kills it before, the reaper
    /// sees an exit of a process it does not know, and has to keep it for this call.
    fn adopt(&self, pid: Pid, pidfd: BorrowedFd<'_>);

    /// Unregisters a process that did not become what it should: nobody will ask how it ended.
    /// It may still run; this ends it.
    fn abandon(&self, process: Spawned);
}

/// For programs that do not reap all of their children in one place, such as tests.
#[derive(Debug, Default)]
pub struct DirectSpawner {
    errands: Mutex<Vec<Spawned>>,
}

impl Spawner for DirectSpawner {
    fn spawn(&self, request: SpawnRequest<'_>, role: Role) -> Result<Spawned, SpawnError> {
        let spawned = spawn_exec(request)?;
        if role == Role::Errand {
            let copy = spawned.pidfd.try_clone().map_err(|_| SpawnError::Clone(Errno::EMFILE))?;
            let copy = Spawned { pid: spawned.pid, pidfd: copy };
            self.errands.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
        }
        Ok(spawned)
    }

    fn adopt(&self, _pid: Pid, _pidfd: BorrowedFd<'_>) {
        for errand in self.errands.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // It has done its work; ECHILD would mean that somebody else waited for it.
            let _ = process::wait_pidfd(&errand.pidfd);
        }
    }

    fn abandon(&self, spawned: Spawned) {
        // ESRCH and ECHILD: it has ended and was reaped, which is what is wanted.
        let _ = process::pidfd_send_signal(&spawned.pidfd, Signal::SIGKILL as i32);
        let _ = process::wait_pidfd(&spawned.pidfd);
    }
}
