//! The sockets between the daemon and its clients: a unix socket, or a named pipe on Windows.
//! Only the user who runs the daemon can connect.
//!
//! A named pipe has no half-close: on Windows [`Stream`]'s `shutdown` flushes, and the peer sees
//! the end of data when the stream is dropped.

use std::{io, path::PathBuf};

mod hang_up;
pub use hang_up::HangUp;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub use unix::{Listener, Stream, connect};

#[cfg(any(windows, test))]
mod pipe_name;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::{Listener, Stream, connect};

/// Why [`connect`] did not connect.
#[derive(Debug)]
pub enum ConnectError {
    /// Nobody listens: there is no socket, or a dead process left it behind. Starting the daemon
    /// helps.
    NobodyListens {
        /// The socket.
        path: PathBuf,
    },
    /// Anything else: starting a daemon does not help.
    Io {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NobodyListens { path } => write!(f, "nobody listens on `{}`", path.display()),
            Self::Io { path, source } => {
                write!(f, "cannot connect to `{}`: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for ConnectError {}

impl ConnectError {
    /// Whether starting the daemon helps.
    #[must_use]
    pub fn nobody_listens(&self) -> bool {
        matches!(self, Self::NobodyListens { .. })
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::NobodyListens { .. } => io::ErrorKind::ConnectionRefused,
            ConnectError::Io { source, .. } => source.kind(),
        };
        io::Error::new(kind, error)
    }
}
