//! `--init`: this process stays the container's first one, and the program is its child. It
//! passes on every signal that it gets, reaps whatever is left to it, and ends as the program
//! ends.
//!
//! It is the same program after the same preparation, so with no more privileges than the
//! container's own process; and a program that cannot be executed is reported as without it.

use linkspan_sys::process::{
    block_signals, close_from, fork, kill, reap_any, restore_signals, wait_signal,
};
use linkspan_sys::{Errno, Result as SysResult};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getpid, setpgid, tcsetpgrp};

/// Returns in the child, which is to become the program. The parent never returns.
pub(crate) fn split() -> SysResult<()> {
    // From here on no signal is lost: it waits until somebody asks for it.
    let before = block_signals()?;
    match fork()? {
        None => {
            until_told()?;
            become_foreground(&before)
        }
        Some(child) => stay(child),
    }
}

/// Until the parent has closed what it has open: the program must not find it in /proc/1/fd. By a
/// signal that is blocked and that nobody else sends, and a call that the parent needs as well, so
/// that a filter allows both or neither.
fn until_told() -> SysResult<()> {
    let mut told = SigSet::empty();
    told.add(Signal::SIGCHLD);
    told.wait().map(drop)
}

/// A process group of its own, in the foreground of the terminal if there is one: otherwise ^C
/// would reach both, and the program twice.
fn become_foreground(before: &SigSet) -> SysResult<()> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    // SIGTTOU, which a background group gets for this, is blocked.
    match tcsetpgrp(std::io::stdin(), getpid()) {
        Ok(()) | Err(Errno::ENOTTY | Errno::ENXIO | Errno::EBADF) => {}
        Err(errno) => return Err(errno),
    }
    restore_signals(before)
}

fn stay(child: Pid) -> ! {
    // The socket above all: its end tells the agent that the program runs.
    close_from(3);
    // ESRCH: it was killed; it is reaped below.
    let _ = kill(child, nix::libc::SIGCHLD);
    loop {
        match wait_signal() {
            Ok(signal) if signal == nix::libc::SIGCHLD => {
                if let Some(code) = reap(child) {
                    std::process::exit(code);
                }
            }
            // ESRCH: it has just ended, and SIGCHLD comes.
            Ok(signal) => drop(kill(child, signal)),
            // EINTR, after the process was stopped and continued.
            Err(_) => {}
        }
    }
}

/// Reaps all that have ended; the exit code of the program when it is among them.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match reap_any() {
            Ok(None) | Err(_) => return code,
            Ok(Some((ended, its))) if ended == child => code = Some(its),
            Ok(Some(_)) => {}
        }
    }
}
