//! Work inside another network namespace.
//!
//! A network namespace belongs to a thread, not to a process (setns(2), namespaces(7)). So a
//! thread is started for the work, enters the namespace, and ends: no other thread ever sees it.
//! Netlink could move and name a container's interface from outside (and does), but addresses,
//! routes, sysctls and sockets are only made from within.

use std::{os::fd::BorrowedFd, thread};

use nix::sched::{CloneFlags, setns};

/// Runs `work` on a thread of its own inside the namespace `namespace` and returns what it did.
///
/// # Errors
/// As setns(2).
pub(crate) fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> nix::Result<T> {
    let entered = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        thread.join()
    });
    match entered {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
