//! Files of this host as the contract wants them: the context of a build ([`Context`]), files and
//! folders as archives ([`pack`], [`unpack`]). For the command line and the desktop app.
//!
//! It does not: talk to anybody, know a daemon, or choose a place. All of it is synchronous.

mod archive;
mod context;

use std::{
    io,
    path::{Path, PathBuf},
};

use linkspan_proto::error::{ErrorCode, Failure};

pub use archive::{pack, unpack};
pub use context::{Context, Recipe};

/// What is wrong with a file of this host, or with what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It is not there, or is not the user's to read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The context of a build is a folder.
    #[error("cannot use `{}` as a context: it is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The machine gets nothing that it was not told of.
    #[error("the machine asked for `{0}`, which it was not told of")]
    NotTold(String),
    /// Somebody else changed it meanwhile.
    #[error("`{0}` became shorter while it was read")]
    Shorter(String),
    /// A file or folder cannot be put into an archive.
    #[error("cannot copy `{}`: {source}", path.display())]
    Pack {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An archive cannot be unpacked here.
    #[error("cannot copy to `{}`: {source}", folder.display())]
    Unpack {
        /// Into which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Whoever took the bytes takes no more.
    #[error("cannot pass a file on: {0}")]
    Output(io::Error),
}

impl FilesError {
    fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

impl From<FilesError> for Failure {
    fn from(error: FilesError) -> Self {
        Self::new(ErrorCode::InvalidArgument, error.to_string())
    }
}
