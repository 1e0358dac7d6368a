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
    /// Not removed, by Docker's rules and in its words.
    #[error("conflict: {}", .conflict.told(image))]
    Conflict {
        /// As the caller gave it.
        image: String,
        /// What keeps it.
        conflict: Conflict,
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
    /// A filter that is not one.
    #[error("cannot filter by `{filter}`: {why}")]
    InvalidFilter {
        /// As the caller gave it.
        filter: String,
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
    /// The archive has no image for this machine, or for the one that was asked for.
    #[error("{what} has no image for {wanted}; it has {}", available.join(", "))]
    NoPlatform {
        /// Which image or archive.
        what: String,
        /// The platform.
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

/// What keeps an image from being removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// It is the last name of an image that a container uses. Forcing helps.
    LastName {
        /// The container's name.
        container: String,
        /// The image.
        id: ImageId,
    },
    /// A container of it runs. Forcing does not help.
    Running {
        /// The container's name.
        container: String,
        /// The image.
        id: ImageId,
    },
    /// A container of it does not run. Forcing helps.
    Stopped {
        /// The container's name.
        container: String,
        /// The image.
        id: ImageId,
    },
    /// It was asked for by id and has several names. Forcing removes them all.
    SeveralNames {
        /// The image.
        id: ImageId,
    },
    /// Images were committed on it. Forcing does not help.
    Children {
        /// The image.
        id: ImageId,
    },
}

impl Conflict {
    /// Whether forcing helps.
    #[must_use]
    pub fn yields_to_force(&self) -> bool {
        !matches!(self, Self::Running { .. } | Self::Children { .. })
    }

    /// `daemon/images/image_delete.go`: scripts look for these words. A container goes by its name
    /// here, which is what its user gave.
    fn told(&self, image: &str) -> String {
        let (id, why) = match self {
            Self::LastName { container, id } => {
                return format!(
                    "unable to remove repository reference \"{image}\" (must force) - container \
                     {container} is using its referenced image {}",
                    id.short()
                );
            }
            Self::Running { container, id } => {
                (id, format!("image is being used by running container {container}"))
            }
            Self::Stopped { container, id } => {
                (id, format!("image is being used by stopped container {container}"))
            }
            Self::SeveralNames { id } => {
                (id, "image is referenced in multiple repositories".to_owned())
            }
            Self::Children { id } => (id, "image has dependent child images".to_owned()),
        };
        let force = if self.yields_to_force() { "must be forced" } else { "cannot be forced" };
        format!("unable to delete {} ({force}) - {why}", id.short())
    }
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
    fn conflicts_are_told_in_dockers_words() {
        let id = ImageId(crate::digest::Digest::of(b""));
        let container = || "web".to_owned();
        for (conflict, expected) in [
            (
                Conflict::LastName { container: container(), id },
                "conflict: unable to remove repository reference \"busybox\" (must force) - \
                 container web is using its referenced image e3b0c44298fc",
            ),
            (
                Conflict::Running { container: container(), id },
                "conflict: unable to delete e3b0c44298fc (cannot be forced) - image is being used \
                 by running container web",
            ),
            (
                Conflict::Stopped { container: container(), id },
                "conflict: unable to delete e3b0c44298fc (must be forced) - image is being used by \
                 stopped container web",
            ),
            (
                Conflict::SeveralNames { id },
                "conflict: unable to delete e3b0c44298fc (must be forced) - image is referenced in \
                 multiple repositories",
            ),
            (
                Conflict::Children { id },
                "conflict: unable to delete e3b0c44298fc (cannot be forced) - image has dependent \
                 child images",
            ),
        ] {
            let error = Error::Conflict { image: "busybox".to_owned(), conflict };
            assert_eq!(error.to_string(), expected);
        }
    }
}
