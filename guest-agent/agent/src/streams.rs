//! Byte streams that belong to a call: each arrives on a connection of its own and is paired with
//! the call that names it. Either may come first.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use linkspan_proto::{
    error::{ErrorCode, Failure},
    preface::{self, Kind, Preface},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    sync::oneshot,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::ports;

/// How long one of the two may wait for the other.
const PAIRED_WITHIN: Duration = Duration::from_secs(30);
/// Streams and calls that wait for their other half. A host has no reason for more.
const MOST: usize = 256;

/// A stream after its preface, whose bytes come from the client.
pub type Incoming = Box<dyn AsyncRead + Send + Unpin>;
/// A stream after its preface, whose bytes go to the client.
pub type Outgoing = Box<dyn AsyncWrite + Send + Unpin>;
/// A stream after its preface, with bytes both ways.
pub type Duplex = Box<dyn ReadWrite>;

/// What a [`Duplex`] is.
pub trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for S {}

/// A stream that breaks off when `cut` is cancelled, also for who waits for it then.
pub struct Severable<S> {
    stream: S,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    why: &'static str,
}

impl<S> Severable<S> {
    /// The whole of `stream` until then; `why`: in the error.
    pub fn new(stream: S, cut: CancellationToken, why: &'static str) -> Self {
        Self { stream, cut: Box::pin(cut.cancelled_owned()), why }
    }
}

impl<S: Unpin> Severable<S> {
    fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, self.why)));
        }
        poll(Pin::new(&mut self.stream), cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Severable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_with(cx, |stream, cx| stream.poll_read(cx, buffer))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Severable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(cx, AsyncWrite::poll_shutdown)
    }
}

/// One of them, as its preface says.
enum Directed {
    Up(Incoming),
    Down(Outgoing),
    Both(Duplex),
}

impl Directed {
    fn name(&self) -> &'static str {
        match self {
            Self::Up(_) => "an upload",
            Self::Down(_) => "a download",
            Self::Both(_) => "a stream of both directions",
        }
    }
}

/// Streams that wait for their call, and calls that wait for their stream. Cheap to clone.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<[u8; 16], Half>>>);

enum Half {
    Stream(Directed),
    Call(oneshot::Sender<Directed>),
}

impl Streams {
    /// Takes a connection: reads its preface and gives it to its call, now or later, or carries
    /// its bytes to the port of a container; `address` tells where that is.
    ///
    /// # Errors
    /// When what connected is not one of our streams, its call never comes, or the port cannot be
    /// reached.
    pub async fn accept(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        address: impl FnOnce(&str) -> Option<IpAddr> + Send,
    ) -> io::Result<()> {
        let mut head = [0; preface::LEN];
        timeout(PAIRED_WITHIN, stream.read_exact(&mut head))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no preface came"))??;
        let preface = Preface::decode(&head)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if preface.kind == Kind::Port {
            return ports::connect(stream, address).await;
        }
        let stream = match preface.kind {
            Kind::Upload => Directed::Up(Box::new(stream)),
            Kind::Download => Directed::Down(Box::new(stream)),
            Kind::Duplex => Directed::Both(Box::new(stream)),
            other => {
                let why = format!("streams of the kind {other:?} are not known");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        {
            let mut waiting = self.0.lock();
            match waiting.remove(&preface.id) {
                Some(Half::Call(call)) => {
                    // A call that was cancelled drops the connection, which tells the sender.
                    let _ = call.send(stream);
                    return Ok(());
                }
                Some(Half::Stream(_)) => {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        "two streams have the same id",
                    ));
                }
                None if waiting.len() >= MOST => {
                    return Err(io::Error::new(
                        io::ErrorKind::ResourceBusy,
                        "too many streams wait for their calls",
                    ));
                }
                None => drop(waiting.insert(preface.id, Half::Stream(stream))),
            }
        }
        tokio::time::sleep(PAIRED_WITHIN).await;
        let mut waiting = self.0.lock();
        // Not a call that uses the id again: that one is not ours to remove.
        if matches!(waiting.get(&preface.id), Some(Half::Stream(_))) {
            waiting.remove(&preface.id);
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its call did not come"));
        }
        Ok(())
    }

    /// The upload that a call names.
    ///
    /// # Errors
    /// `InvalidArgument` for an id that is none, `TimedOut` when the stream does not come.
    pub async fn take(&self, id: &str) -> Result<Incoming, Failure> {
        match self.find(id).await? {
            Directed::Up(stream) => Ok(stream),
            other => Err(mismatch("reads its byte stream", &other)),
        }
    }

    /// The download that a call names.
    ///
    /// # Errors
    /// As [`Streams::take`].
    pub async fn take_download(&self, id: &str) -> Result<Outgoing, Failure> {
        match self.find(id).await? {
            Directed::Down(stream) => Ok(stream),
            other => Err(mismatch("writes its byte stream", &other)),
        }
    }

    /// The stream of both directions that a call names.
    ///
    /// # Errors
    /// As [`Streams::take`].
    pub async fn take_duplex(&self, id: &str) -> Result<Duplex, Failure> {
        match self.find(id).await? {
            Directed::Both(stream) => Ok(stream),
            other => Err(mismatch("reads and writes its byte stream", &other)),
        }
    }

    async fn find(&self, id: &str) -> Result<Directed, Failure> {
        let id = uuid::Uuid::parse_str(id)
            .map_err(|_| {
                Failure::new(ErrorCode::InvalidArgument, format!("`{id}` is not a stream id"))
            })?
            .into_bytes();
        let receiver = {
            let mut waiting = self.0.lock();
            match waiting.remove(&id) {
                Some(Half::Stream(stream)) => return Ok(stream),
                Some(other @ Half::Call(_)) => {
                    waiting.insert(id, other);
                    return Err(Failure::new(
                        ErrorCode::InvalidArgument,
                        "another call waits for the same stream",
                    ));
                }
                None => {
                    let (sender, receiver) = oneshot::channel();
                    waiting.insert(id, Half::Call(sender));
                    receiver
                }
            }
        };
        let guard = Forget { streams: self.clone(), id };
        let stream = timeout(PAIRED_WITHIN, receiver).await;
        drop(guard);
        stream.ok().and_then(Result::ok).ok_or_else(|| {
            Failure::new(
                ErrorCode::TimedOut,
                format!(
                    "the byte stream of this call did not come within {} s",
                    PAIRED_WITHIN.as_secs()
                ),
            )
        })
    }
}

fn mismatch(does: &str, opened: &Directed) -> Failure {
    Failure::new(
        ErrorCode::InvalidArgument,
        format!("this call {does}, and {} was opened for it", opened.name()),
    )
}

/// A call that is cancelled while it waits leaves nothing behind.
struct Forget {
    streams: Streams,
    id: [u8; 16],
}

impl Drop for Forget {
    fn drop(&mut self) {
        let mut waiting = self.streams.0.lock();
        if matches!(waiting.get(&self.id), Some(Half::Call(_))) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    const ID: [u8; 16] = [9; 16];

    fn id() -> String {
        uuid::Uuid::from_bytes(ID).to_string()
    }

    async fn upload(streams: Streams, content: &'static [u8]) -> io::Result<()> {
        let (mut near, far) = tokio::io::duplex(64);
        let writer = tokio::spawn(async move {
            let preface = Preface { kind: Kind::Upload, id: ID };
            near.write_all(&preface.encode()).await?;
            near.write_all(content).await
        });
        let accepted = streams.accept(far, |_| None).await;
        // A refused stream breaks the writer off: the answer of `accept` is what counts.
        let _ = writer.await.expect("the writer does not panic");
        accepted
    }

    async fn read(mut stream: Incoming) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("it can be read");
        bytes
    }

    #[tokio::test]
    async fn stream_and_call_find_each_other_in_both_orders() {
        let streams = Streams::default();
        let first = tokio::spawn(upload(streams.clone(), b"stream first"));
        while streams.0.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(read(streams.take(&id()).await.expect("it is there")).await, b"stream first");
        first.abort();

        let call = tokio::spawn({
            let streams = streams.clone();
            async move { read(streams.take(&id()).await.expect("it comes")).await }
        });
        while streams.0.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        upload(streams.clone(), b"call first").await.expect("it is taken");
        assert_eq!(call.await.expect("no panic"), b"call first");
        assert!(streams.0.lock().is_empty());
    }

    #[tokio::test]
    async fn a_cancelled_call_leaves_nothing_behind() {
        let streams = Streams::default();
        let call = tokio::spawn({
            let streams = streams.clone();
            async move { streams.take(&id()).await.map(drop) }
        });
        while streams.0.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        call.abort();
        let _ = call.await;
        assert!(streams.0.lock().is_empty());
    }

    #[tokio::test]
    async fn foreign_bytes_are_refused() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.expect("it fits");
        let error = Streams::default().accept(far, |_| None).await.expect_err("not a preface");
        assert!(error.to_string().contains("LSPN"), "{error}");
    }

    #[tokio::test]
    async fn who_waits_for_a_stream_that_is_cut_waits_no_more() {
        let (near, far) = tokio::io::duplex(1);
        let cut = CancellationToken::new();
        let (mut reads, mut writes) =
            tokio::io::split(Severable::new(far, cut.clone(), "as the test wants it"));
        let waiting = tokio::spawn(async move {
            let mut byte = [0];
            tokio::join!(reads.read(&mut byte), writes.write_all(&[0; 10]))
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished(), "nobody reads or writes at the other end");
        cut.cancel();
        let (read, written) =
            timeout(PAIRED_WITHIN, waiting).await.expect("in time").expect("both");
        for error in [read.map(drop).expect_err("cut"), written.expect_err("cut")] {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        }
        drop(near);
    }
}
