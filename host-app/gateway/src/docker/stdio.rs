//! Standard streams between a hijacked connection and the guest: raw with a terminal, otherwise
//! each piece of output behind a header that says which stream it is of
//! (`github.com/moby/moby/api/pkg/stdcopy`).

use std::io;

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use linkspan_docker_types::{
    detach::DetachKeys,
    stdio::{self, MULTIPLEXED, RAW},
    version::ApiVersion,
};
use linkspan_proto::v1::{
    CloseStdin, ProcessExited, StdioInput, StdioOutput, stdio_input, stdio_output,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};
use tonic::{Status, Streaming};

use super::hijack::{Halves, gone};

/// What one read of a client's input takes.
const CHUNK: usize = 32 * 1024;

/// What output is called. Before 1.42 both kinds were.
pub(super) fn media_type(raw: bool, version: ApiVersion) -> &'static str {
    if raw || version.before(42) { RAW } else { MULTIPLEXED }
}

/// The head of a response after which the connection is the streams'.
pub(super) fn head(upgrade: bool, kind: &'static str) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    // The old 200 said `raw-stream` of both.
    let kind = if upgrade { kind } else { RAW };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if !upgrade {
        return (StatusCode::OK, headers);
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}

/// One piece of output as it travels.
pub(super) fn framed(raw: bool, stream: stdio::Stream, bytes: Bytes) -> [Bytes; 2] {
    if raw {
        return [Bytes::new(), bytes];
    }
    // No message of the guest is so large.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [Bytes::copy_from_slice(&stdio::header(stream, length)), bytes]
}

/// A process's streams in the guest. `R` is the message that its call takes.
pub(super) struct Session<R> {
    pub(super) input: mpsc::Sender<R>,
    pub(super) encode: fn(StdioInput) -> R,
    pub(super) output: Streaming<StdioOutput>,
}

/// How a client wants the streams.
pub(super) struct Shape {
    /// Without a header before each piece.
    pub(super) raw: bool,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Only with a terminal.
    pub(super) detach: Option<DetachKeys>,
}

/// How it ended.
pub(super) enum Ended {
    Exited(ProcessExited),
    /// By the client's keys, or it has gone.
    Detached,
    /// The guest says no more.
    Lost,
}

impl<R: Send> Session<R> {
    /// Passes bytes until the process ends, the client detaches or one side is lost.
    pub(super) async fn run(&mut self, halves: &mut Halves, shape: Shape) -> io::Result<Ended> {
        let Shape { raw, stdin, stdout, stderr, detach } = shape;
        let Halves { from_client, to_client, hang_up } = halves;
        let typed = async {
            if stdin { feed(&self.input, self.encode, from_client, detach).await } else { false }
        };
        let shown = async {
            loop {
                let message = match self.output.message().await {
                    Ok(Some(message)) => message,
                    Ok(None) => return Ok(Ended::Lost),
                    Err(status) => return Err(lost(status)),
                };
                let (stream, bytes) = match message.kind {
                    Some(stdio_output::Kind::Stdout(bytes)) => (stdio::Stream::Stdout, bytes),
                    Some(stdio_output::Kind::Stderr(bytes)) => (stdio::Stream::Stderr, bytes),
                    Some(stdio_output::Kind::Exited(exited)) => return Ok(Ended::Exited(exited)),
                    Some(stdio_output::Kind::Started(_)) | None => continue,
                };
                let wanted = if matches!(stream, stdio::Stream::Stderr) { stderr } else { stdout };
                if !wanted {
                    continue;
                }
                let [head, bytes] = framed(raw, stream, bytes);
                to_client.write_all_buf(&mut head.chain(bytes)).await?;
                to_client.flush().await?;
            }
        };
        let mut shown = std::pin::pin!(shown);
        tokio::select! {
            ended = &mut shown => return ended,
            detached = typed => if detached { return Ok(Ended::Detached) },
        }
        // The client has said all. Whether it is still there, a silent process does not show.
        tokio::select! {
            ended = shown => ended,
            () = gone(hang_up.as_ref()) => Ok(Ended::Detached),
        }
    }
}

fn lost(status: Status) -> io::Error {
    io::Error::other(status.message().to_owned())
}

/// Sends the guest what the client types, and its end. True: the keys to detach were typed.
async fn feed<R>(
    input: &mpsc::Sender<R>,
    encode: fn(StdioInput) -> R,
    from_client: &mut (dyn tokio::io::AsyncRead + Send + Unpin),
    mut detach: Option<DetachKeys>,
) -> bool {
    let mut buffer = vec![0; CHUNK];
    // A client that breaks off has no more to say, like one that ends.
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let typed = &buffer[..length];
        let (pass, detached) = match &mut detach {
            Some(keys) => {
                let filtered = keys.filter(typed);
                (Bytes::from(filtered.pass), filtered.detached)
            }
            None => (Bytes::copy_from_slice(typed), false),
        };
        let message = StdioInput { kind: Some(stdio_input::Kind::Stdin(pass.clone())) };
        if !pass.is_empty() && input.send(encode(message)).await.is_err() {
            return false;
        }
        if detached {
            return true;
        }
    }
    let held = detach.map(|mut keys| keys.finish()).filter(|held| !held.is_empty());
    let held = held.map(|held| stdio_input::Kind::Stdin(held.into()));
    for kind in held.into_iter().chain([stdio_input::Kind::CloseStdin(CloseStdin {})]) {
        // Without a reader the process has ended.
        let _ = input.send(encode(StdioInput { kind: Some(kind) })).await;
    }
    false
}
