//! What can go wrong with files, each with its path.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::LockHolder;

/// Why a file or folder of ours could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// An I/O error with its subject.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file was written by a newer Linkspan.
    #[error(
        "cannot read {what} `{}`: it has format {found}, this version knows up to {known}",
        path.display()
    )]
    NewerFormat {
        /// `the settings of a machine`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// The file is not what it should be.
    #[error("cannot read {what} `{}`: {why}", path.display())]
    Malformed {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The parser's words.
        why: String,
    },
    /// Another live process holds the lock.
    #[error("{what} is in use by {}: `{}` is locked", describe(holder.as_ref()), path.display())]
    Locked {
        /// What the lock protects.
        what: String,
        /// The lock file.
        path: PathBuf,
        /// Who said that they hold it.
        holder: Option<LockHolder>,
    },
    /// A folder that must be ours alone is not.
    #[error("cannot use the folder `{}`: {why}", path.display())]
    UnsafeFolder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The host tells no place for a user's files.
    #[error("cannot find a folder for the state: this user has no home folder; set {variable}")]
    NoHome {
        /// The variable that decides.
        variable: &'static str,
    },
    /// A socket's path would not fit into an address.
    #[error(
        "the socket path `{}` is {length} bytes long, the system allows {limit}; \
         set LINKSPAN_HOME or XDG_RUNTIME_DIR to a shorter folder",
        path.display()
    )]
    SocketPathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// The longest that fits.
        limit: usize,
    },
    /// Something with this name is already there.
    #[error("{what} `{}` exists already", path.display())]
    Exists {
        /// What.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
}

impl StateError {
    /// For `map_err`: an I/O error gets its verb and path.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the cause is that the host's disk (or the user's quota) is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_no_space(source))
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if is_no_space(source) => {
                "free some space on this disk and try again".into()
            }
            Self::Io { .. } => return None,
            Self::NewerFormat { .. } => "update Linkspan to the version that wrote it".into(),
            Self::Malformed { path, .. } => {
                format!("repair `{}`, or remove it to start afresh", path.display())
            }
            Self::Locked { holder: Some(holder), .. } => {
                format!("end process {} first, or use another LINKSPAN_HOME", holder.pid)
            }
            Self::Locked { holder: None, .. } => {
                "end the other daemon first, or use another LINKSPAN_HOME".into()
            }
            Self::UnsafeFolder { path, .. } => {
                format!("make `{}` yours alone (chmod 700), or remove it", path.display())
            }
            Self::NoHome { variable } => format!("set {variable} to a folder of yours"),
            Self::SocketPathTooLong { .. } => {
                "set LINKSPAN_HOME or XDG_RUNTIME_DIR to a shorter folder".into()
            }
            Self::Exists { .. } => "choose another name".into(),
        })
    }
}

/// ENOSPC, EDQUOT and their relatives elsewhere.
fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn describe(holder: Option<&LockHolder>) -> String {
    holder.map_or_else(
        || "another process".into(),
        |holder| format!("process {} ({})", holder.pid, holder.program),
    )
}
