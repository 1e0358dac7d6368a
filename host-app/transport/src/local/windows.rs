//! Named pipes. The default security descriptor gives writing to the creator, administrators and
//! the system only, and remote clients are rejected. Other users of this computer can open a pipe
//! for reading, and say nothing: they see the greeting of a protocol that waits for its first word.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions},
};

use super::{ConnectError, pipe_name::pipe_name};
use crate::with_subject;

/// `ERROR_PIPE_BUSY`: all instances are taken at this moment.
const PIPE_BUSY: i32 = 231;
/// `ERROR_ACCESS_DENIED`: for a first instance, that the pipe already exists.
const ACCESS_DENIED: i32 = 5;
/// `ERROR_NO_DATA`: the client has gone before it was accepted.
const NO_DATA: i32 = 232;
/// How long [`connect`] waits for a free instance.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A connection between the daemon and a client.
#[derive(Debug)]
pub struct Stream(End);

#[derive(Debug)]
enum End {
    Server(NamedPipeServer),
    Client(NamedPipeClient),
}

/// The daemon's end.
#[derive(Debug)]
pub struct Listener {
    name: String,
    /// The instance that the next client connects to. Always there, so that a client never finds
    /// no pipe while the daemon lives.
    next: NamedPipeServer,
}

/// Connects to the daemon behind `path`.
///
/// # Errors
/// [`ConnectError::NobodyListens`] when starting the daemon may help.
pub async fn connect(path: &Path) -> Result<Stream, ConnectError> {
    let name = pipe_name(path);
    let limit = Instant::now() + BUSY_LIMIT;
    loop {
        match ClientOptions::new().open(&name) {
            Ok(client) => return Ok(Stream(End::Client(client))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ConnectError::NobodyListens { path: path.to_owned() });
            }
            Err(error) if error.raw_os_error() == Some(PIPE_BUSY) && Instant::now() < limit => {}
            Err(source) => return Err(ConnectError::Io { path: path.to_owned(), source }),
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
}

impl Listener {
    /// Listens on the pipe that belongs to `path`.
    ///
    /// # Errors
    /// `AddrInUse` when another process listens there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let name = pipe_name(path);
        let next = ServerOptions::new()
            .first_pipe_instance(true)
            .reject_remote_clients(true)
            .create(&name)
            .map_err(|error| match error.raw_os_error() {
                Some(ACCESS_DENIED) => io::Error::new(
                    io::ErrorKind::AddrInUse,
                    format!("another process listens on `{name}`"),
                ),
                _ => with_subject(&error, &name),
            })?;
        Ok(Self { name, next })
    }

    /// The next client.
    ///
    /// # Errors
    /// When the pipe broke.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            let connected = self.next.connect().await;
            let next = ServerOptions::new()
                .reject_remote_clients(true)
                .create(&self.name)
                .map_err(|error| with_subject(&error, &self.name))?;
            let used = std::mem::replace(&mut self.next, next);
            match connected {
                Ok(()) => return Ok(Stream(End::Server(used))),
                Err(error) if error.raw_os_error() == Some(NO_DATA) => {}
                Err(error) => return Err(with_subject(&error, &self.name)),
            }
        }
    }
}

macro_rules! delegate {
    ($self:ident, $end:ident => $call:expr) => {
        match &mut $self.0 {
            End::Server($end) => $call,
            End::Client($end) => $call,
        }
    };
}

impl Stream {
    /// Tells later on whether the peer has gone.
    ///
    /// # Errors
    /// None here; on Unix there may be too many open files.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Unix")]
    pub fn hang_up(&self) -> io::Result<super::HangUp> {
        Ok(super::HangUp::unknown())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, end => Pin::new(end).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, end => Pin::new(end).poll_write(context, buffer))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, end => Pin::new(end).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, end => Pin::new(end).poll_shutdown(context))
    }
}
