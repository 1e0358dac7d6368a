//! Why a process could not be started, in the words and kinds that people know from Docker.

use linkspan_sys::Errno;

use crate::cgroup::CgroupError;
use crate::wire::{Failure, Step, WireError};

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchError {
    /// Whose fault it is, as far as exit codes care.
    pub kind: LaunchErrorKind,
    /// Where, at what and with which answer.
    pub failure: Failure,
}

/// What the exit code of a `run` or `exec` depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchErrorKind {
    /// The program does not exist: 127.
    NotFound,
    /// The program exists and cannot be executed: 126.
    NotExecutable,
    /// Anything else: 125.
    Other,
}

impl LaunchError {
    pub(super) fn kernel(step: Step, errno: Errno) -> Self {
        Self::from(Failure { step, errno: errno as i32, detail: String::new() })
    }

    pub(super) fn wire(error: WireError) -> Self {
        Self::from(Failure { step: Step::Order, errno: 0, detail: error.to_string() })
    }

    /// The step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.failure.step
    }
}

impl From<Failure> for LaunchError {
    fn from(failure: Failure) -> Self {
        Self { kind: kind(&failure), failure }
    }
}

impl From<CgroupError> for LaunchError {
    fn from(error: CgroupError) -> Self {
        // The text of the error has the kernel's answer in it already.
        Self::from(Failure { step: Step::Cgroup, errno: 0, detail: error.to_string() })
    }
}

/// dockerd reads the kind off the error text of the OCI runtime; here the step and the errno
/// are at hand. A working directory that is not there counts as not found, as it does there.
fn kind(failure: &Failure) -> LaunchErrorKind {
    if !matches!(failure.step, Step::Execute | Step::WorkingDirectory) {
        return LaunchErrorKind::Other;
    }
    match Errno::from_raw(failure.errno) {
        Errno::ENOENT | Errno::ENOTDIR => LaunchErrorKind::NotFound,
        Errno::EACCES
        | Errno::EPERM
        | Errno::ENOEXEC
        | Errno::EISDIR
        | Errno::ELOOP
        | Errno::ETXTBSY
        | Errno::ELIBBAD => LaunchErrorKind::NotExecutable,
        _ => LaunchErrorKind::Other,
    }
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { step, errno, detail } = &self.failure;
        // `linkspan-init` writes these in full: exec: "foo": executable file not found in $PATH
        if *step == Step::Execute && !detail.is_empty() {
            return f.write_str(detail);
        }
        write!(f, "cannot {}", step.action())?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        if *errno != 0 && *step != Step::Spawn {
            write!(f, ": {}", describe(*errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for LaunchError {}

/// What an errno means, in lower case.
#[must_use]
pub fn describe(errno: i32) -> String {
    let text = Errno::from_raw(errno).desc();
    let mut letters = text.chars();
    // Not "i/o error": a first word in capitals stays as it is.
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(step: Step, errno: Errno, detail: &str) -> LaunchError {
        Failure { step, errno: errno as i32, detail: detail.to_owned() }.into()
    }

    #[test]
    fn only_the_program_itself_decides_between_126_and_127() {
        use LaunchErrorKind::{NotExecutable, NotFound, Other};
        for (step, errno, kind) in [
            (Step::Execute, Errno::ENOENT, NotFound),
            (Step::Execute, Errno::ENOTDIR, NotFound),
            (Step::Execute, Errno::EACCES, NotExecutable),
            (Step::Execute, Errno::ENOEXEC, NotExecutable),
            (Step::Execute, Errno::EISDIR, NotExecutable),
            (Step::Execute, Errno::ENOMEM, Other),
            (Step::WorkingDirectory, Errno::ENOENT, NotFound),
            (Step::Mounts, Errno::ENOENT, Other),
            (Step::Overlay, Errno::EACCES, Other),
        ] {
            assert_eq!(error(step, errno, "").kind, kind, "{step:?} {errno}");
        }
    }

    #[test]
    fn messages_say_what_happened_to_what_and_why() {
        let found = r#"exec: "foo": executable file not found in $PATH"#;
        assert_eq!(error(Step::Execute, Errno::ENOENT, found).to_string(), found);
        assert_eq!(
            error(Step::Mounts, Errno::ENODEV, "`mqueue` at `/dev/mqueue`").to_string(),
            "cannot mount: `mqueue` at `/dev/mqueue`: operation not supported by device"
                .replace("operation not supported by device", &describe(Errno::ENODEV as i32))
        );
        assert_eq!(
            error(Step::Pivot, Errno::EINVAL, "").to_string(),
            "cannot change the root: invalid argument"
        );
        assert_eq!(describe(Errno::EIO as i32), "I/O error");
    }
}
