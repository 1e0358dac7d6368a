//! The other end of the socket: what was ordered, which steps were done, what went wrong.

use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixListener;

use linkspan_runtime::bundle::HookStates;
use linkspan_runtime::launch::monotonic_us;
use linkspan_runtime::wire::{Channel, Failure, InitMessage, Order, Step, TraceStep, WireError};
use linkspan_sys::Errno;
use linkspan_sys::process::duplicate_above;
use nix::sys::socket::{Shutdown, shutdown};

/// Why a step failed: the kernel's answer and the subject. The step is known to [`Report::step`].
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) errno: i32,
    pub(crate) detail: String,
}

impl Fault {
    /// A failure that is not the kernel's.
    pub(crate) fn new(detail: impl Into<String>) -> Self {
        Self { errno: 0, detail: detail.into() }
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { errno: errno as i32, detail: String::new() }
    }
}

/// Names the subject of a failure.
pub(crate) trait About<T> {
    /// `subject` is only built when there was a failure.
    fn about(self, subject: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> About<T> for Result<T, Errno> {
    fn about(self, subject: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|errno| Fault { errno: errno as i32, detail: subject() })
    }
}

impl<T> About<T> for std::io::Result<T> {
    fn about(self, subject: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Fault { errno: error.raw_os_error().unwrap_or(0), detail: subject() })
    }
}

/// The conversation with the agent.
#[derive(Debug)]
pub(crate) struct Report {
    channel: Channel,
    /// None: nobody asked for times.
    trace: Option<Vec<TraceStep>>,
    /// exec: the agent has to know this process before it may execute or end.
    awaits_go: bool,
}

impl Report {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, trace: None, awaits_go: false }
    }

    /// Receives the order.
    pub(crate) fn order(&mut self) -> Result<Order, Failure> {
        let began_us = monotonic_us();
        let order = match self.channel.receive() {
            Ok(Some(order)) => order,
            Ok(None) => return Err(wire("the agent sent no order")),
            Err(error) => return Err(wire(&error.to_string())),
        };
        if let Order::Start { trace: true, .. } | Order::Exec { trace: true, .. } = &order {
            let ended_us = monotonic_us();
            self.trace = Some(vec![TraceStep { step: Step::Order, began_us, ended_us }]);
        }
        Ok(order)
    }

    /// Does one step, and takes its time if somebody wants to know.
    pub(crate) fn step<T>(
        &mut self,
        step: Step,
        work: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Failure> {
        let began_us = if self.trace.is_some() { monotonic_us() } else { 0 };
        let result = work();
        if let Some(trace) = &mut self.trace {
            trace.push(TraceStep { step, began_us, ended_us: monotonic_us() });
        }
        result.map_err(|Fault { errno, detail }| Failure { step, errno, detail })
    }

    /// From here on this is the process that the agent has yet to be told of.
    pub(crate) fn await_go(&mut self) {
        self.awaits_go = true;
    }

    /// Says that the environment of a bundle is there, and waits for what its hooks are told.
    pub(crate) fn environment(&mut self) -> Result<HookStates, Fault> {
        self.channel.send(&InitMessage::Environment, None).map_err(|error| fault(&error))?;
        match self.channel.receive() {
            Ok(Some(states)) => Ok(states),
            Ok(None) => Err(Fault::new("the runtime is gone")),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Hangs up, which tells whoever created the container that all is done, and speaks to
    /// whoever connects next.
    pub(crate) fn answer(&mut self, listener: &UnixListener) -> Result<(), Fault> {
        shutdown(self.channel.socket().as_raw_fd(), Shutdown::Both)?;
        let (connection, _) = listener.accept().about(|| "the start socket".to_owned())?;
        self.channel = Channel::new(connection.into());
        Ok(())
    }

    /// Moves the socket to a descriptor of at least this number.
    pub(crate) fn move_above(&mut self, lowest: i32) -> Result<(), Fault> {
        self.channel = Channel::new(duplicate_above(self.channel.socket(), lowest)?);
        Ok(())
    }

    /// Sends a message with a descriptor.
    pub(crate) fn hand_over(&self, message: &InitMessage, fd: BorrowedFd<'_>) -> Result<(), Fault> {
        self.channel.send(message, Some(fd)).map_err(|error| fault(&error))
    }

    /// Says that all is done but execve(2), and waits until that is allowed.
    pub(crate) fn ready(&mut self) -> Result<(), Fault> {
        let trace = self.trace.take().unwrap_or_default();
        self.channel.send(&InitMessage::Ready { trace }, None).map_err(|error| fault(&error))?;
        self.wait_for_go();
        Ok(())
    }

    /// The last words. If the agent does not listen any more, nobody is left to tell.
    pub(crate) fn failed(&mut self, failure: Failure) {
        let _ = self.channel.send(&InitMessage::Failed(failure), None);
        self.wait_for_go();
    }

    /// Waits until the agent closes its end, or is gone.
    pub(crate) fn wait_for_end(&self) {
        let mut byte = [0];
        while matches!(
            nix::unistd::read(self.channel.socket(), &mut byte),
            Ok(1..) | Err(Errno::EINTR)
        ) {}
    }

    /// Waits until the agent knows of this process, if it has yet to.
    pub(crate) fn wait_for_go(&mut self) {
        if !std::mem::take(&mut self.awaits_go) {
            return;
        }
        let mut byte = [0];
        // One byte or the end of file: the agent knows of this process, or is gone.
        while nix::unistd::read(self.channel.socket(), &mut byte) == Err(Errno::EINTR) {}
    }

    /// The number of the socket's descriptor: the first that the program must not have.
    pub(crate) fn socket_number(&self) -> i32 {
        self.channel.socket().as_raw_fd()
    }
}

fn fault(error: &WireError) -> Fault {
    Fault::new(error.to_string())
}

fn wire(detail: &str) -> Failure {
    Failure { step: Step::Order, errno: 0, detail: detail.to_owned() }
}
