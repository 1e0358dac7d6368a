//! What the command line answers with.

use std::path::PathBuf;

use linkspan_runtime::cgroup::CgroupError;
use linkspan_runtime::launch::LaunchError;
use linkspan_sys::Errno;

use crate::args::UsageError;
use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("`{0}` is not the ID of a container: letters, digits, `_`, `+`, `-` and `.`")]
    BadId(String),
    #[error("there is a container `{0}` already")]
    Exists(String),
    #[error("there is no container `{0}`")]
    NoContainer(String),
    #[error("cannot {action} the container `{id}`: it is {status}")]
    WrongStatus { action: &'static str, id: String, status: &'static str },
    #[error("`{0}` is not a signal")]
    BadSignal(String),
    #[error("the cgroup `{}` has processes in it", .0.display())]
    CgroupInUse(PathBuf),
    #[error("no cgroup2 is mounted")]
    NoCgroup,
    #[error("`{option}`: {reason}")]
    Option { option: &'static str, reason: String },
    #[error("cannot {action} `{}`: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("`{}` is damaged: {source}", path.display())]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("cannot {action}: {}", errno.desc())]
    Kernel { action: &'static str, errno: Errno },
    #[error("the process {pid} of the container `{id}` did not end in time")]
    DidNotEnd { id: String, pid: i32 },
}

impl Error {
    /// Names a file that could not be used.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// Names what the kernel refused.
    pub(crate) fn kernel(action: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Kernel { action, errno }
    }
}
