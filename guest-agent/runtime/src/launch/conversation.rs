//! What is said between the spawn and execve(2), and how long each step took.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linkspan_sys::nix::time::{ClockId, clock_gettime};
use linkspan_sys::nix::unistd::Pid;
use linkspan_sys::{Errno, fdpass};

use super::{LaunchError, Spawned, Started, Timing};
use crate::bundle::HookStates;
use crate::wire::{Channel, Failure, InitMessage, OrderRef, Step, WireError};

/// Runs the hooks of a bundle once its environment is there. Gets the process, when it was made
/// by an errand; its answer goes to `linkspan-init`.
pub(super) type RunHooks<'a> = dyn FnMut(Option<Pid>) -> Result<HookStates, LaunchError> + 'a;

pub(super) fn no_hooks(_: Option<Pid>) -> Result<HookStates, LaunchError> {
    Err(out_of_turn(&InitMessage::Environment))
}

/// What is said after the spawn.
pub(super) struct Conversation {
    channel: Channel,
    clock: Clock,
    master: Option<OwnedFd>,
    /// exec: the process that was announced.
    pub(super) process: Option<Spawned>,
}

impl Conversation {
    pub(super) fn new(socket: OwnedFd, clock: Clock) -> Self {
        Self { channel: Channel::new(socket), clock, master: None, process: None }
    }

    /// Gives the order and listens until the other end has executed or failed. In an exec two
    /// processes speak, so the announcement of the second may come after its own first words.
    pub(super) fn hold(
        &mut self,
        order: &OrderRef<'_>,
        adopt: impl Fn(Pid, BorrowedFd<'_>) -> Result<(), LaunchError>,
        hooks: &mut RunHooks<'_>,
    ) -> Result<(), LaunchError> {
        match self.channel.send(order, None) {
            // It was killed before it had read all: the end of file that follows says so.
            Ok(()) | Err(WireError::Socket(Errno::EPIPE | Errno::ECONNRESET)) => {}
            Err(error) => return Err(LaunchError::wire(error)),
        }
        let (mut ready, mut failure) = (false, None);
        while let Some(message) = self.channel.receive().map_err(LaunchError::wire)? {
            match message {
                InitMessage::Failed(reason) if failure.is_none() => failure = Some(reason),
                InitMessage::Failed(_) => {}
                InitMessage::PtyMaster => self.master = Some(self.take_fd()?),
                InitMessage::Root => return Err(out_of_turn(&message)),
                InitMessage::Environment => {
                    let states = hooks(self.process.as_ref().map(|process| process.pid))?;
                    self.channel.send(&states, None).map_err(LaunchError::wire)?;
                }
                InitMessage::Process { pid } => {
                    let pidfd = self.take_fd()?;
                    let pid = Pid::from_raw(pid);
                    let process = self.process.insert(Spawned { pid, pidfd });
                    adopt(pid, process.pidfd.as_fd())?;
                    self.go()?;
                }
                InitMessage::Ready { .. } if ready => return Err(out_of_turn(&message)),
                InitMessage::Ready { trace } => {
                    ready = true;
                    self.clock.merge(&trace);
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        if !ready {
            return Err(killed());
        }
        if order.terminal() && self.master.is_none() {
            return Err(out_of_turn(&"Ready, without the terminal that was ordered"));
        }
        self.clock.done(Step::Execute);
        Ok(())
    }

    /// exec: the new process may execute, or end.
    fn go(&self) -> Result<(), LaunchError> {
        match fdpass::send(self.channel.socket(), b"g", None) {
            // It was killed; the end of file that follows says so.
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(LaunchError::wire(errno.into())),
        }
    }

    fn take_fd(&mut self) -> Result<OwnedFd, LaunchError> {
        self.channel.take_fd().map_err(LaunchError::wire)
    }

    pub(super) fn started(self, spawned: Spawned) -> Started {
        Started {
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            pty_master: self.master,
            trace: self.clock.steps,
        }
    }
}

pub(super) fn killed() -> LaunchError {
    let detail = "linkspan-init was killed before it was done".to_owned();
    Failure { step: Step::Order, errno: 0, detail }.into()
}

pub(super) fn out_of_turn(what: &dyn std::fmt::Debug) -> LaunchError {
    let detail = format!("linkspan-init said {what:?} out of turn");
    Failure { step: Step::Order, errno: 0, detail }.into()
}

/// Takes the times of steps, when somebody wants to know.
pub(super) struct Clock {
    on: bool,
    began: u64,
    last: u64,
    steps: Vec<Timing>,
}

impl Clock {
    pub(super) fn new(on: bool) -> Self {
        let began = if on { monotonic_us() } else { 0 };
        Self { on, began, last: began, steps: Vec::new() }
    }

    /// The step that has just ended began when the one before it ended.
    pub(super) fn done(&mut self, step: Step) {
        if self.on {
            let now = monotonic_us();
            self.push(step, self.last, now);
        }
    }

    /// Takes over what the child has measured.
    fn merge(&mut self, trace: &[crate::wire::TraceStep]) {
        for step in trace {
            self.push(step.step, step.began_us, step.ended_us);
        }
    }

    fn push(&mut self, step: Step, began: u64, ended: u64) {
        self.steps.push(Timing {
            name: step.name(),
            started_us: began.saturating_sub(self.began),
            duration_us: ended.saturating_sub(began),
        });
        self.last = ended;
    }
}

/// CLOCK_MONOTONIC in microseconds: the same for the agent and for `linkspan-init`.
#[must_use]
pub fn monotonic_us() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000
            + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000
    })
}
