//! Connections that stop being HTTP: `attach`, its WebSocket and `exec start` of Docker's API speak raw bytes
//! both ways after the response's head, whether the client asked for an upgrade (101) or is of the
//! old kind (200).
//!
//! hyper writes no 200 after which the connection is the handler's. So the handler hands over a
//! [`Takeover`], hyper is ended without an answer, and the head is written here.

use std::{fmt::Write as _, io, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use linkspan_transport::{BoxStream, local::HangUp};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How long a client may go on writing after the end of what it gets.
const DRAIN: Duration = Duration::from_secs(5);
/// How soon it is noticed that a client has gone that says nothing any more.
const LOOK: Duration = Duration::from_secs(1);

/// A connection without HTTP: what the client has already sent, and the rest.
pub(super) struct Raw {
    pub(super) head: Bytes,
    pub(super) stream: BoxStream,
    /// None where it cannot be told.
    pub(super) hang_up: Option<HangUp>,
}

/// What is done with the connection.
pub(super) type Takeover = Box<dyn FnOnce(Raw) -> BoxFuture<'static, io::Result<()>> + Send>;

/// The two directions of a connection.
pub(super) struct Halves {
    pub(super) from_client: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) to_client: Box<dyn AsyncWrite + Send + Unpin>,
    pub(super) hang_up: Option<HangUp>,
}

impl Raw {
    /// Writes the response's head, and the connection is the caller's.
    pub(super) async fn begin(self, status: StatusCode, headers: &HeaderMap) -> io::Result<Halves> {
        let mut head = match status {
            // The words that Docker has always used.
            StatusCode::SWITCHING_PROTOCOLS => "HTTP/1.1 101 UPGRADED\r\n".to_owned(),
            other => format!("HTTP/1.1 {other}\r\n"),
        };
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            // Into a string, which cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let (read, mut to_client) = tokio::io::split(self.stream);
        to_client.write_all(head.as_bytes()).await?;
        to_client.flush().await?;
        let from_client = Box::new(io::Cursor::new(self.head).chain(read));
        Ok(Halves { from_client, to_client: Box::new(to_client), hang_up: self.hang_up })
    }
}

/// Ends when the client has gone. One that has only closed its writing half has not: it reads on.
pub(super) async fn gone(hang_up: Option<&HangUp>) {
    let Some(hang_up) = hang_up else { return std::future::pending().await };
    while !hang_up.is_now() {
        tokio::time::sleep(LOOK).await;
    }
}

impl Halves {
    /// Ends what the client gets, and lets it notice: a socket that is closed while it still has
    /// something to be read is a reset, which to a client is an error.
    pub(super) async fn end(mut self) -> io::Result<()> {
        self.to_client.shutdown().await?;
        let mut nobody = tokio::io::sink();
        let rest = tokio::io::copy(&mut self.from_client, &mut nobody);
        // A client that goes on for longer gets the reset.
        let _ = tokio::time::timeout(DRAIN, rest).await;
        Ok(())
    }
}
