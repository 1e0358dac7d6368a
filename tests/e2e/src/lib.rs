//! The harness of the end-to-end tests: a Linkspan of its own in a temporary folder.
//!
//! Everything goes through the built programs, as a user's would: nothing of Linkspan is linked
//! in. A [`Host`] ends its machine and its daemon when it is dropped and then looks for processes
//! that were left behind.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// What a finished command left.
#[derive(Debug)]
pub struct Done {
    /// The exit code; 128 + n when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
    /// The command, for messages.
    pub what: String,
}

impl Done {
    /// Standard output as text, without the last line end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim_end().to_owned()
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Demands success.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "`{}` failed:\n{}{}", self.what, self.text(), self.err);
        self
    }

    /// Demands a failure whose error text contains every one of `words`.
    ///
    /// # Panics
    /// When it succeeded, ended otherwise, or says something else.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "`{}`:\n{}{}", self.what, self.text(), self.err);
        for word in words {
            assert!(
                self.err.contains(word),
                "`{}` does not say `{word}`:\n{}",
                self.what,
                self.err
            );
        }
    }
}

/// The folder with the built programs.
///
/// # Panics
/// When they have not been built.
#[must_use]
pub fn target() -> PathBuf {
    let path = std::env::var_os("LINKSPAN_TARGET").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    assert!(
        path.join("release/linkspan").exists() && path.join("vm-image/manifest.json").exists(),
        "{} has no programs or no VM image: `make image` first",
        path.display()
    );
    path.canonicalize().expect("it exists")
}

/// The static program of the guest's target of that name.
#[must_use]
pub fn guest_program(name: &str) -> PathBuf {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    target().join("guest").join(triple).join("guest").join(name)
}

/// A Linkspan of its own.
pub struct Host {
    home: TempDir,
    env: Vec<(String, String)>,
}

impl Host {
    /// Nothing is started yet.
    ///
    /// # Panics
    /// When there is no room for a temporary folder.
    #[must_use]
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("lse2e-").tempdir().expect("a temporary folder");
        Self { home, env: Vec::new() }
    }

    /// With one more environment variable for every command (and so for the daemon).
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_string_lossy().into_owned()));
        self
    }

    /// The state folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What every command has in its environment beside the home.
    pub fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A `linkspan` command, not started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(target().join("release/linkspan"));
        command.args(args).env("LINKSPAN_HOME", self.home.path()).stdin(Stdio::null());
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }

    /// Runs a `linkspan` command to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with_stdin(args, b"")
    }

    /// The same, with something on standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run_with_stdin(&self, args: &[&str], stdin: &[u8]) -> Done {
        let mut child = self.spawn(args);
        let mut pipe = child.stdin.take().expect("standard input is a pipe");
        let stdin = stdin.to_vec();
        let writer = std::thread::spawn(move || {
            // The command may end without reading it all: that is its right.
            let _ = pipe.write_all(&stdin);
        });
        let done = finish(child, args);
        writer.join().expect("the writer does not panic");
        done
    }

    /// Starts a `linkspan` command with pipes.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("linkspan starts")
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When no daemon runs.
    #[must_use]
    pub fn daemon_pid(&self) -> i32 {
        self.processes()
            .into_iter()
            .find(|(_, command)| is_daemon(command))
            .map(|(pid, _)| pid)
            .expect("a daemon runs")
    }

    /// Every process that belongs to this home: it is named in the environment or the arguments.
    #[must_use]
    pub fn processes(&self) -> Vec<(i32, String)> {
        let home = self.home.path().to_string_lossy().into_owned();
        let me = std::process::id();
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| pid.unsigned_abs() != me)
            .filter_map(|pid| {
                let bytes =
                    |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let command = String::from_utf8_lossy(&bytes("cmdline")).replace('\0', " ");
                let environment = String::from_utf8_lossy(&bytes("environ")).into_owned();
                let ours = command.contains(&home) || environment.contains(&home);
                (ours && !command.is_empty()).then_some((pid, command))
            })
            .collect()
    }

    /// Ends the machine and the daemon; then nothing may be left.
    fn end(&self) -> Vec<String> {
        if !self.processes().is_empty() {
            let _ = self.run(&["machine", "stop", "--force"]);
            let _ = self.run(&["system", "stop-daemon"]);
        }
        let gone = wait_until(Duration::from_secs(20), || self.processes().is_empty());
        if gone {
            return Vec::new();
        }
        let left = self.processes();
        for (pid, _) in &left {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(*pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        left.into_iter().map(|(pid, command)| format!("{pid}: {command}")).collect()
    }

    /// Ends everything and demands that no process was left behind.
    ///
    /// # Panics
    /// When one was.
    pub fn leaves_nothing(self) {
        let left = self.end();
        assert!(left.is_empty(), "left behind, and killed: {left:#?}");
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for process in self.end() {
            eprintln!("left behind, and killed: {process}");
        }
    }
}

/// Whether a process with this command line is the daemon. The devices are the same program.
#[must_use]
pub fn is_daemon(command: &str) -> bool {
    command.contains("linkspand") && !is_vsock_device(command) && !is_fs_device(command)
}

/// Whether a process with this command line is a machine's vsock device.
#[must_use]
pub fn is_vsock_device(command: &str) -> bool {
    command.contains("linkspand vsock-device")
}

/// Whether a process with this command line is one of a machine's shared folders.
#[must_use]
pub fn is_fs_device(command: &str) -> bool {
    command.contains("linkspand fs-device")
}

/// Waits for a started command.
///
/// # Panics
/// When it does not end within two minutes.
#[must_use]
pub fn finish(mut child: Child, what: &[&str]) -> Done {
    use std::{io::Read as _, os::unix::process::ExitStatusExt as _};
    fn drain(
        pipe: Option<impl std::io::Read + Send + 'static>,
    ) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        })
    }
    let out = drain(child.stdout.take().map(|pipe| pipe.take(u64::MAX)));
    let err = drain(child.stderr.take());
    let deadline = Instant::now() + Duration::from_secs(120);
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("`linkspan {}` did not end within 120 s", what.join(" "));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Done {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        out: out.join().expect("the reader does not panic"),
        err: String::from_utf8_lossy(&err.join().expect("the reader does not panic")).into_owned(),
        what: format!("linkspan {}", what.join(" ")),
    }
}

/// Waits for a condition; `false` when the deadline passed first.
#[must_use]
pub fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
