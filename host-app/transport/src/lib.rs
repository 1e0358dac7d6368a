//! Byte streams between processes and across the VM's edge. Knows nothing of what they carry.
//!
//! - [`dialer`] and [`listen`]: the guest's ports, and ours as the guest sees them, over whatever
//!   a [`GuestSocket`] says the VM has.
//! - [`local`]: the sockets between the daemon and its clients.
//! - [`splice`]: bytes from one stream to another, both ways.
//! - `memory` (feature `fake`): a guest socket without a VM, for tests.
//!
//! One file for each kind of socket; nothing outside this crate asks which kind it is.

use std::{fmt, io, path::PathBuf, pin::Pin, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(unix)]
mod hybrid;
pub mod local;
#[cfg(any(test, feature = "fake"))]
pub mod memory;
mod splice;
#[cfg(target_os = "linux")]
mod vsock;

pub use splice::{SPLICE_BUFFER, splice};

/// A byte stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for T {}

/// An owned [`Stream`].
pub type BoxStream = Pin<Box<dyn Stream>>;

/// Opens streams to the guest's ports.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` in the guest. May be dropped before it is done.
    ///
    /// # Errors
    /// `ConnectionRefused` when nothing listens there (yet), `NotFound` when there is no VM
    /// behind the socket, `TimedOut` when the guest does not answer.
    async fn dial(&self, port: u32) -> io::Result<BoxStream>;
}

/// Accepts streams that the guest opens to the host. Dropping it ends the listening.
#[async_trait::async_trait]
pub trait Accept: Send + 'static {
    /// The next connection.
    ///
    /// # Errors
    /// When no more connections can come.
    async fn accept(&mut self) -> io::Result<BoxStream>;
}

/// Where a VM's vsock device meets the host. What differs between hypervisors is this value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestSocket {
    /// The kernel's AF_VSOCK (vhost-vsock): connect to this context id.
    Vsock {
        /// The guest's.
        cid: u32,
    },
    /// A unix socket that speaks `CONNECT <port>\n` / `OK <n>\n` (Firecracker's hybrid vsock).
    /// Guest-opened connections to host port N arrive at `<path>_N`.
    Hybrid {
        /// The socket.
        path: PathBuf,
    },
    /// Hyper-V: AF_HYPERV with this VM id.
    HvSocket {
        /// The VM's GUID.
        vm_id: String,
    },
    /// Virtualization.framework: the driver opens the connections itself.
    Vz,
    /// No VM at all: pipes in this process. Two are equal when they are the same hub.
    #[cfg(any(test, feature = "fake"))]
    Memory(memory::Hub),
}

/// Why a [`GuestSocket`] cannot be used here. The source of an [`io::ErrorKind::Unsupported`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// The kind of socket.
    pub what: &'static str,
    /// The reason.
    pub why: &'static str,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not supported: {}", self.what, self.why)
    }
}

impl std::error::Error for Unsupported {}

fn unsupported(what: &'static str, why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, Unsupported { what, why })
}

/// The [`Unsupported`] of a socket that this build cannot reach.
fn unreachable_here(socket: &GuestSocket) -> io::Error {
    match socket {
        GuestSocket::Vsock { .. } => unsupported("AF_VSOCK", "only Linux has it"),
        GuestSocket::Hybrid { .. } => {
            unsupported("a hybrid vsock socket", "it is a unix socket, which this system has not")
        }
        GuestSocket::HvSocket { .. } => {
            unsupported("AF_HYPERV", "the Hyper-V driver that needs it is still to come")
        }
        GuestSocket::Vz => unsupported(
            "dialling through Virtualization.framework",
            "the vz driver that opens these connections is still to come",
        ),
        #[cfg(any(test, feature = "fake"))]
        GuestSocket::Memory(_) => unsupported("the in-memory socket", "it is always supported"),
    }
}

/// What opens streams to the guest behind `socket`. Nothing is connected yet.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] (with [`Unsupported`] inside) when this build cannot reach that
/// kind of socket.
pub fn dialer(socket: &GuestSocket) -> io::Result<Arc<dyn Dial>> {
    match socket {
        #[cfg(target_os = "linux")]
        GuestSocket::Vsock { cid } => Ok(Arc::new(vsock::Dialer::new(*cid))),
        #[cfg(unix)]
        GuestSocket::Hybrid { path } => Ok(Arc::new(hybrid::Dialer::new(path.clone()))),
        #[cfg(any(test, feature = "fake"))]
        GuestSocket::Memory(hub) => Ok(Arc::new(hub.clone())),
        other => Err(unreachable_here(other)),
    }
}

/// Listens on the host's `port` for connections from the guest behind `socket`, and from no
/// other. May be called before the VM exists. Must be called inside a tokio runtime.
///
/// # Errors
/// `AddrInUse` when another process or call listens there; [`io::ErrorKind::Unsupported`] as for
/// [`dialer`].
// On Windows no kind of socket is supported yet.
#[cfg_attr(not(unix), allow(unused_variables))]
pub fn listen(socket: &GuestSocket, port: u32) -> io::Result<Box<dyn Accept>> {
    match socket {
        #[cfg(target_os = "linux")]
        GuestSocket::Vsock { cid } => Ok(Box::new(vsock::listen(*cid, port)?)),
        #[cfg(unix)]
        GuestSocket::Hybrid { path } => Ok(Box::new(hybrid::Listener::bind(path, port)?)),
        #[cfg(any(test, feature = "fake"))]
        GuestSocket::Memory(hub) => Ok(Box::new(hub.listen_host(port)?)),
        other => Err(unreachable_here(other)),
    }
}

/// An I/O error that says what it happened to.
fn with_subject(error: &io::Error, what: impl fmt::Display) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_to_come_is_refused_by_name() {
        for socket in [GuestSocket::HvSocket { vm_id: "x".into() }, GuestSocket::Vz] {
            let dialled = dialer(&socket).err().expect("no such dialer yet");
            assert_eq!(dialled.kind(), io::ErrorKind::Unsupported);
            assert!(dialled.to_string().contains("still to come"), "{dialled}");
            let listened = listen(&socket, 1).err().expect("no such listener yet");
            assert_eq!(listened.kind(), io::ErrorKind::Unsupported);
        }
    }
}
