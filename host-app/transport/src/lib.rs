//! Byte streams between processes and across the VM's edge. Knows nothing of what they carry.

use std::{io, path::PathBuf, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Stream for T {}

/// An owned [`Stream`].
pub type BoxStream = Pin<Box<dyn Stream>>;

/// Opens streams to the guest's ports.
#[async_trait::async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Connects to `port` in the guest.
    ///
    /// # Errors
    /// `ConnectionRefused` when nothing listens there (yet).
    async fn dial(&self, port: u32) -> io::Result<BoxStream>;
}

/// Accepts streams that the guest opens to the host.
#[async_trait::async_trait]
pub trait Accept: Send + 'static {
    /// The next connection.
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
    /// A unix socket that speaks `CONNECT <port>\n` / `OK <n>\n` (Firecracker's hybrid vsock, as
    /// `vhost-device-vsock` and cloud-hypervisor have it). Guest-opened connections to host port
    /// N arrive at `<path>_N`.
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
}
