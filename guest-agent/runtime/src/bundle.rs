//! What an OCI bundle can ask for beyond a [`Plan`](crate::plan::Plan), and hooks.
//!
//! A container of ours never needs these: they belong to the OCI command line (`linkspan-init
//! oci`), which has a container created by one command and started by another.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The parts of config.json that a plan has no room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// How mounts spread to and from the root.
    pub root_propagation: RootPropagation,
    /// Who the process runs as; instead of [`Process::user`](crate::plan::Process::user).
    pub ids: Ids,
    /// The process's umask.
    pub umask: u32,
    /// Devices with owners, named pipes; a file in their place is an error.
    pub nodes: Vec<Node>,
    /// `class << 13 | level` of linux/ioprio.h.
    pub io_priority: Option<u16>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// The UTS namespace is joined, and its names are set all the same.
    pub names_joined_uts: bool,
    /// Somebody wants hooks: `linkspan-init` says when the environment is there, and waits.
    pub hooks: bool,
    /// A new time namespace, whose clocks are ahead of the machine's by these. None: none.
    pub clocks: Option<Vec<ClockOffset>>,
    /// Run in the container's namespaces, before its root is changed.
    pub create_container: Vec<Hook>,
    /// Run in the container by its process, before it becomes the program.
    pub start_container: Vec<Hook>,
    /// Descriptors of `linkspan-init` that the program has from 3 on, in this order.
    pub preserved: Vec<i32>,
}

/// What is added to a clock in a time namespace (time_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Which.
    pub clock: Clock,
    /// Seconds; negative: it is behind.
    pub seconds: i64,
    /// Below a second, and always ahead.
    pub nanoseconds: u32,
}

/// A clock that a time namespace has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// CLOCK_MONOTONIC.
    Monotonic,
    /// CLOCK_BOOTTIME.
    Boottime,
}

/// `linux.rootfsPropagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum RootPropagation {
    /// No way.
    #[default]
    Private,
    /// From the machine to the container.
    Slave,
    /// A peer group of the container's own.
    Shared,
    /// Private, and cannot be bind-mounted.
    Unbindable,
}

/// Numbers, used as they are: `/etc/passwd` and `/etc/group` have no say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A device node or a named pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Absolute, inside the container.
    pub path: PathBuf,
    /// What.
    pub kind: NodeKind,
    /// Major number; 0 for a pipe.
    pub major: u32,
    /// Minor number; 0 for a pipe.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    /// `c` and `u`.
    Character,
    /// `b`.
    Block,
    /// `p`.
    Pipe,
}

/// sched_setattr(2) in numbers of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Scheduler {
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// A program that is run at a point of a container's life (config.md, "POSIX-platform Hooks").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// The name first, as for execve(2); empty: the path.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Seconds until it is killed. None: it may take its time.
    pub timeout: Option<u64>,
}

/// The states that the hooks of a creation and a start are told, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct HookStates {
    /// For `createContainer`.
    pub creating: String,
    /// For `startContainer`.
    pub created: String,
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It could not be started, or spoken to.
    #[error("the hook `{}` cannot be run: {source}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("the hook `{}` failed ({status}){}", path.display(), said(stderr))]
    Failed {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("the hook `{}` did not end in {seconds} s", path.display())]
    TimedOut {
        /// The program.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

/// Longer complaints of a hook are cut.
const LONGEST_COMPLAINT: u64 = 4096;

impl Hook {
    /// Runs it to its end with the container's state on standard input.
    ///
    /// # Errors
    /// Names the hook and how it failed.
    pub fn run(&self, state: &str) -> Result<(), HookError> {
        let failed = |source| HookError::Run { path: self.path.clone(), source };
        let mut command = Command::new(&self.path);
        if let Some((name, rest)) = self.args.split_first() {
            std::os::unix::process::CommandExt::arg0(&mut command, name).args(rest);
        }
        command.env_clear().envs(self.env.iter().filter_map(|entry| entry.split_once('=')));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(state.as_bytes()) {
                // It does not care for the state.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                other => other.map_err(failed)?,
            }
        }
        let status = match self.timeout {
            None => child.wait().map_err(failed)?,
            Some(seconds) => self.wait(&mut child, seconds)?,
        };
        if status.success() {
            return Ok(());
        }
        let status = match status.signal() {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exit code {}", status.code().unwrap_or(-1)),
        };
        Err(HookError::Failed { path: self.path.clone(), status, stderr: complaint(&mut child) })
    }

    fn wait(&self, child: &mut Child, seconds: u64) -> Result<std::process::ExitStatus, HookError> {
        let failed = |source| HookError::Run { path: self.path.clone(), source };
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                return Err(HookError::TimedOut { path: self.path.clone(), seconds });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What an ended hook wrote to standard error. A process that it left behind may still hold the
/// pipe, so only what is there is read.
fn complaint(child: &mut Child) -> String {
    let Some(stderr) = child.stderr.take() else { return String::new() };
    let flags = linkspan_sys::nix::fcntl::OFlag::O_NONBLOCK;
    let set = linkspan_sys::nix::fcntl::FcntlArg::F_SETFL(flags);
    if linkspan_sys::nix::fcntl::fcntl(&stderr, set).is_err() {
        return String::new();
    }
    let mut text = Vec::new();
    // WouldBlock after the last byte: what was read before is kept.
    let _ = stderr.take(LONGEST_COMPLAINT).read_to_end(&mut text);
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Option<u64>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["hook".into(), "-c".into(), script.into()],
            env: vec!["WHAT=state".into()],
            timeout,
        }
    }

    #[test]
    fn a_hook_reads_the_state_and_has_its_environment_only() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script =
            format!("cat > {0}; env | grep -c '^HOME=' >> {0}; echo $WHAT >> {0}", out.display());
        shell(&script, Some(60)).run("{}\n").unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "{}\n0\nstate\n");
    }

    #[test]
    fn a_failing_hook_is_named_with_what_it_said() {
        let error = shell("echo no >&2; exit 3", None).run("").unwrap_err();
        assert_eq!(error.to_string(), "the hook `/bin/sh` failed (exit code 3): no");
        let error = Hook { path: "/no/such".into(), ..shell("", None) }.run("").unwrap_err();
        assert!(error.to_string().starts_with("the hook `/no/such` cannot be run: "), "{error}");
    }

    #[test]
    fn a_hook_that_takes_too_long_is_killed() {
        let error = shell("exec sleep 1000", Some(1)).run("").unwrap_err();
        assert_eq!(error.to_string(), "the hook `/bin/sh` did not end in 1 s");
    }
}
