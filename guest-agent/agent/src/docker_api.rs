//! Docker's API in containers: a socket of the VM, and the way of each program that connects to it
//! to the host.
//!
//! Owns: the socket, which the first container that mounts it has made, and the connections to it.
//! It does not: look at what they carry. The API is the daemon's, which comes for each connection
//! with a byte stream of its own.

use std::{
    fmt,
    fs::{self, Permissions},
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use linkspan_proto::v1::DockerApiConnection;
use parking_lot::Mutex;
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use crate::{accept::Retry, streams::Streams};

/// As Docker Desktop's: root's, and its group's.
const MODE: u32 = 0o660;
/// How long a program waits for a daemon that is just being started again.
const HOST_WITHIN: Duration = Duration::from_secs(10);
/// Connections at a time; more wait to be accepted.
const MOST: usize = 512;

type Host = mpsc::UnboundedSender<DockerApiConnection>;

/// The socket, and the host that serves it. Cheap to clone.
#[derive(Clone)]
pub struct DockerApi(Arc<Shared>);

struct Shared {
    socket: PathBuf,
    streams: Streams,
    runtime: Handle,
    listens: Mutex<bool>,
    host: watch::Sender<Option<Host>>,
}

impl fmt::Debug for DockerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerApi").field("socket", &self.0.socket).finish_non_exhaustive()
    }
}

impl DockerApi {
    /// Nothing is made yet. Inside a runtime.
    #[must_use]
    pub fn new(socket: &Path, streams: Streams) -> Self {
        Self(Arc::new(Shared {
            socket: socket.into(),
            streams,
            runtime: Handle::current(),
            listens: Mutex::default(),
            host: watch::Sender::default(),
        }))
    }

    /// The socket, which listens from the first call on. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn provide(&self) -> io::Result<PathBuf> {
        let Shared { socket, runtime, listens, .. } = self.0.as_ref();
        let mut listens = listens.lock();
        if !*listens {
            if let Some(folder) = socket.parent() {
                fs::create_dir_all(folder)?;
            }
            // Of an attempt that failed half way.
            match fs::remove_file(socket) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = StdListener::bind(socket)?;
            fs::set_permissions(socket, Permissions::from_mode(MODE))?;
            listener.set_nonblocking(true)?;
            let _in = runtime.enter();
            runtime.spawn(self.clone().accept(UnixListener::from_std(listener)?));
            *listens = true;
        }
        Ok(socket.clone())
    }

    /// Serves a host: tells it of each connection. The one before loses its call.
    #[must_use]
    pub fn serve(&self) -> mpsc::UnboundedReceiver<DockerApiConnection> {
        let (host, connections) = mpsc::unbounded_channel();
        self.0.host.send_replace(Some(host));
        connections
    }

    async fn accept(self, listener: UnixListener) {
        let turns = Arc::new(Semaphore::new(MOST));
        let mut retry = Retry::new("Docker's API in containers");
        while let Ok(turn) = turns.clone().acquire_owned().await {
            let accepted = listener.accept().await;
            let Some((client, _)) = retry.after(accepted).await else { continue };
            let api = self.clone();
            tokio::spawn(async move {
                if let Err(error) = api.carry(client).await {
                    tracing::debug!(%error, "a connection to Docker's API broke off");
                }
                drop(turn);
            });
        }
    }

    async fn carry(&self, mut client: UnixStream) -> io::Result<()> {
        let stream_id = uuid::Uuid::new_v4().to_string();
        timeout(HOST_WITHIN, self.tell(&stream_id)).await?;
        let mut host = self.0.streams.take_duplex(&stream_id).await.map_err(io::Error::other)?;
        tokio::io::copy_bidirectional(&mut client, &mut host).await.map(drop)
    }

    /// Tells the host, or the next one when it has gone.
    async fn tell(&self, stream_id: &str) {
        let mut hosts = self.0.host.subscribe();
        loop {
            let host = hosts.borrow_and_update().clone();
            let connection = DockerApiConnection { stream_id: stream_id.into() };
            if host.is_some_and(|host| host.send(connection).is_ok()) {
                return;
            }
            // The sender is ours, so it is there.
            let _ = hosts.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, os::unix::fs::FileTypeExt as _};

    use linkspan_proto::preface::{Kind, Preface};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        streams: Streams,
        api: DockerApi,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let streams = Streams::default();
        let api = DockerApi::new(&folder.path().join("run/docker.sock"), streams.clone());
        Place { folder, streams, api }
    }

    impl Place {
        /// What a host does for a connection that it is told of.
        async fn fetch(&self, connection: DockerApiConnection) -> DuplexStream {
            let (mut near, far) = tokio::io::duplex(1024);
            let streams = self.streams.clone();
            tokio::spawn(async move { streams.accept(far, |_| None::<IpAddr>).await });
            let id = uuid::Uuid::parse_str(&connection.stream_id).unwrap().into_bytes();
            let preface = Preface { kind: Kind::Duplex, id };
            near.write_all(&preface.encode()).await.unwrap();
            near
        }
    }

    #[tokio::test]
    async fn the_socket_is_made_when_it_is_asked_for_and_once() {
        let place = place();
        assert!(!place.folder.path().join("run").exists());
        let socket = place.api.provide().unwrap();
        assert_eq!(place.api.provide().unwrap(), socket);
        let made = fs::metadata(&socket).unwrap();
        assert!(made.file_type().is_socket());
        assert_eq!(made.permissions().mode() & 0o7777, MODE);
    }

    #[tokio::test]
    async fn bytes_and_both_ends_pass_through() {
        let place = place();
        let mut connections = place.api.serve();
        let mut client = UnixStream::connect(place.api.provide().unwrap()).await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut host = place.fetch(connections.recv().await.unwrap()).await;
        let mut heard = String::new();
        host.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");
        host.write_all(b"answer").await.unwrap();
        drop(host);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn a_program_waits_for_the_host_that_comes_after_one_that_has_gone() {
        let place = place();
        drop(place.api.serve());
        let mut client = UnixStream::connect(place.api.provide().unwrap()).await.unwrap();
        let mut first = place.api.serve();
        let mut second = place.api.serve();
        // Told to either, which of the two depends on when it was accepted.
        let connection = tokio::select! {
            Some(connection) = first.recv() => connection,
            Some(connection) = second.recv() => connection,
        };
        let mut host = place.fetch(connection).await;
        host.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
        assert!(first.recv().await.is_none(), "the first host has lost its call");
    }
}
