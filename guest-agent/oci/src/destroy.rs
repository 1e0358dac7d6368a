//! `delete`, and the end of a creation or start that failed: the steps of `create`, undone.

use std::time::Duration;

use linkspan_runtime::cgroup::Hierarchy;
use linkspan_sys::process::{pidfd_open, pidfd_send_signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use oci_spec::runtime::ContainerState as Status;
use std::os::fd::AsFd as _;

use crate::create::cgroup_mount;
use crate::error::Error;
use crate::log::Log;
use crate::state::{Container, Folder, Record, Store, word};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container that has stopped; with `force` also one that has not.
pub(crate) fn delete(store: &Store, id: &str, force: bool, log: &Log) -> Result<(), Error> {
    let container = match store.find(id) {
        Err(Error::NoContainer(_)) if force => {
            // As with runc: it is gone, which is what is wanted.
            return store.unfinished(id).map_or(Ok(()), |folder| folder.remove());
        }
        other => other?,
    };
    let status = container.status();
    if status != Status::Stopped {
        if !force {
            let (id, status) = (id.to_owned(), word(status));
            return Err(Error::WrongStatus { action: "delete", id, status });
        }
        end(&container)?;
    }
    destroy(&container.record, &container.folder)?;
    run_poststop(&container.record, log);
    Ok(())
}

/// Kills the process and waits until it is gone.
fn end(container: &Container) -> Result<(), Error> {
    let pid = container.record.pid;
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid)) else { return Ok(()) };
    if container.status() == Status::Stopped {
        return Ok(());
    }
    // ESRCH: it has just ended.
    let _ = pidfd_send_signal(&pidfd, nix::libc::SIGKILL);
    let mut wait = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    match poll(&mut wait, timeout) {
        Ok(0) => Err(Error::DidNotEnd { id: container.record.id.clone(), pid }),
        _ => Ok(()),
    }
}

/// Ends what is left in the cgroup, and removes the cgroups and the folder that were made.
pub(crate) fn destroy(record: &Record, folder: &Folder) -> Result<(), Error> {
    let hierarchy = Hierarchy::new(cgroup_mount()?);
    // The last one is the container's, if it was not there before.
    let (own, above) = match record.made_cgroups.split_last() {
        Some((own, above)) => (Some(own), above),
        None => (None, &[][..]),
    };
    if let Some(own) = own {
        let cgroup = hierarchy.open(own);
        if cgroup.path().exists() {
            cgroup.kill()?;
            cgroup.remove(PATIENCE)?;
        }
    }
    for path in above.iter().rev() {
        // Others have come to use it meanwhile: then it stays.
        if std::fs::remove_dir(hierarchy.open(path).path()).is_err() {
            break;
        }
    }
    folder.remove()
}

/// Failures are warnings (runtime.md, "Lifecycle").
pub(crate) fn run_poststop(record: &Record, log: &Log) {
    let state = match record.state_json(Status::Stopped) {
        Ok(state) => state,
        Err(error) => return log.warning(&error.to_string()),
    };
    for hook in &record.poststop {
        if let Err(error) = hook.run(&state) {
            log.warning(&error.to_string());
        }
    }
}
