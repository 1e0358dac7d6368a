//! What can go wrong with images. Every error says which image, file or archive it is about.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::digest::{Digest, ImageId};
use crate::reference::ReferenceError;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. Nothing of a failed load, import or tag is visible afterwards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image has this name, digest or id.
    #[error("no such image: `{name}`")]
    NotFound {
        /// As the caller gave it.
        name: String,
    },
    /// An id prefix that several images share.
    #[error("`{prefix}` is ambiguous: it begins {} image ids", candidates.len())]
    Ambiguous {
        /// As the caller gave it.
        prefix: String,
        /// The images that match.
        candidates: Vec<ImageId>,
    },
    /// Not removed, because containers need it.
    #[error(
        "cannot remove image `{image}`: container `{}` uses it{}",
        containers.join("`, `"),
        if *must_stop { " and is running" } else { "" }
    )]
    InUse {
        /// As the caller gave it.
        image: String,
        /// Names of the containers.
        containers: Vec<String>,
        /// They run: forcing does not help. Otherwise it does.
        must_stop: bool,
    },
    /// Not removed by id, because several references name it. Forcing removes them all.
    #[error("cannot remove image `{image}`: it has several references: {}", references.join(", "))]
    SeveralReferences {
        /// As the caller gave it.
        image: String,
        /// The references, in familiar form.
        references: Vec<String>,
    },
    /// Not an image reference.
    #[error(transparent)]
    InvalidReference(#[from] ReferenceError),
    /// A line of an import's changes that is not an instruction.
    #[error("cannot apply change `{line}`: {why}")]
    InvalidChange {
        /// The line.
        line: String,
        /// What is wrong with it.
        why: String,
    },
    /// An archive, or the store, is not what it claims to be.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// Such as "layer sha256:...".
        what: String,
        /// What does not fit.
        why: String,
    },
    /// Well-formed, but not something that this store handles.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The thing.
        what: String,
        /// Why not.
        why: String,
    },
    /// The archive has no image for this machine.
    #[error("{what} has no image for {wanted}; it has {}", available.join(", "))]
    NoPlatform {
        /// Which image or archive.
        what: String,
        /// This machine's platform.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// Larger than a limit of [`crate::Limits`] allows.
    #[error("{what} exceeds the limit of {limit} {unit}")]
    TooLarge {
        /// Such as "layer sha256:...".
        what: String,
        /// The limit.
        limit: u64,
        /// What is counted: bytes, entries, levels.
        unit: &'static str,
    },
    /// The data disk is full.
    #[error("cannot write `{}`: no space left on the data disk", path.display())]
    NoSpace {
        /// What was being written.
        path: PathBuf,
    },
    /// The caller's stream failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The one who takes an archive has failed, or does not take any more.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// A file operation in the store failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// A verb: `open`, `write`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A layer of which the store has the files and not the archive.
    #[error(
        "layer {layer} cannot be given back: it came before archives were kept; pull or load its \
         image again"
    )]
    NotGivenBack {
        /// Its diff id.
        layer: Digest,
    },
    /// Another store has this folder open.
    #[error("`{}` is in use by another process", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), why: why.into() }
    }

    /// An I/O error with its file; a full disk becomes [`Error::NoSpace`].
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let errno = source.raw_os_error();
        if errno == Some(Errno::NOSPC.raw_os_error()) || errno == Some(Errno::DQUOT.raw_os_error())
        {
            return Self::NoSpace { path: path.to_owned() };
        }
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Adds the file to an I/O error.
pub(crate) trait Context<T> {
    /// `action` is a verb.
    fn context(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(action, path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_kind() {
        let full = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
        assert!(matches!(Error::io("write", Path::new("/x"), full), Error::NoSpace { .. }));
        let denied = io::Error::from_raw_os_error(Errno::ACCESS.raw_os_error());
        assert_eq!(Error::io("write", Path::new("/x"), denied).to_string(), "cannot write `/x`");
    }

    #[test]
    fn messages_name_their_subject() {
        let error = Error::InUse {
            image: "busybox".into(),
            containers: vec!["a".into(), "b".into()],
            must_stop: true,
        };
        assert_eq!(
            error.to_string(),
            "cannot remove image `busybox`: container `a`, `b` uses it and is running"
        );
    }
}
