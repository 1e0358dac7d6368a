//! The kernel's AF_VSOCK, as vhost-vsock gives it to a QEMU guest.
//!
//! A listening port belongs to the whole host, not to one VM, and two machines of one daemon may
//! boot at once. So this process has one kernel listener for each port, shared by all who
//! [`listen`] there, and hands each connection to the one who waits for that guest's context id.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use tokio::sync::mpsc;
use tokio_vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener, VsockStream};

use crate::{Accept, BoxStream, Dial, with_subject};

/// Connections of one guest that wait for an `accept`; more are dropped.
const BACKLOG: usize = 128;

pub(crate) struct Dialer {
    cid: u32,
}

impl Dialer {
    pub(crate) fn new(cid: u32) -> Self {
        Self { cid }
    }
}

#[async_trait::async_trait]
impl Dial for Dialer {
    async fn dial(&self, port: u32) -> io::Result<BoxStream> {
        match VsockStream::connect(VsockAddr::new(self.cid, port)).await {
            Ok(stream) => Ok(Box::pin(stream)),
            Err(error) => Err(explain(&error, self.cid, port)),
        }
    }
}

/// A guest that refuses answers with a reset, which the kernel reports as ECONNRESET; without the
/// guest's driver there is ENODEV or EHOSTUNREACH.
fn explain(error: &io::Error, cid: u32, port: u32) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionReset => io::ErrorKind::ConnectionRefused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            io::ErrorKind::ConnectionRefused
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            io::ErrorKind::NotFound
        }
        kind => kind,
    };
    io::Error::new(kind, format!("vsock {cid}:{port}: {error}"))
}

/// Who waits for which guest on one port.
type Waiting = Mutex<HashMap<u32, mpsc::Sender<VsockStream>>>;

/// The kernel listener of one port. Ends with its last [`Listener`].
struct Shared {
    waiting: Arc<Waiting>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

static PORTS: LazyLock<Mutex<HashMap<u32, Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// One host port, for the connections of one guest.
pub(crate) struct Listener {
    cid: u32,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<VsockStream>,
}

pub(crate) fn listen(cid: u32, port: u32) -> io::Result<Listener> {
    let shared = shared_listener(port)?;
    let (sender, queue) = mpsc::channel(BACKLOG);
    let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.contains_key(&cid) {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("vsock port {port} is already listened on for guest {cid}"),
        ));
    }
    waiting.insert(cid, sender);
    drop(waiting);
    Ok(Listener { cid, shared, queue })
}

fn shared_listener(port: u32) -> io::Result<Arc<Shared>> {
    let mut ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = ports.get(&port).and_then(Weak::upgrade)
        && !shared.task.is_finished()
    {
        return Ok(shared);
    }
    let listener = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port))
        .map_err(|error| with_subject(&error, format_args!("vsock port {port}")))?;
    let waiting = Arc::new(Waiting::default());
    let task = tokio::spawn(accept_all(listener, waiting.clone(), port));
    let shared = Arc::new(Shared { waiting, task });
    ports.insert(port, Arc::downgrade(&shared));
    Ok(shared)
}

async fn accept_all(listener: VsockListener, waiting: Arc<Waiting>, port: u32) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // The senders go with the task, so that every `accept` ends with an error.
                tracing::warn!(port, %error, "vsock listener ended");
                waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return;
            }
        };
        let sender =
            waiting.lock().unwrap_or_else(PoisonError::into_inner).get(&peer.cid()).cloned();
        if sender.is_none_or(|sender| sender.try_send(stream).is_err()) {
            tracing::warn!(port, cid = peer.cid(), "dropped a vsock connection nobody waits for");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.cid);
    }
}

#[async_trait::async_trait]
impl Accept for Listener {
    async fn accept(&mut self) -> io::Result<BoxStream> {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the vsock listener ended");
        Ok(Box::pin(self.queue.recv().await.ok_or_else(ended)?))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_vsock::VMADDR_CID_LOCAL;

    use super::*;

    /// The kernel's loopback transport stands in for a guest; not every host has it.
    async fn loopback_works() -> bool {
        let Ok(listener) = VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, 40_999)) else {
            return false;
        };
        let dial = VsockStream::connect(VsockAddr::new(VMADDR_CID_LOCAL, 40_999));
        let both = async { tokio::join!(listener.accept(), dial) };
        let limit = std::time::Duration::from_secs(2);
        matches!(tokio::time::timeout(limit, both).await, Ok((Ok(_), Ok(_))))
    }

    #[tokio::test]
    async fn a_connection_reaches_the_listener_of_its_guest_only() {
        if !loopback_works().await {
            println!("skipped: this host has no AF_VSOCK loopback (module vsock_loopback)");
            return;
        }
        let mut ours = listen(VMADDR_CID_LOCAL, 41_000).expect("free");
        let mut other = listen(77, 41_000).expect("another guest's, same port");
        let busy = listen(77, 41_000).err().expect("one listener a guest and port");
        assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
        let dialer = Dialer::new(VMADDR_CID_LOCAL);
        let mut stream = dialer.dial(41_000).await.expect("listened on");
        let mut accepted = ours.accept().await.expect("connected");
        stream.write_all(b"x").await.expect("write");
        assert_eq!(accepted.read_u8().await.expect("read"), b'x');
        assert!(other.queue.try_recv().is_err());
        drop((ours, other));
        let error = dialer.dial(41_001).await.err().expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
