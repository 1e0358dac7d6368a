//! Hybrid vsock: the guest's ports behind one unix socket.
//!
//! Host to guest: connect, send `CONNECT <port>\n`, read `OK <n>\n`, then the guest's bytes.
//! Guest to host: the device connects to `<path>_<port>`.
//!
//! Source of the protocol: Firecracker's `docs/vsock.md`.

use std::{
    io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::{Accept, BoxStream, Dial, with_subject};

/// `OK 4294967295\n`: the longest answer there can be.
const LONGEST_ANSWER: usize = 14;
/// `OK 0\n`: the shortest. So many bytes can be read at once without touching the guest's.
const SHORTEST_ANSWER: usize = 5;
/// How long a guest may take to accept. Its kernel answers by itself, so this is long.
const HANDSHAKE: Duration = Duration::from_secs(10);

pub(crate) struct Dialer {
    path: PathBuf,
}

impl Dialer {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[async_trait::async_trait]
impl Dial for Dialer {
    async fn dial(&self, port: u32) -> io::Result<BoxStream> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|error| with_subject(&error, self.path.display()))?;
        let handshake = handshake(stream, port);
        let stream = tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("guest port {port} did not answer within {} s", HANDSHAKE.as_secs()),
            )
        })??;
        Ok(Box::pin(stream))
    }
}

/// Asks for `port`; the stream that comes back is at the guest's first byte.
async fn handshake(mut stream: UnixStream, port: u32) -> io::Result<UnixStream> {
    let refused = |_| {
        io::Error::new(
            io::ErrorKind::ConnectionRefused,
            format!("nothing listens on guest port {port}"),
        )
    };
    let request = format!("CONNECT {port}\n");
    stream.write_all(request.as_bytes()).await.map_err(refused)?;

    let mut answer = [0; LONGEST_ANSWER];
    let mut length = 0;
    loop {
        // Never read beyond the line: the next byte is the guest's.
        let want = if length < SHORTEST_ANSWER { SHORTEST_ANSWER } else { length + 1 };
        // Reset and end of file both mean that the guest did not accept.
        match stream.read(&mut answer[length..want]).await.map_err(refused)? {
            0 => return Err(refused(io::ErrorKind::UnexpectedEof.into())),
            count => length += count,
        }
        match parse_answer(&answer[..length]) {
            Answer::Accepted => return Ok(stream),
            Answer::Incomplete => {}
            Answer::Foreign => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the vsock device answered `{}` instead of `OK <port>`",
                        answer[..length].escape_ascii()
                    ),
                ));
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The whole line, and it says yes.
    Accepted,
    /// The beginning of such a line.
    Incomplete,
    /// Cannot become such a line.
    Foreign,
}

/// Judges the beginning of an answer.
fn parse_answer(bytes: &[u8]) -> Answer {
    const START: &[u8] = b"OK ";
    if bytes.len() <= START.len() {
        return if START.starts_with(bytes) { Answer::Incomplete } else { Answer::Foreign };
    }
    let Some(number) = bytes.strip_prefix(START) else { return Answer::Foreign };
    let (number, whole) = match number.strip_suffix(b"\n") {
        Some(number) => (number, true),
        None => (number, false),
    };
    let parsed = std::str::from_utf8(number)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<u32>().ok());
    match (parsed, whole) {
        (Some(_), true) => Answer::Accepted,
        (Some(_), false) if bytes.len() < LONGEST_ANSWER => Answer::Incomplete,
        _ => Answer::Foreign,
    }
}

/// One host port, as the guest reaches it.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    pub(crate) fn bind(socket: &Path, port: u32) -> io::Result<Self> {
        let mut path = socket.as_os_str().to_owned();
        path.push(format!("_{port}"));
        let path = PathBuf::from(path);
        let subject = |error: io::Error| with_subject(&error, path.display());
        remove_stale(&path).map_err(subject)?;
        let listener = UnixListener::bind(&path).map_err(subject)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(subject)?;
        Ok(Self { listener, path })
    }
}

/// Removes a socket that nobody listens on any more; leaves everything else alone, so that the
/// `bind` that follows fails with its own reason.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Best effort: a socket that stays behind is removed by the next `bind`.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[async_trait::async_trait]
impl Accept for Listener {
    async fn accept(&mut self) -> io::Result<BoxStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Box::pin(stream))
    }
}

#[cfg(test)]
mod tests;
