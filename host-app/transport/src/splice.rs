//! Bytes from one stream to another, both ways, until both directions have ended.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of buffer for each direction: the most that a unix socket hands over at once with the
/// default `wmem_max`, rounded down to a power of two. Larger ones bring nothing, smaller ones
/// cost a system call each.
pub const SPLICE_BUFFER: usize = 128 * 1024;

/// Copies both ways until both ends have finished. The end of one direction is passed on as a
/// half-close, so that `request | answer` protocols work. Returns the bytes from `a` to `b` and
/// from `b` to `a`.
///
/// # Errors
/// The first error of either direction; the other direction is then given up.
pub async fn splice<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    tokio::io::copy_bidirectional_with_sizes(a, b, SPLICE_BUFFER, SPLICE_BUFFER).await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_end_of_one_direction_leaves_the_other_open() {
        let (mut client, mut near) = tokio::io::duplex(64);
        let (mut far, mut server) = tokio::io::duplex(64);
        let bridge = tokio::spawn(async move { splice(&mut near, &mut far).await });

        client.write_all(b"question").await.expect("write");
        client.shutdown().await.expect("half-close");
        let mut question = String::new();
        server.read_to_string(&mut question).await.expect("the half-close arrives as the end");
        assert_eq!(question, "question");

        server.write_all(b"the answer").await.expect("this way is still open");
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        assert_eq!(answer, "the answer");
        assert_eq!(bridge.await.expect("no panic").expect("no error"), (8, 10));
    }
}
