//! `GET /containers/{name}/attach/ws`: a container's streams over a WebSocket (RFC 6455), for pages
//! in a browser. Both kinds of output come as they are, without a header before each piece; what
//! the client sends is input.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _, future};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        error::Error as WsError,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::io::{CopyToBytes, SinkWriter};

use super::streams::open;
use crate::docker::{
    answer::{Answer, Outcome, Refusal},
    call::Call,
    hijack::{Halves, Raw, Takeover},
    stdio::Shape,
};

/// The only one (RFC 6455, 4.1).
const VERSION: &str = "13";
/// No message of a client is larger; what it sends is typed.
const MAX_MESSAGE: usize = 1 << 20;
/// Input on its way to the guest.
const AHEAD: usize = 64 * 1024;
/// What one side still does when the other has said that it leaves.
const FAREWELL: Duration = Duration::from_secs(5);

pub(crate) async fn attach(call: Call) -> Outcome {
    let headers = accept(&call)?;
    // Before 1.28 output came as text.
    let is_text = call.version.before(28);
    // Before 1.42 every stream was meant.
    let (mut session, shape) = open(&call, call.version.before(42)).await?;
    let shape = Shape { raw: true, ..shape };
    let takeover: Takeover = Box::new(move |raw: Raw| {
        Box::pin(async move {
            let Halves { from_client, to_client, hang_up } =
                raw.begin(StatusCode::SWITCHING_PROTOCOLS, &headers).await?;
            let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
            let stream = tokio::io::join(from_client, to_client);
            let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
            let (sink, messages) = socket.split();
            let (typed, from_client) = tokio::io::duplex(AHEAD);
            let mut halves = Halves {
                from_client: Box::new(from_client),
                to_client: Box::new(writer(sink, is_text)),
                hang_up,
            };
            let mut receiving = Box::pin(receive(messages, shape.stdin.then_some(typed)));
            let mut running = Box::pin(session.run(&mut halves, shape));
            let (ended, has_left) = tokio::select! {
                ended = &mut running => (Some(ended), false),
                () = &mut receiving => {
                    // What it has typed before it left is for the container.
                    (tokio::time::timeout(FAREWELL, &mut running).await.ok(), true)
                }
            };
            drop(running);
            // Without a reader any more, there is nobody to tell.
            let _ = halves.to_client.shutdown().await;
            if !has_left {
                let _ = tokio::time::timeout(FAREWELL, receiving).await;
            }
            ended.transpose().map(drop)
        })
    });
    Ok(Answer::Takeover(takeover))
}

/// The head of the answer to a handshake (RFC 6455, 4.2).
fn accept(call: &Call) -> Result<HeaderMap, Refusal> {
    let has = |name: &str, wanted: &str| {
        let mut words = call.header(name).split(',').map(str::trim);
        words.any(|word| word.eq_ignore_ascii_case(wanted))
    };
    let key = call.header(SEC_WEBSOCKET_KEY.as_str());
    let is_handshake = has(UPGRADE.as_str(), "websocket")
        && has(CONNECTION.as_str(), "upgrade")
        && has(SEC_WEBSOCKET_VERSION.as_str(), VERSION)
        && !key.is_empty();
    if !is_handshake {
        let why = "not a WebSocket handshake of version 13: use POST /containers/{name}/attach";
        return Err(Refusal::bad(why));
    }
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|error| Refusal::bad(error.to_string()));
    let mut headers = HeaderMap::new();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, value(&derive_accept_key(key.as_bytes()))?);
    match call.header(SEC_WEBSOCKET_PROTOCOL.as_str()) {
        "" => {}
        several if several.contains(',') => {
            return Err(Refusal::bad("more than one WebSocket protocol: ask for one at most"));
        }
        // As Docker does, whatever it is.
        one => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, value(one)?)),
    }
    Ok(headers)
}

/// Each piece that is written becomes a message.
fn writer(
    sink: impl Sink<Message, Error = WsError> + Send + Unpin + 'static,
    is_text: bool,
) -> impl AsyncWrite + Send + Unpin {
    let sink = sink.with(move |bytes: Bytes| {
        future::ready(Ok::<_, WsError>(match is_text {
            true => Message::text(String::from_utf8_lossy(&bytes).into_owned()),
            false => Message::Binary(bytes),
        }))
    });
    SinkWriter::new(CopyToBytes::new(sink.sink_map_err(io::Error::other)))
}

/// Takes what the client sends until it leaves. Pings are answered as they are read.
async fn receive(
    mut messages: impl Stream<Item = Result<Message, WsError>> + Unpin,
    mut input: Option<DuplexStream>,
) {
    // One that breaks off has left, too.
    while let Some(Ok(message)) = messages.next().await {
        if message.is_binary() || message.is_text() {
            let Some(open) = &mut input else { continue };
            if open.write_all(&message.into_data()).await.is_err() {
                // Nobody reads it any more.
                input = None;
            }
        }
    }
}
