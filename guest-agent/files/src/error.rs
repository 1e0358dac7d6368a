//! What can go wrong with trees of files.

use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tree could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// A verb: `open`, `copy`, ...
        action: &'static str,
        /// The path in the tree.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody takes the archive any more, or it cannot be written.
    #[error("cannot write the archive: {0}")]
    Write(#[source] io::Error),
    /// More symbolic links than a path may have.
    #[error("cannot follow `{}`: too many levels of symbolic links", path.display())]
    Loop {
        /// The path in the tree.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Io { action, path: path.as_ref().to_owned(), source: errno.into() }
    }
}
