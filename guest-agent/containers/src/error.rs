//! What can go wrong with a container, with its subject in each variant.
//!
//! The faces map [`Error`] to their own codes in one place of theirs; this crate knows no wire.

use std::{io, path::PathBuf};

/// Why an action on a container did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has this id, prefix or name.
    #[error("no such container: `{0}`")]
    NotFound(String),
    /// A prefix that several ids share.
    #[error("`{prefix}` is the beginning of {count} container ids")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many ids begin so.
        count: usize,
    },
    /// The name is taken.
    #[error("the name `{name}` is already in use by container {owner}")]
    NameConflict {
        /// The wanted name.
        name: String,
        /// The short id of its owner.
        owner: String,
    },
    /// The state forbids the action.
    #[error("cannot {action} container `{name}`: {why}")]
    WrongState {
        /// The verb.
        action: &'static str,
        /// Which container.
        name: String,
        /// What the state is, and what it would have to be.
        why: String,
    },
    /// An option of the request is not valid.
    #[error("{option}: {why}")]
    Invalid {
        /// The option as `run` spells it, `--memory` say.
        option: &'static str,
        /// The value and what is wrong with it.
        why: String,
    },
    /// An option that exists but is not served.
    #[error("{option} is not supported: {why}")]
    Unsupported {
        /// The option and its value.
        option: String,
        /// The reason.
        why: String,
    },
    /// The image is not there, or cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The host did not publish a port.
    #[error("cannot publish its ports: {0}")]
    Ports(#[from] crate::ports::PortError),
    /// A network is not there, or cannot be used.
    #[error(transparent)]
    Network(#[from] linkspan_net::Error),
    /// A volume is not there, or cannot be used.
    #[error(transparent)]
    Volume(#[from] crate::volumes::VolumeError),
    /// There is nothing at a path of a container.
    #[error("could not find the file `{}` in container `{container}`", path.display())]
    NoSuchPath {
        /// As the caller named it.
        container: String,
        /// The path.
        path: PathBuf,
    },
    /// A folder is wanted.
    #[error("`{}` is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Files of a container could not be read or sent.
    #[error(transparent)]
    Files(#[from] linkspan_files::Error),
    /// An archive could not be unpacked into a container.
    #[error(transparent)]
    Unpack(#[from] linkspan_images::Error),
    /// The process could not be started.
    #[error("{0}")]
    Launch(LaunchError),
    /// A file of ours.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// The verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A state file of a version or shape that this program does not know.
    #[error("`{path}` cannot be read: {why}")]
    Record {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An action did not finish in its time.
    #[error("container `{name}` did not {what} within {seconds} s")]
    TimedOut {
        /// Which container.
        name: String,
        /// The verb.
        what: &'static str,
        /// The budget.
        seconds: u64,
    },
    /// Its driver keeps no log. The words are Docker's, which clients look for.
    #[error("configured logging driver does not support reading")]
    NoLog,
    /// A client did not read what it asked for, and so many MiB of it waited already.
    #[error("{0} MiB of output were not read in time, so the connection to it was given up")]
    SlowReader(u64),
    /// A system call on a running process.
    #[error("cannot {action} container `{name}`: {source}")]
    Process {
        /// The verb.
        action: &'static str,
        /// Which container.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The container's task has ended while the caller waited for it.
    #[error("container `{0}` was removed")]
    Gone(String),
}

impl Error {
    pub(crate) fn invalid(option: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { option, why: why.into() }
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// Why an image is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Not in the store.
    #[error("no such image: `{0}`")]
    NotFound(String),
    /// Not a reference.
    #[error("`{reference}` is not an image reference: {why}")]
    Invalid {
        /// What was given.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store failed.
    #[error("image `{reference}` cannot be used: {why}")]
    Unusable {
        /// Which image.
        reference: String,
        /// The store's reason.
        why: String,
    },
    /// Its programs are another processor's, and nothing emulates that.
    #[error(
        "image `{reference}` is for {}, this machine runs {here}",
        platforms.join(", ")
    )]
    OtherPlatform {
        /// Which image.
        reference: String,
        /// What it is known to be there for.
        platforms: Vec<String>,
        /// The machine's own.
        here: String,
    },
}

/// What kind of failure a start is: it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchKind {
    /// The program is not there: exit code 127.
    NotFound,
    /// The program is there and cannot be executed: exit code 126.
    NotExecutable,
    /// The configuration does not fit this image (an unknown user, say): 125.
    Invalid,
    /// The engine failed: 125.
    Engine,
}

/// Why a process could not be started: the failing step and the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub struct LaunchError {
    /// Decides the exit code.
    pub kind: LaunchKind,
    /// What happened, to what, why.
    pub message: String,
}

impl LaunchError {
    /// The exit code that users know for this failure.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self.kind {
            LaunchKind::NotFound => 127,
            LaunchKind::NotExecutable => 126,
            LaunchKind::Invalid | LaunchKind::Engine => 125,
        }
    }
}

impl From<linkspan_records::Error> for Error {
    fn from(error: linkspan_records::Error) -> Self {
        match error {
            linkspan_records::Error::Io { action, path, source } => {
                Self::File { action, path, source }
            }
            linkspan_records::Error::Content { path, why } => Self::Record { path, why },
        }
    }
}
