//! What a handler gives back: a response, the connection to be taken over, or why not.

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream as streams};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use linkspan_docker_types::{
    error::{self, ErrorBody, Malformed, Refused},
    image::progress::Message,
    version::UnsupportedVersion,
};
use linkspan_proto::error::{ErrorCode, Failure};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument as _;

use super::hijack::Takeover;

/// Anything that ends a body before its time. The connection is cut, which is how HTTP says it.
pub(super) type Broken = Box<dyn Error + Send + Sync>;
pub(super) type Body = UnsyncBoxBody<Bytes, Broken>;

/// What becomes of a request.
pub(super) enum Answer {
    Response(Response<Body>),
    /// The connection is no longer HTTP's.
    Takeover(Takeover),
}

pub(super) type Outcome = Result<Answer, Refusal>;

/// A request that failed: Docker's status and one line.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn response(self) -> Response<Body> {
        json(self.status, &ErrorBody { message: self.message })
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let (status, ErrorBody { message }) = error::response(&failure);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, message }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Failure::from(status).into()
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        Failure::from(error).into()
    }
}

impl From<Refused> for Refusal {
    fn from(error: Refused) -> Self {
        Failure::from(error).into()
    }
}

impl From<UnsupportedVersion> for Refusal {
    fn from(error: UnsupportedVersion) -> Self {
        Self::bad(error.to_string())
    }
}

/// Says "there is no such thing" as Docker says it: clients match on the words.
pub(super) trait Absent<T> {
    /// The answer, or the refusal; a missing thing is told in `words`.
    fn absent(self, words: impl FnOnce() -> String) -> Result<T, Refusal>;
}

impl<T> Absent<T> for Result<tonic::Response<T>, Status> {
    fn absent(self, words: impl FnOnce() -> String) -> Result<T, Refusal> {
        self.map(tonic::Response::into_inner).map_err(|status| {
            let failure = Failure::from(status);
            match failure.code {
                ErrorCode::NotFound => Refusal::new(StatusCode::NOT_FOUND, words()),
                _ => failure.into(),
            }
        })
    }
}

/// Why a body that has begun breaks off.
pub(super) fn broken(status: &Status) -> Broken {
    status.message().to_owned().into()
}

pub(super) fn never(never: Infallible) -> Broken {
    match never {}
}

/// A whole body.
pub(super) fn whole(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(never).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Only a status.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(never).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// JSON as Go's encoder writes it, with the line end.
pub(super) fn line<T: Serialize>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text.into())
}

/// A JSON body.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    match line(value) {
        Ok(body) => whole(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A body that comes over time. Dropping it drops the stream.
pub(super) fn stream(
    kind: &'static str,
    chunks: impl Stream<Item = Result<Bytes, Broken>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Values that come over time, one JSON text a line.
pub(super) fn lines<T: Serialize>(
    values: impl Stream<Item = Result<T, Broken>> + Send + 'static,
) -> Response<Body> {
    let chunks = values.map(|value| Ok(line(&value?)?));
    stream("application/json", chunks)
}

/// Lines that wait for the client.
const AHEAD: usize = 64;

/// Where a line goes that is told, or why there are no more.
pub(super) type Lines = mpsc::Sender<Result<Message, Refusal>>;

/// What `work` tells while it goes on. A failure before the first line has a status of its own, a
/// later one is the last line. A client that hangs up ends the work.
pub(super) async fn telling<F>(work: impl FnOnce(Lines) -> F) -> Outcome
where
    F: Future<Output = Result<(), Refusal>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let work = work(sender.clone());
    let work = async move {
        let ended = tokio::select! {
            // The client has gone: dropping the work ends it.
            () = sender.closed() => return,
            ended = work => ended,
        };
        if let Err(refusal) = ended {
            // If it has gone, nobody asks why.
            let _ = sender.send(Err(refusal)).await;
        }
    };
    tokio::spawn(work.in_current_span());
    let first = receiver.recv().await.transpose()?;
    let all = streams::iter(first.map(Ok)).chain(ReceiverStream::new(receiver)).map(|line| {
        Ok::<_, Broken>(line.unwrap_or_else(|refusal: Refusal| Message::broken(&refusal.message)))
    });
    Ok(lines(all).into())
}

pub(super) fn ok<T: Serialize>(value: &T) -> Outcome {
    Ok(Answer::Response(json(StatusCode::OK, value)))
}

pub(super) fn created<T: Serialize>(value: &T) -> Outcome {
    Ok(Answer::Response(json(StatusCode::CREATED, value)))
}

pub(super) fn done(status: StatusCode) -> Outcome {
    Ok(Answer::Response(empty(status)))
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}
