//! What can go wrong with a build beyond its Dockerfile.

use std::io;
use std::path::{Path, PathBuf};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step, or the whole, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] linkspan_images::Error),
    /// A tree of files.
    #[error(transparent)]
    Files(#[from] linkspan_files::Error),
    /// A file of ours.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// What COPY, ADD or a mount names is not there.
    #[error("`{path}`: not found in {place}{}", if *ignored { ", because .dockerignore leaves it out" } else { "" })]
    NotThere {
        /// As the plan has it.
        path: String,
        /// `the build context`, `stage build`, an image.
        place: String,
        /// The .dockerignore leaves it out.
        ignored: bool,
    },
    /// COPY cannot put something there.
    #[error("cannot copy to `{path}`: {why}")]
    Destination {
        /// In the image.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A name of --chown, USER or a mount.
    #[error("cannot find the {what} `{name}`: {file} of the image has no such name")]
    NoSuchName {
        /// `user` or `group`.
        what: &'static str,
        /// As it is written.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A command ended badly.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit {
        /// Its words.
        command: String,
        /// As a shell reports it.
        code: i32,
    },
    /// A command could not be started, or was ended by the machine.
    #[error("cannot run {command:?}: {why}")]
    Command {
        /// Its words.
        command: String,
        /// Why not.
        why: String,
    },
    /// A download.
    #[error("cannot fetch `{url}`: {why}")]
    Download {
        /// The URL.
        url: String,
        /// Why not.
        why: String,
    },
    /// A download is not what it should be.
    #[error("`{url}` has the digest {found}, and --checksum says {wanted}")]
    Checksum {
        /// The URL.
        url: String,
        /// What it has.
        found: String,
        /// What was wanted.
        wanted: String,
    },
    /// Well-formed, but not something that can be done here.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The thing.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// A secret that a mount requires.
    #[error("secret `{id}` is required and was not given")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// An SSH agent that a mount requires.
    #[error("SSH agent `{id}` is required and was not given")]
    NoSsh {
        /// Its id.
        id: String,
    },
    /// There can be no socket for an SSH agent.
    #[error("cannot mount the SSH agent `{id}`: {why}")]
    Ssh {
        /// Its id.
        id: String,
        /// Why not.
        why: String,
    },
    /// A file changed while the client sent it.
    #[error("`{path}` of the build context changed while it was read")]
    Changed {
        /// In the context.
        path: String,
    },
    /// What a client says of a context makes no sense.
    #[error("the build context is not valid: `{path}` {why}")]
    Context {
        /// In the context.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// The cache's file.
    #[error("`{}` is not a record of builds: {why}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A filter of `prune`.
    #[error("invalid filter `{filter}`: {why}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong.
        why: String,
    },
    /// The client has gone.
    #[error("the build was cancelled")]
    Cancelled,
}

impl Error {
    /// A file operation that failed.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_owned(), source: source.into() }
    }
}

impl From<linkspan_records::Error> for Error {
    fn from(error: linkspan_records::Error) -> Self {
        match error {
            linkspan_records::Error::Io { action, path, source } => {
                Self::Io { action, path, source }
            }
            linkspan_records::Error::Content { path, why } => Self::Record { path, why },
        }
    }
}
