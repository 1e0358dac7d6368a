//! Serving on vsock: gRPC on one port, byte streams on another.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use linkspan_proto::{
    REQUEST_ID_KEY,
    ports::{AGENT_RPC, AGENT_STREAMS},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockAddr, VsockListener, VsockStream};
use tonic::transport::{Server, server::Connected};

use crate::{
    accept::Retry,
    rpc::{self, Guest},
};

/// HTTP/2's own 64 KiB would make every chunk of a container's output wait for an answer.
const WINDOW: u32 = 8 << 20;
const FRAME: u32 = 1 << 20;
/// A host that has gone to sleep or lost its daemon is noticed within the sum of these.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Both listeners. Connections queue from the moment they exist.
pub struct Listeners {
    rpc: VsockListener,
    streams: VsockListener,
}

impl Listeners {
    /// Binds both ports.
    ///
    /// # Errors
    /// When a port is taken or the kernel has no vsock.
    pub fn bind() -> io::Result<Self> {
        let bind = |port| VsockListener::bind(VsockAddr::new(VMADDR_CID_ANY, port));
        Ok(Self { rpc: bind(AGENT_RPC)?, streams: bind(AGENT_STREAMS)? })
    }

    /// Serves until the VM ends.
    ///
    /// # Errors
    /// When a listener fails.
    pub async fn serve(self, guest: Guest) -> Result<(), tonic::transport::Error> {
        serve(guest, from_host(self.rpc), from_host(self.streams)).await
    }
}

/// Serves connections of any kind: gRPC on those of `rpc`, byte streams on those of `streams`.
/// Ends with `rpc`.
///
/// # Errors
/// When `rpc` fails.
pub async fn serve<S>(
    guest: Guest,
    rpc: impl Stream<Item = io::Result<S>> + Send + 'static,
    streams: impl Stream<Item = io::Result<S>> + Send + 'static,
) -> Result<(), tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tokio::spawn(accept_streams(streams, guest.clone()));
    Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .trace_fn(|request| {
            let id = request.headers().get(REQUEST_ID_KEY).and_then(|id| id.to_str().ok());
            tracing::info_span!(
                "rpc",
                method = request.uri().path(),
                request = id.unwrap_or_default()
            )
        })
        .add_routes(rpc::services(guest))
        .serve_with_incoming(Box::pin(rpc.map(|stream| stream.map(FromHost))))
        .await
}

/// A connection as tonic wants it. `tokio-vsock` has this behind a feature, which would make the
/// host's transport depend on tonic too.
struct FromHost<S>(S);

impl<S> Connected for FromHost<S> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<S: AsyncRead + Unpin> AsyncRead for FromHost<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FromHost<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Connections from the host only. Over the loopback transport a process in the VM could reach the
/// same port; a container cannot, its system call filter refuses the socket.
fn from_host(listener: VsockListener) -> impl Stream<Item = io::Result<VsockStream>> {
    let retry = Retry::new("the host's connections");
    stream::unfold((listener, retry), async |(listener, mut retry)| {
        loop {
            let accepted = listener.accept().await;
            let Some((stream, peer)) = retry.after(accepted).await else { continue };
            if peer.cid() == VMADDR_CID_HOST {
                return Some((Ok(stream), (listener, retry)));
            }
        }
    })
}

async fn accept_streams<S>(incoming: impl Stream<Item = io::Result<S>>, guest: Guest)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut incoming = std::pin::pin!(incoming);
    while let Some(Ok(stream)) = incoming.next().await {
        let guest = guest.clone();
        tokio::spawn(async move {
            let address = |id: &str| guest.containers.address(id);
            if let Err(error) = guest.streams.accept(stream, address).await {
                tracing::debug!(%error, "a byte stream was refused or broke off");
            }
        });
    }
}
