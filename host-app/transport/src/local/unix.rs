//! Unix sockets, mode 0600, in a folder that only their owner can change.
//!
//! Who listens holds a lock on `<path>.lock`. So two daemons cannot take the socket from each
//! other, and a socket without a locked lock file is known to be stale.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
};

use super::{ConnectError, HangUp};
use crate::with_subject;

/// Between two attempts to accept while there is no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection between the daemon and a client.
#[derive(Debug)]
pub struct Stream(UnixStream);

/// The daemon's end. Dropping it removes the socket.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket is ours.
    _lock: File,
}

/// Connects to the daemon behind `path`.
///
/// # Errors
/// [`ConnectError::NobodyListens`] when starting the daemon may help.
pub async fn connect(path: &Path) -> Result<Stream, ConnectError> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Stream(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Err(ConnectError::NobodyListens { path: path.to_owned() })
        }
        Err(source) => Err(ConnectError::Io { path: path.to_owned(), source }),
    }
}

impl Listener {
    /// Listens on `path`, whose folder is created (0700) if need be. A stale socket is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when another process listens there; `PermissionDenied` when the folder is not
    /// ours alone.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let subject = |error: io::Error| with_subject(&error, path.display());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        prepare_folder(folder.unwrap_or(Path::new(".")))?;
        let lock = take_lock(path)?;
        // We hold the lock, so whatever is there is left over.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(subject(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(subject)?;
        // Between `bind` and here others might connect if the folder lets them in: the check of
        // the peer in `accept` covers that.
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(subject)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// The next client that belongs to our user. Others are dropped, and that is logged.
    ///
    /// # Errors
    /// When the listener broke.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        let ours = rustix::process::geteuid().as_raw();
        let mut told = false;
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if passes(&error) => {
                    // Once for each shortage: the log has more to keep than this.
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, path = %self.path.display(), "a client has to wait");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == ours => return Ok(Stream(stream)),
                Ok(peer) => {
                    tracing::warn!(uid = peer.uid(), path = %self.path.display(), "dropped a client of another user");
                }
                Err(error) => {
                    tracing::warn!(%error, path = %self.path.display(), "dropped a client whose user is unknown");
                }
            }
        }
    }
}

/// Whether a failure to accept says nothing about the listener: the client has gone, or the system
/// or this process has no room for one more connection at this moment (accept(2)).
fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing =
        [Errno::CONNABORTED, Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Best effort; the lock is released after this, so it is still our socket.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Creates the folder for its owner alone, or checks that nobody else can change it: who can
/// replace the socket can pose as the daemon.
fn prepare_folder(folder: &Path) -> io::Result<()> {
    let subject = |error: io::Error| with_subject(&error, folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(subject)?;
    let metadata = std::fs::metadata(folder).map_err(subject)?;
    let refuse = |why: String| {
        let message = format!("the folder `{}` {why}", folder.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    };
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse(format!("belongs to another user (uid {})", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse(format!("can be changed by others (mode {:o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

fn take_lock(path: &Path) -> io::Result<File> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let subject = |error: io::Error| with_subject(&error, lock_path.display());
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(subject)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another process listens on `{}`", path.display()),
        )),
        Err(TryLockError::Error(error)) => Err(subject(error)),
    }
}

impl Stream {
    /// Tells later on whether the peer has gone.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn hang_up(&self) -> io::Result<HangUp> {
        HangUp::of(&self.0)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_client_reaches_the_daemon_and_can_half_close() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("run/api.sock");
        let mut listener = Listener::bind(&path).expect("bind");
        let mode = |path: &Path| std::fs::metadata(path).expect("exists").mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("has one")), 0o700);

        let mut client = connect(&path).await.expect("listened on");
        let mut server = listener.accept().await.expect("accept");
        client.write_all(b"question").await.expect("write");
        client.shutdown().await.expect("half-close");
        let mut text = String::new();
        server.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "question");
        server.write_all(b"answer").await.expect("write");
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "answer");
    }

    #[tokio::test]
    async fn a_half_close_is_told_from_a_hang_up() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("api.sock");
        let mut listener = Listener::bind(&path).expect("bind");
        let mut client = connect(&path).await.expect("listened on");
        let mut server = listener.accept().await.expect("accept");
        let hang_up = server.hang_up().expect("a descriptor");
        assert!(!hang_up.is_now());
        client.shutdown().await.expect("half-close");
        assert_eq!(server.read(&mut [0]).await.expect("the end"), 0);
        assert!(!hang_up.is_now());
        drop(client);
        assert!(hang_up.is_now());
    }

    #[tokio::test]
    async fn nobody_listens_is_told_from_other_errors() {
        let folder = tempfile::tempdir().expect("folder");
        let missing = folder.path().join("none.sock");
        assert!(connect(&missing).await.expect_err("missing").nobody_listens());
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).expect("bind"));
        assert!(connect(&stale).await.expect_err("stale").nobody_listens());
        let under_a_file = folder.path().join("file/api.sock");
        std::fs::write(folder.path().join("file"), "").expect("write");
        let error = connect(&under_a_file).await.expect_err("not a folder");
        assert!(!error.nobody_listens(), "{error}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
        let first = Listener::bind(&path).expect("the stale one is replaced");
        let second = Listener::bind(&path).expect_err("the live one is not");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        connect(&path).await.expect("the first still listens");
        drop(first);
        assert!(!path.exists());
        Listener::bind(&path).expect("free again");
    }

    #[test]
    fn a_folder_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("chmod");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _guard = runtime.as_ref().expect("runtime").enter();
        let error = Listener::bind(&folder.path().join("api.sock")).expect_err("open to all");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
