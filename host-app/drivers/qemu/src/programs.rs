//! Where the programs are that this driver starts, and which version they have.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use linkspan_machine::driver::DriverError;
use tokio::process::Command;

use crate::io_error;

/// The variable that names QEMU's program.
pub const QEMU_VARIABLE: &str = "LINKSPAN_QEMU";

/// `qemu --version` loads libraries and prints one line.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// A program that is a device of a machine, as a process. It is called with `--socket FILE`, the
/// vhost-user socket that it makes for QEMU, and ends when QEMU does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProgram {
    /// The program.
    pub program: PathBuf,
    /// Its arguments before those of the device.
    pub arguments: Vec<OsString>,
}

/// The devices that are no part of QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePrograms {
    /// The vsock, where the kernel has no vhost-vsock for this user. Also called with `--uds FILE`,
    /// the hybrid socket that it makes for the host's programs, and `--guest-cid NUMBER`.
    pub vsock: DeviceProgram,
    /// One shared folder. Also called with `--share FOLDER`, and `--read-only` if it is.
    pub folder: DeviceProgram,
}

/// What the environment says about programs.
#[derive(Debug, Clone, Default)]
pub struct Programs {
    /// This QEMU and no other.
    pub qemu: Option<PathBuf>,
    /// Searched for programs, in this order.
    pub folders: Vec<PathBuf>,
}

/// A QEMU that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qemu {
    pub(crate) program: PathBuf,
    /// `7.2.22`.
    pub(crate) version: String,
}

impl Programs {
    /// The variable, then the folder of this program, then PATH.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        let path = variable("PATH").unwrap_or_default();
        Self {
            qemu: variable(QEMU_VARIABLE).map(PathBuf::from),
            folders: own.into_iter().chain(std::env::split_paths(&path)).collect(),
        }
    }

    /// Finds QEMU for this processor and asks it for its version.
    pub(crate) async fn qemu(&self) -> Result<Qemu, DriverError> {
        let name = format!("qemu-system-{}", std::env::consts::ARCH);
        let program = self
            .find(self.qemu.as_deref(), &name)
            .map_err(|why| missing(format!("QEMU (`{name}`)"), why, qemu_hint()))?;
        let mut command = Command::new(&program);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(VERSION_LIMIT, command.output())
            .await
            .map_err(|_| DriverError::TimedOut {
                what: format!("the answer of `{} --version`", program.display()),
                seconds: VERSION_LIMIT.as_secs(),
            })?
            .map_err(io_error("run", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = parse_version(&text).filter(|_| output.status.success());
        let version = version.ok_or_else(|| DriverError::Start {
            program: program.display().to_string(),
            why: format!(
                "`--version` did not answer as QEMU does: {}{}",
                text.trim(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            hint: format!("set {QEMU_VARIABLE} to a QEMU that runs"),
        })?;
        Ok(Qemu { program, version })
    }

    /// `Err`: where it was looked for.
    fn find(&self, named: Option<&Path>, name: &str) -> Result<PathBuf, String> {
        if let Some(path) = named {
            return match path.is_file() {
                true => Ok(path.to_owned()),
                false => Err(format!("there is no file `{}`", path.display())),
            };
        }
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        self.folders
            .iter()
            .map(|folder| folder.join(&file))
            .find(|path| is_program(path))
            .ok_or_else(|| "it is not in PATH".into())
    }
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

fn missing(what: String, why: String, hint: String) -> DriverError {
    DriverError::Missing { what, why, hint }
}

fn qemu_hint() -> String {
    let install = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos", _) => "install it with `brew install qemu`",
        ("windows", _) => "install it from https://www.qemu.org/download/",
        (_, "aarch64") => "install it with `apt-get install qemu-system-arm`",
        _ => "install it with `apt-get install qemu-system-x86`",
    };
    format!("{install}, or set {QEMU_VARIABLE}")
}

/// `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)` -> `7.2.22`.
fn parse_version(text: &str) -> Option<String> {
    let rest = text.lines().next()?.strip_prefix("QEMU emulator version ")?;
    let version = rest.split_whitespace().next()?;
    version.starts_with(|first: char| first.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_qemu_answers_as_qemu() {
        let answer = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright\n";
        assert_eq!(parse_version(answer).as_deref(), Some("7.2.22"));
        assert_eq!(parse_version("QEMU emulator version "), None);
        assert_eq!(parse_version("bash 5.2"), None);
        assert_eq!(parse_version(""), None);
    }

    #[tokio::test]
    async fn a_missing_qemu_says_how_to_get_it() {
        let error = Programs::default().qemu().await.expect_err("no folder, no program");
        let DriverError::Missing { hint, .. } = &error else { panic!("{error}") };
        assert!(hint.contains("install") && hint.contains(QEMU_VARIABLE), "{hint}");
        let named = Programs { qemu: Some("/nowhere/qemu".into()), ..Programs::default() };
        let error = named.qemu().await.expect_err("not there");
        assert!(error.to_string().contains("/nowhere/qemu"), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_program_that_is_not_qemu_is_refused() {
        let named = Programs { qemu: Some("/bin/true".into()), ..Programs::default() };
        if !Path::new("/bin/true").exists() {
            println!("skipped: this system has no /bin/true");
            return;
        }
        let error = named.qemu().await.expect_err("not QEMU");
        assert!(matches!(error, DriverError::Start { .. }), "{error}");
    }
}
