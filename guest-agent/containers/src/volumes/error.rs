//! What can go wrong with volumes.

use std::{io, path::PathBuf};

/// Why an action on a volume did not happen.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is none of this name.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// A name that is none.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
         absolute path"
    )]
    Name(String),
    /// A name of one character, or of more than a file name can have.
    #[error(
        "create {0}: volume name is too short or too long, names should be at least two \
         alphanumeric characters and at most 255"
    )]
    NameLength(String),
    /// A container has it.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Ids of containers, running or not.
        users: Vec<String>,
    },
    /// A volume of this name with other options.
    #[error("create {0}: a volume of this name exists with other options")]
    Conflict(String),
    /// A driver that is not there.
    #[error("volume driver `{0}` is not supported: there are no volume plugins, only `local`")]
    Driver(String),
    /// An option that the local driver does not have, or a value that it does not take.
    #[error("invalid volume option: {0}")]
    Option(String),
    /// A kind of volume that exists elsewhere.
    #[error("volume option {option} is not supported: {why}")]
    Unsupported {
        /// The option with its value.
        option: String,
        /// The reason.
        why: &'static str,
    },
    /// A path outside of what the machine has for containers.
    #[error(
        "cannot mount `{}`: it is a path of the host, which only a bind mount can have",
        .0.display()
    )]
    HostPath(PathBuf),
    /// A path of the host in a folder that this boot of the machine does not have.
    #[error(
        "cannot mount `{}`: the folder of the host that it is in is not shared with the machine \
         since its last start",
        .0.display()
    )]
    NotShared(PathBuf),
    /// A filter that is none.
    #[error("invalid filter '{0}'")]
    Filter(String),
    /// A file of ours.
    #[error("cannot {action} `{}`: {source}", path.display())]
    File {
        /// The verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The image's content could not be copied.
    #[error(transparent)]
    Copy(#[from] linkspan_files::Error),
    /// A file of a version or shape that this program does not know.
    #[error("`{}` cannot be read: {why}", path.display())]
    Record {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl VolumeError {
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl From<linkspan_records::Error> for VolumeError {
    fn from(error: linkspan_records::Error) -> Self {
        match error {
            linkspan_records::Error::Io { action, path, source } => {
                Self::File { action, path, source }
            }
            linkspan_records::Error::Content { path, why } => Self::Record { path, why },
        }
    }
}
