//! When the operating system asks the daemon to end.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows;

/// Requests are noticed from the moment that this is made.
#[cfg(unix)]
pub(crate) struct Requests {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

#[cfg(unix)]
impl Requests {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves with the name of the request. A closed terminal is none: the daemon outlives it.
    pub(crate) async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::debug!("the terminal is gone"),
            }
        }
    }
}

/// Requests are noticed from the moment that this is made.
#[cfg(windows)]
pub(crate) struct Requests {
    control_c: windows::CtrlC,
    control_break: windows::CtrlBreak,
    close: windows::CtrlClose,
    shutdown: windows::CtrlShutdown,
}

#[cfg(windows)]
impl Requests {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            control_c: windows::ctrl_c()?,
            control_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    /// Resolves with the name of the request.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.control_c.recv() => "Ctrl-C",
            _ = self.control_break.recv() => "Ctrl-Break",
            _ = self.close.recv() => "the console's end",
            _ = self.shutdown.recv() => "the system's shutdown",
        }
    }
}

/// Leaves the terminal and its session, so that the daemon does not end with them.
#[cfg(unix)]
pub(crate) fn leave_session() {
    // Fails for the leader of a process group, which a daemon is that somebody started by hand:
    // then ignoring SIGHUP has to do.
    let _ = nix::unistd::setsid();
}

/// Windows: whoever starts the daemon detaches it from the console.
#[cfg(windows)]
pub(crate) fn leave_session() {}
