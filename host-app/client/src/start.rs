//! Starting the daemon: find its program, spawn it detached, say why it did not come up.
//!
//! Two clients may start one at the same time: the daemon's own lock decides, the loser exits
//! with [`DAEMON_RUNS_EXIT_CODE`], and both clients connect to the winner.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use linkspan_proto::{
    DAEMON_RUNS_EXIT_CODE,
    error::{ErrorCode, Failure},
};
use linkspan_state::Paths;

use crate::ConnectOptions;

const PROGRAM: &str = if cfg!(windows) { "linkspand.exe" } else { "linkspand" };

/// How much of the daemon's log explains a failed start.
const EVIDENCE_LINES: usize = 20;
const EVIDENCE_BYTES: u64 = 16 * 1024;

/// A daemon that this client spawned.
#[derive(Debug)]
pub(crate) struct Started {
    exited: mpsc::Receiver<io::Result<ExitStatus>>,
    /// Since when it is known that another daemon holds the home.
    lost_to_another: Option<Instant>,
    log_from: u64,
}

/// How long another daemon may hold the home without listening before it is tried again to start
/// one: it may be one that is just ending.
const OTHERS_PATIENCE: Duration = Duration::from_millis(200);

impl Started {
    /// Spawns the daemon; it goes on when this process ends.
    pub(crate) fn spawn(options: &ConnectOptions, paths: &Paths) -> Result<Self, Failure> {
        let program = match &options.daemon_program {
            Some(program) => program.clone(),
            None => find()?,
        };
        let refused = |error: &dyn std::fmt::Display| {
            Failure::new(
                ErrorCode::Unavailable,
                format!("cannot start the daemon `{}`: {error}", program.display()),
            )
        };
        let log = paths.daemon_log();
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(|error| refused(&error))?;
        }
        let log_from = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        // What it says before it has set up its own log (a panic, a missing library) belongs there too.
        let mut options = fs::File::options();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let errors = options.open(&log).map_err(|error| refused(&error))?;
        let mut command = Command::new(&program);
        command
            .arg("--home")
            .arg(paths.home())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        detach(&mut command);
        let mut child = command.spawn().map_err(|error| refused(&error))?;
        tracing::debug!(program = %program.display(), pid = child.id(), "daemon started");

        // A thread and not a task: it may outlive the runtime, and it reaps the child.
        let (tell, exited) = mpsc::channel();
        std::thread::spawn(move || drop(tell.send(child.wait())));
        Ok(Self { exited, lost_to_another: None, log_from })
    }

    /// Fails when the daemon ended for another reason than that one already runs, or when
    /// `deadline` has passed.
    pub(crate) fn check(
        &mut self,
        paths: &Paths,
        deadline: Instant,
        budget: Duration,
    ) -> Result<(), Failure> {
        if self.lost_to_another.is_none()
            && let Ok(result) = self.exited.try_recv()
        {
            match result {
                Ok(status) if status.code() == Some(DAEMON_RUNS_EXIT_CODE) => {
                    self.lost_to_another = Some(Instant::now());
                }
                Ok(status) => {
                    return Err(self.failure(paths, &format!("it ended at once ({status})")));
                }
                Err(error) => return Err(self.failure(paths, &format!("it was lost: {error}"))),
            }
        }
        if Instant::now() < deadline {
            return Ok(());
        }
        let seconds = budget.as_secs_f32();
        let why = match self.lost_to_another {
            Some(_) => format!("another one runs, but does not answer within {seconds} s"),
            None => format!("it did not answer within {seconds} s"),
        };
        Err(self.failure(paths, &why))
    }

    /// Whether it lost to another daemon that does not listen: time to try again.
    pub(crate) fn is_worth_a_retry(&self) -> bool {
        self.lost_to_another.is_some_and(|since| since.elapsed() > OTHERS_PATIENCE)
    }

    fn failure(&self, paths: &Paths, why: &str) -> Failure {
        let log = paths.daemon_log();
        Failure::new(ErrorCode::Unavailable, format!("the daemon did not start: {why}"))
            .hint(format!("its log is `{}`", log.display()))
            .evidence(last_lines(&log, self.log_from))
    }
}

/// On unix the daemon leaves the session by itself, with the first thing that it does (`setsid`,
/// which a leader of a process group must not call: so it is not made one here).
///
/// It gets none of the files that this process was given, such as the lock of a script: it would
/// hold them for as long as it lives.
#[cfg(unix)]
fn detach(_: &mut Command) {
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
}

#[cfg(windows)]
fn detach(command: &mut Command) {
    use std::os::windows::process::CommandExt as _;
    // winbase.h: DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    command.creation_flags(0x0000_0008 | 0x0000_0200);
}

/// `linkspand` beside this program (links resolved or not), then on the `PATH`.
fn find() -> Result<PathBuf, Failure> {
    let mut places = Vec::new();
    if let Ok(own) = env::current_exe() {
        places.extend(own.parent().map(Path::to_owned));
        if let Ok(real) = own.canonicalize() {
            places.extend(real.parent().map(Path::to_owned));
        }
    }
    if let Some(path) = env::var_os("PATH") {
        places.extend(env::split_paths(&path));
    }
    let found = places.iter().map(|folder| folder.join(PROGRAM)).find(|program| program.is_file());
    found.ok_or_else(|| {
        Failure::new(
            ErrorCode::NotFound,
            format!(
                "the daemon's program `{PROGRAM}` was not found beside this program or on the PATH"
            ),
        )
        .hint("install `linkspand` beside `linkspan`")
    })
}

/// The last lines that were written to the log since `from`.
fn last_lines(log: &Path, from: u64) -> Vec<String> {
    use std::io::{Read as _, Seek as _};
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(log)?;
        let len = file.metadata()?.len();
        // A log that became shorter was rotated: all of it is new.
        let from = if from > len { 0 } else { from };
        file.seek(io::SeekFrom::Start(from.max(len.saturating_sub(EVIDENCE_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(EVIDENCE_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(EVIDENCE_LINES)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_log_that_a_client_begins_is_the_users_alone() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let paths = Paths::at(home.path()).expect("a state folder");
        let options =
            ConnectOptions { daemon_program: Some("true".into()), ..ConnectOptions::default() };
        Started::spawn(&options, &paths).expect("it starts");
        let mode = fs::metadata(paths.daemon_log()).expect("a log").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
