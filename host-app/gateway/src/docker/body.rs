//! A request's body, also when nobody wants all of it.
//!
//! A client that still writes when its request has been refused hears of a broken pipe, and not of
//! the reason, when the connection is closed under it. So what is left is read for a while.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// How long a client may go on writing that has its answer.
const LINGER: Duration = Duration::from_secs(5);

/// The body; what is left of it when it is dropped is thrown away.
pub(super) struct Wanted(Option<Incoming>);

impl From<Incoming> for Wanted {
    fn from(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Wanted {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime nobody serves the connection any more either.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            // A client that goes on for longer is cut.
            let _ = tokio::time::timeout(LINGER, rest).await;
        });
    }
}
