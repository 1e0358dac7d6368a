//! A guest socket without a VM: pipes between tasks of this process, for tests.
//!
//! The test plays the guest: it listens with [`Hub::listen_guest`] and dials with
//! [`Hub::dial_host`], while the code under test uses `GuestSocket::Memory(hub)` as any other.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{io::DuplexStream, sync::mpsc};

use crate::{Accept, BoxStream, Dial};

/// Bytes that one direction of a pipe holds before the writer waits.
const PIPE: usize = 64 * 1024;
/// Connections that wait for an `accept`; more are refused, as by a kernel.
const BACKLOG: usize = 128;

/// The ports of one guest that is not there. Clones are the same hub.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    ports: Mutex<HashMap<(Side, u32), mpsc::Sender<DuplexStream>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Guest,
    Host,
}

impl PartialEq for Hub {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Hub {}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// A guest with no open port.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner { id, ports: Mutex::default() }))
    }

    /// Listens as the guest: what `dialer(..).dial(port)` connects to.
    ///
    /// # Errors
    /// `AddrInUse`.
    pub fn listen_guest(&self, port: u32) -> io::Result<Listener> {
        self.listen(Side::Guest, port)
    }

    /// Listens as the host: the same as `listen(&GuestSocket::Memory(hub), port)`.
    ///
    /// # Errors
    /// `AddrInUse`.
    pub fn listen_host(&self, port: u32) -> io::Result<Listener> {
        self.listen(Side::Host, port)
    }

    /// Connects as the guest to a port of the host (the boot beacon, say).
    ///
    /// # Errors
    /// `ConnectionRefused`.
    pub fn dial_host(&self, port: u32) -> io::Result<BoxStream> {
        self.connect(Side::Host, port)
    }

    /// Connects as the host to a port of the guest, without waiting.
    ///
    /// # Errors
    /// `ConnectionRefused`.
    pub fn dial_guest(&self, port: u32) -> io::Result<BoxStream> {
        self.connect(Side::Guest, port)
    }

    fn listen(&self, side: Side, port: u32) -> io::Result<Listener> {
        let (sender, queue) = mpsc::channel(BACKLOG);
        let mut ports = self.0.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.get(&(side, port)).is_some_and(|sender| !sender.is_closed()) {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("in-memory port {port} is already listened on"),
            ));
        }
        ports.insert((side, port), sender);
        Ok(Listener(queue))
    }

    fn connect(&self, side: Side, port: u32) -> io::Result<BoxStream> {
        let ports = self.0.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = || {
            io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("nothing listens on in-memory port {port}"),
            )
        };
        let listener = ports.get(&(side, port)).ok_or_else(refused)?;
        let (ours, theirs) = tokio::io::duplex(PIPE);
        listener.try_send(theirs).map_err(|_| refused())?;
        Ok(Box::pin(ours))
    }
}

#[async_trait::async_trait]
impl Dial for Hub {
    async fn dial(&self, port: u32) -> io::Result<BoxStream> {
        self.dial_guest(port)
    }
}

/// One open port of a [`Hub`]. Dropping it closes the port.
#[derive(Debug)]
pub struct Listener(mpsc::Receiver<DuplexStream>);

#[async_trait::async_trait]
impl Accept for Listener {
    async fn accept(&mut self) -> io::Result<BoxStream> {
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the in-memory hub is gone");
        Ok(Box::pin(self.0.recv().await.ok_or_else(gone)?))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{GuestSocket, dialer, listen};

    #[tokio::test]
    async fn both_sides_reach_each_other() {
        let hub = Hub::new();
        let socket = GuestSocket::Memory(hub.clone());
        let mut guest = hub.listen_guest(1024).expect("free");
        let mut near = dialer(&socket).expect("supported").dial(1024).await.expect("listened on");
        let mut far = guest.accept().await.expect("connected");
        near.write_all(b"ping").await.expect("write");
        near.shutdown().await.expect("half-close");
        let mut text = String::new();
        far.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "ping");

        let mut host = listen(&socket, 1026).expect("free");
        let mut beacon = hub.dial_host(1026).expect("listened on");
        beacon.write_all(b"x").await.expect("write");
        drop(beacon);
        let mut text = String::new();
        host.accept().await.expect("connected").read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "x");
    }

    #[tokio::test]
    async fn a_port_is_refused_before_and_after_it_is_listened_on() {
        let hub = Hub::new();
        let kind = |hub: &Hub| hub.dial_guest(1).err().map(|error| error.kind());
        assert_eq!(kind(&hub), Some(io::ErrorKind::ConnectionRefused));
        let listener = hub.listen_guest(1).expect("free");
        assert_eq!(kind(&hub), None);
        assert_eq!(
            hub.listen_guest(1).err().map(|error| error.kind()),
            Some(io::ErrorKind::AddrInUse)
        );
        drop(listener);
        assert_eq!(kind(&hub), Some(io::ErrorKind::ConnectionRefused));
        hub.listen_guest(1).expect("free again");
    }

    #[test]
    fn a_socket_is_equal_to_its_clone_only() {
        let hub = Hub::new();
        assert_eq!(GuestSocket::Memory(hub.clone()), GuestSocket::Memory(hub.clone()));
        assert_ne!(GuestSocket::Memory(hub), GuestSocket::Memory(Hub::new()));
    }
}
