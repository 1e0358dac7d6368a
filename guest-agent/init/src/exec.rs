//! One more process in a running container.
//!
//! A process cannot change its own pid namespace, only that of its children. So this process
//! joins it, forks, tells the agent of the child and ends; the child joins the rest and becomes
//! the program. The child is made a sibling (`CLONE_PARENT`): the agent is the parent of both and
//! reaps both.

use std::os::fd::{AsFd as _, OwnedFd};

use linkspan_runtime::plan::Process;
use linkspan_runtime::wire::{CGROUP_FD, Failure, InitMessage, Step, TARGET_FD};
use linkspan_sys::Errno;
use linkspan_sys::process::{setns, take_inherited};
use linkspan_sys::spawn::{Forked, fork_as_sibling};
use nix::sched::CloneFlags;

use crate::paths::Root;
use crate::report::{Fault, Report};
use crate::{cwd, process, terminal, userns};

/// Becomes the process, or returns once it has told the agent of the one that will.
pub(crate) fn run(report: &mut Report, process: Process) -> Result<(), Failure> {
    let target = report.step(Step::Join, || inherited(TARGET_FD, "the container's process"))?;
    if enter_pid_namespace(report, &target)? == Side::Messenger {
        return Ok(());
    }
    process::prepare_outside(report, &process)?;
    let root = report.step(Step::Join, || {
        let mut rest = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP;
        // Namespaces that the container shares with the VM are joined again, which is nothing.
        rest.set(CloneFlags::CLONE_NEWUSER, process.mapped_root.is_some());
        setns(&target, rest)?;
        if process.mapped_root.is_some() {
            userns::become_root()?;
        }
        Ok(Root::open()?)
    })?;
    let terminal = match process.terminal {
        None => None,
        Some(size) => Some(report.step(Step::Terminal, || terminal::open(&root, size))?),
    };
    report.step(Step::WorkingDirectory, || cwd::enter(&process.cwd))?;
    if let Some(terminal) = &terminal {
        let sent = report.hand_over(&InitMessage::PtyMaster, terminal.master.as_fd());
        report.step(Step::Terminal, || sent)?;
    }
    process::become_it(report, &process, terminal, None)
}

/// Which of the two processes one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that was started: it has nothing left to do.
    Messenger,
    /// The new one, in the other pid namespace and in the cgroup behind [`CGROUP_FD`].
    Member,
}

/// Joins the pid namespace of the process behind `target` with a new process, and tells the agent.
pub(crate) fn enter_pid_namespace(report: &mut Report, target: &OwnedFd) -> Result<Side, Failure> {
    let forked = report.step(Step::Join, || {
        let cgroup = inherited(CGROUP_FD, "the container's cgroup")?;
        setns(target, CloneFlags::CLONE_NEWPID)?;
        // Before the cgroup namespace is joined: from inside, the cgroup that this process is
        // in could not be seen, and leaving it would be refused.
        match fork_as_sibling(Some(cgroup.as_fd())) {
            // pids.max of the cgroup; the kernel's own limit is far away.
            Err(errno @ Errno::EAGAIN) => Err(Fault {
                errno: errno as i32,
                detail: "it has as many processes as its --pids-limit allows".to_owned(),
            }),
            forked => Ok(forked?),
        }
    })?;
    let Forked::Parent(child) = forked else {
        report.await_go();
        return Ok(Side::Member);
    };
    let message = InitMessage::Process { pid: child.pid.as_raw() };
    let told = report.hand_over(&message, child.pidfd.as_fd());
    // Not told: the child waits for a "go" that nobody sends, and ends with the socket.
    report.step(Step::Join, || told)?;
    Ok(Side::Messenger)
}

fn inherited(number: i32, what: &str) -> Result<OwnedFd, Fault> {
    take_inherited(number)
        .ok_or_else(|| Fault::new(format!("{what} was not passed as descriptor {number}")))
}
