//! Processes that are not (or no longer) our children: known by pid and start time, so that a
//! pid that the system gave to somebody else is never taken for ours.

use std::{io, time::Duration};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// One process of this host, for as long as the host runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it started, in the system's own words (Linux: clock ticks since the host's boot).
    started: String,
}

/// Between two looks, where the system cannot tell us.
const POLL: Duration = Duration::from_millis(100);

impl Process {
    /// The process that has `pid` now. `None`: there is none, or it has ended.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    /// Whether it still runs.
    pub(crate) fn runs(&self) -> bool {
        start_time(self.pid).as_ref() == Some(&self.started)
    }

    fn raw(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }

    /// Ends it at once, if it still runs.
    #[cfg(target_os = "linux")]
    pub(crate) fn kill(&self) -> io::Result<()> {
        use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
        let Some(pid) = self.raw() else { return Ok(()) };
        // First the descriptor, then the look: what the descriptor holds cannot be exchanged.
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if !self.runs() {
            return Ok(());
        }
        match pidfd_send_signal(fd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(Into::into),
        }
    }

    /// Ends it at once, if it still runs.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn kill(&self) -> io::Result<()> {
        let Some(pid) = self.raw().filter(|_| self.runs()) else { return Ok(()) };
        match rustix::process::kill_process(pid, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other.map_err(Into::into),
        }
    }

    /// Resolves when it has ended.
    #[cfg(target_os = "linux")]
    pub(crate) async fn ended(&self) {
        let (tell, told) = tokio::sync::oneshot::channel();
        let process = self.clone();
        // A thread of its own and not one of the runtime's: it waits as long as the VM runs, and
        // a daemon that ends must not wait for that.
        let thread = std::thread::Builder::new().name("vm-end".into()).spawn(move || {
            process.wait_on_pidfd();
            let _ = tell.send(());
        });
        if thread.is_ok() {
            let _ = told.await;
        }
        // Also without a pidfd (a kernel before 5.3) or a thread.
        while self.runs() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Blocks until it has ended, or returns at once where there is no pidfd for it.
    #[cfg(target_os = "linux")]
    fn wait_on_pidfd(&self) {
        use rustix::{
            event::{PollFd, PollFlags, poll},
            process::{PidfdFlags, pidfd_open},
        };
        let fd = self.raw().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(fd) = fd.filter(|_| self.runs()) else { return };
        // A pidfd is readable from the end of its process on.
        let mut watched = [PollFd::new(&fd, PollFlags::IN)];
        while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
    }

    /// Resolves when it has ended.
    #[cfg(not(target_os = "linux"))]
    pub(crate) async fn ended(&self) {
        while self.runs() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Resident bytes; memory shared with other processes counts in parts. Blocking.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        #[cfg(target_os = "linux")]
        {
            let read = |name: &str, key: &str| {
                let text = std::fs::read_to_string(format!("/proc/{}/{name}", self.pid))?;
                kib_field(&text, key).ok_or_else(|| io::Error::other(format!("no {key} in {name}")))
            };
            read("smaps_rollup", "Pss:").or_else(|_| read("status", "VmRSS:"))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let text = ps(self.pid, "rss=").ok_or(io::ErrorKind::NotFound)?;
            let kib: u64 = text.parse().map_err(io::Error::other)?;
            Ok(kib * 1024)
        }
    }
}

/// `Pss:       1234 kB` -> bytes.
#[cfg(any(target_os = "linux", test))]
fn kib_field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// `None` also for a process that has ended and only waits to be reaped.
#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of proc_pid_stat(5). The name in field 2 may hold anything, also parentheses.
#[cfg(any(target_os = "linux", test))]
fn parse_stat(text: &str) -> Option<String> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: u32) -> Option<String> {
    let state = ps(pid, "state=")?;
    if state.starts_with('Z') {
        return None;
    }
    ps(pid, "lstart=")
}

#[cfg(not(target_os = "linux"))]
fn ps(pid: u32, column: &str) -> Option<String> {
    let output = std::process::Command::new("/bin/ps")
        .args(["-o", column, "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let tail = (4..=22).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(parse_stat(&format!("7 (a) S b) R {tail}\n")).as_deref(), Some("22"));
        assert_eq!(parse_stat(&format!("7 (a) Z {tail}")), None, "it has ended");
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(kib_field("Rss: 9 kB\nPss:     12 kB\n", "Pss:"), Some(12 * 1024));
        assert_eq!(kib_field("Pss: many kB", "Pss:"), None);
    }

    #[tokio::test]
    async fn a_process_is_watched_and_ended_and_a_reused_pid_is_not() {
        let mut child = tokio::process::Command::new("sleep").arg("600").spawn().expect("sleep");
        let process = Process::find(child.id().expect("runs")).expect("runs");
        assert!(process.runs() && process.resident_bytes().expect("known") > 0);
        let other = Process { started: "then".into(), ..process.clone() };
        assert!(!other.runs());
        other.kill().expect("nothing to do");
        assert!(process.runs(), "the process that has the pid now was not touched");

        process.kill().expect("ours");
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, process.ended()).await.expect("it ended");
        assert!(!process.runs());
        child.wait().await.expect("reaped");
        process.kill().expect("ending it twice is fine");
    }
}
