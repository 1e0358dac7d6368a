//! Byte streams to a machine: archives for `ImageService.Load` and `.Import`.

use linkspan_proto::{
    error::{ErrorCode, Failure},
    preface::{Kind, Preface},
};
use linkspan_transport::local;
use tokio::io::{AsyncRead, AsyncWriteExt as _};
use uuid::Uuid;

use crate::Client;

/// Large enough that a copy is not a matter of system calls.
const CHUNK: usize = 256 * 1024;

/// A fresh id for one byte stream. The call that the stream belongs to carries its text
/// (`stream_id`).
#[must_use]
pub fn new_stream_id() -> Uuid {
    Uuid::new_v4()
}

impl Client {
    /// Sends all that `reader` gives to a machine's agent (`None`: the default machine) as the
    /// byte stream `id`, and returns how many bytes that were. Run it beside the call that names
    /// the stream: the agent takes the bytes as that call consumes them.
    ///
    /// # Errors
    /// When reading or sending fails. If the call fails the agent hangs up and this fails with
    /// `Unavailable`: the call's own error is then the one to show.
    #[tracing::instrument(level = "debug", skip(self, reader))]
    pub async fn upload(
        &self,
        machine: Option<&str>,
        id: Uuid,
        reader: impl AsyncRead + Unpin,
    ) -> Result<u64, Failure> {
        let machine = machine.unwrap_or_default();
        if machine.chars().any(char::is_control) {
            return Err(Failure::new(
                ErrorCode::InvalidArgument,
                format!("`{}` is not a machine's name", machine.escape_debug()),
            ));
        }
        let lost = |error: std::io::Error| {
            Failure::new(
                ErrorCode::Unavailable,
                format!("the byte stream to the machine broke off: {error}"),
            )
        };
        let mut stream = local::connect(&self.paths().streams_socket())
            .await
            .map_err(|error| Failure::new(ErrorCode::Unavailable, error.to_string()))?;
        let preface = Preface { kind: Kind::Upload, id: *id.as_bytes() };
        let mut head = format!("MACHINE {machine}\n").into_bytes();
        head.extend_from_slice(&preface.encode());
        stream.write_all(&head).await.map_err(lost)?;

        let mut reader = tokio::io::BufReader::with_capacity(CHUNK, reader);
        let sent = tokio::io::copy_buf(&mut reader, &mut stream).await.map_err(lost)?;
        stream.shutdown().await.map_err(lost)?;
        Ok(sent)
    }
}
