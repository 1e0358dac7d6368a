//! A TCP connection inside a byte stream: in each direction chunks, each after its length as 32
//! bits in network order, and a chunk of no bytes where the direction ends.
//!
//! A vsock connection and a unix socket end in one way only. With the chunk that ends it, a
//! direction that was finished differs from one that broke off: the latter is an error of the kind
//! `ConnectionReset`, which whoever carries a connection passes on as a reset, so that nobody takes
//! half of the data for all of it.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of a chunk's length.
const HEAD: usize = 4;
/// The most bytes in a chunk that is written. Any length is read: a chunk is never held as a whole.
const MOST: usize = 128 << 10;

/// One end of a connection that a byte stream carries. Bytes are written as they come; what the
/// stream does not take at once (a chunk at most) waits here for the next write, flush or
/// shutdown.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    head: [u8; HEAD],
    /// How much of `head` has been read.
    head_len: usize,
    /// What is still to be read of the chunk.
    left: usize,
    read_ended: bool,
    waiting: BytesMut,
    write_ended: bool,
}

impl<S> Connection<S> {
    /// Nothing of the connection has been read from or written to `stream`.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            head: [0; HEAD],
            head_len: 0,
            left: 0,
            read_ended: false,
            waiting: BytesMut::new(),
            write_ended: false,
        }
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Reads up to the next chunk's first byte, or to the direction's end.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left == 0 && !self.read_ended {
            let mut rest = ReadBuf::new(&mut self.head[self.head_len..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Err(broken_off()));
            }
            self.head_len += rest.filled().len();
            if self.head_len == HEAD {
                self.head_len = 0;
                self.left = usize::try_from(u32::from_be_bytes(self.head)).unwrap_or(usize::MAX);
                self.read_ended = self.left == 0;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_head(cx))?;
        if self.read_ended {
            return Poll::Ready(Ok(()));
        }
        let most = self.left.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        if count == 0 {
            return Poll::Ready(Err(broken_off()));
        }
        self.left -= count;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_waiting(cx))?;
        // An empty chunk would be the end.
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let count = data.len().min(MOST);
        self.waiting.reserve(HEAD + count);
        self.waiting.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
        self.waiting.extend_from_slice(&data[..count]);
        // It is accepted; how much of it the stream takes already is not the caller's concern.
        match self.poll_waiting(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(count)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            self.write_ended = true;
            self.waiting.put_u32(0);
        }
        ready!(self.poll_waiting(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn broken_off() -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, "the other end of the connection broke off")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    proptest! {
        #[test]
        fn both_directions_arrive_whatever_the_pieces(
            room in 1..64_usize,
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8),
        ) {
            let (near, far) = duplex(room);
            let sent = pieces.concat();
            let echoed = block_on(async {
                let (mut from_near, mut to_far) = tokio::io::split(Connection::new(near));
                let mut far = Connection::new(far);
                let write = async {
                    for piece in &pieces {
                        to_far.write_all(piece).await?;
                    }
                    to_far.shutdown().await
                };
                let echo = async {
                    let mut all = Vec::new();
                    far.read_to_end(&mut all).await?;
                    far.write_all(&all).await?;
                    far.shutdown().await
                };
                let mut back = Vec::new();
                let read = from_near.read_to_end(&mut back);
                tokio::try_join!(write, echo, read).map(|_| back)
            });
            prop_assert_eq!(echoed.expect("nothing breaks"), sent);
        }

        #[test]
        fn what_breaks_off_anywhere_is_an_error(at in 0..12_usize) {
            // Two chunks of two bytes; the end would have begun at byte 12.
            let bytes = [0, 0, 0, 2, 1, 2, 0, 0, 0, 2, 3, 4];
            let mut read = Vec::new();
            let error = block_on(Connection::new(&bytes[..at]).read_to_end(&mut read))
                .expect_err("it broke off");
            prop_assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            prop_assert!([1, 2, 3, 4].starts_with(&read));
        }
    }

    #[test]
    fn an_end_stays_the_end_and_leaves_the_other_direction_open() {
        block_on(async {
            let (near, far) = duplex(64);
            let (mut near, mut far) = (Connection::new(near), Connection::new(far));
            near.shutdown().await.expect("it is open");
            near.shutdown().await.expect("once more is nothing new");
            let mut byte = [0];
            for _ in 0..2 {
                assert_eq!(far.read(&mut byte).await.expect("an end"), 0);
            }
            far.write_all(b"x").await.expect("this way is open");
            far.flush().await.expect("this way is open");
            assert_eq!(near.read(&mut byte).await.expect("a byte"), 1);
            drop(far);
            let error = near.read(&mut byte).await.expect_err("it broke off");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        });
    }

    #[test]
    fn whoever_does_not_read_stalls_the_writer() {
        block_on(async {
            let (near, _far) = duplex(64);
            let mut near = Connection::new(near);
            let mut taken = 0;
            let wrote = std::future::poll_fn(|cx| {
                loop {
                    match Pin::new(&mut near).poll_write(cx, &[7; 1000]) {
                        Poll::Ready(Ok(count)) => taken += count,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Ready(Ok(())),
                    }
                }
            });
            wrote.await.expect("it is open");
            assert_eq!(taken, 1000, "one chunk waits");
        });
    }
}
