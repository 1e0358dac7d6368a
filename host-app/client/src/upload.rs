//! Byte streams to and from a machine: archives for `ImageService.Load`, `.Import` and
//! `FileService`.

use linkspan_proto::{
    error::{ErrorCode, Failure},
    preface::{Kind, Preface},
};
use linkspan_transport::local;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
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
        let mut stream = self.stream(machine, Kind::Upload, id).await?;
        let mut reader = tokio::io::BufReader::with_capacity(CHUNK, reader);
        let sent = tokio::io::copy_buf(&mut reader, &mut stream).await.map_err(lost)?;
        stream.shutdown().await.map_err(lost)?;
        Ok(sent)
    }

    /// Opens the byte stream `id` from a machine's agent (`None`: the default machine), to be
    /// read to its end beside the call that names it. It also ends early when that call fails:
    /// only the call knows.
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    #[tracing::instrument(level = "debug", skip(self))]
    pub async fn download(
        &self,
        machine: Option<&str>,
        id: Uuid,
    ) -> Result<impl AsyncRead + Send + Unpin + use<>, Failure> {
        self.stream(machine, Kind::Download, id).await
    }

    /// Opens the byte stream `id` in both directions with a machine's agent (`None`: the default
    /// machine).
    ///
    /// # Errors
    /// When the daemon cannot be reached.
    #[tracing::instrument(level = "debug", skip(self))]
    pub async fn duplex(
        &self,
        machine: Option<&str>,
        id: Uuid,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Failure> {
        self.stream(machine, Kind::Duplex, id).await
    }

    async fn stream(
        &self,
        machine: Option<&str>,
        kind: Kind,
        id: Uuid,
    ) -> Result<local::Stream, Failure> {
        let machine = machine.unwrap_or_default();
        if machine.chars().any(char::is_control) {
            return Err(Failure::new(
                ErrorCode::InvalidArgument,
                format!("`{}` is not a machine's name", machine.escape_debug()),
            ));
        }
        let mut stream = local::connect(&self.paths().streams_socket())
            .await
            .map_err(|error| Failure::new(ErrorCode::Unavailable, error.to_string()))?;
        let preface = Preface { kind, id: *id.as_bytes() };
        let mut head = format!("MACHINE {machine}\n").into_bytes();
        head.extend_from_slice(&preface.encode());
        stream.write_all(&head).await.map_err(lost)?;
        Ok(stream)
    }
}

fn lost(error: std::io::Error) -> Failure {
    Failure::new(
        ErrorCode::Unavailable,
        format!("the byte stream to the machine broke off: {error}"),
    )
}
