//! `linkspan.v1` as the agent serves it: HTTP/2 requests and responses go on as they come, not
//! decoded. Whoever resets one side resets the other.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use linkspan_engine::Engine;
use linkspan_proto::error::{ErrorCode, Failure};
use tonic::{Status, body::Body};

use super::{machine, refuse};

/// What paths of the agent's services begin with.
pub(super) const PREFIX: &str = "/linkspan.v1.";

pub(super) async fn forward(engine: Arc<dyn Engine>, request: Request<Incoming>) -> Response<Body> {
    let machine = machine(&request);
    let agent = match engine.agent(&machine).await {
        Ok(agent) => agent,
        Err(failure) => return refuse(failure),
    };
    match agent.send(request.map(Body::new)).await {
        Ok(response) => response.map(|body| Body::new(FromAgent { body, ended: false })),
        Err(error) => refuse(error),
    }
}

/// The agent's answer. If the way to the agent breaks in the middle of it, the client gets a
/// status that says so, in place of a reset that says nothing.
struct FromAgent {
    body: Incoming,
    ended: bool,
}

impl HttpBody for FromAgent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                self.ended = true;
                Poll::Ready(Some(lost(error)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn lost(error: hyper::Error) -> Result<Frame<Bytes>, hyper::Error> {
    let failure = Failure::new(
        ErrorCode::Unavailable,
        format!("the connection to the machine's agent was lost: {error}"),
    )
    .hint("see `linkspan machine status` and `linkspan machine logs`");
    let mut trailers = HeaderMap::new();
    match Status::from(failure).add_header(&mut trailers) {
        Ok(()) => Ok(Frame::trailers(trailers)),
        Err(_) => Err(error),
    }
}
