//! Answers, whole and broken ones.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

use crate::{Act, Gate, Seen, State};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn answer(
    status: u16,
    headers: &[(&str, String)],
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    with_body(status, headers, body)
}

/// An error in the specification's form.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Response<Body> {
    answer(status, &[], format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
}

/// A body of which the rest, from some byte on, comes never, late or slowly.
enum Break {
    Cut,
    Silence,
    Gate(Gate),
    Slow(Duration),
}

/// A blob, or the part of it that was asked for.
pub(crate) fn blob(
    state: &Arc<State>,
    seen: &Seen,
    bytes: Bytes,
    digest: &str,
    act: Act,
) -> Response<Body> {
    let from = match (&act, seen.header("range")) {
        (Act::Whole, _) | (_, None) => 0,
        (_, Some(range)) => {
            let from = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
            match from.and_then(|from| from.parse().ok()) {
                Some(from) => from,
                None => return error(416, "RANGE_INVALID", "only `bytes=FROM-` is understood"),
            }
        }
    };
    let bytes = if let Act::Lie(other) = &act { other.clone() } else { bytes };
    if from > 0 && from >= bytes.len() {
        return error(416, "RANGE_INVALID", "invalid range");
    }
    let mut headers = vec![("docker-content-digest", digest.to_owned())];
    let status = if from > 0 { 206 } else { 200 };
    if from > 0 {
        let last = bytes.len() - 1;
        headers.push(("content-range", format!("bytes {from}-{last}/{}", bytes.len())));
    }
    act_on(state, status, &headers, bytes.slice(from..), act)
}

/// These bytes as the act wants them.
pub(crate) fn act_on(
    state: &Arc<State>,
    status: u16,
    headers: &[(&str, String)],
    bytes: Bytes,
    act: Act,
) -> Response<Body> {
    match act {
        Act::Cut(after) => broken(state, status, headers, bytes, after, Break::Cut),
        Act::Silence(after) => broken(state, status, headers, bytes, after, Break::Silence),
        Act::Gate(after, gate) => broken(state, status, headers, bytes, after, Break::Gate(gate)),
        Act::Slow(piece, pause) => broken(state, status, headers, bytes, piece, Break::Slow(pause)),
        Act::LieInChunks(lie) => {
            let body = StreamBody::new(stream::iter([Ok(Frame::data(lie))])).boxed_unsync();
            with_body(200, &[], body)
        }
        Act::Lie(_) | Act::Serve | Act::Whole | Act::Answer(..) => answer(status, headers, bytes),
    }
}

/// A body that promises all of `bytes`.
fn broken(
    state: &Arc<State>,
    status: u16,
    headers: &[(&str, String)],
    bytes: Bytes,
    after: usize,
    how: Break,
) -> Response<Body> {
    let length = bytes.len();
    let body = if let Break::Slow(pause) = how {
        let pieces: Vec<_> = (0..length)
            .step_by(after.max(1))
            .map(|from| bytes.slice(from..length.min(from.saturating_add(after.max(1)))))
            .collect();
        let slowly = stream::iter(pieces).then(move |piece| async move {
            tokio::time::sleep(pause).await;
            Ok(Frame::data(piece))
        });
        StreamBody::new(slowly).boxed_unsync()
    } else {
        let first = bytes.slice(..after.min(length));
        let rest = bytes.slice(after.min(length)..);
        let second = rest_of(Arc::clone(state), rest, how);
        let both = stream::once(async move { Ok(Frame::data(first)) });
        StreamBody::new(both.chain(stream::once(second))).boxed_unsync()
    };
    let length = ("content-length", length.to_string());
    with_body(status, &[headers, &[length]].concat(), body)
}

async fn rest_of(state: Arc<State>, rest: Bytes, how: Break) -> io::Result<Frame<Bytes>> {
    // So that what came before is on its way first: a body is asked for its next part when the
    // last one has been taken, which is before it has been sent.
    tokio::time::sleep(Duration::from_millis(1)).await;
    match how {
        Break::Cut | Break::Slow(_) => Err(io::Error::other("cut")),
        Break::Silence => {
            state.hold();
            std::future::pending().await
        }
        Break::Gate(gate) => {
            state.hold();
            gate.opened().await;
            Ok(Frame::data(rest))
        }
    }
}

fn with_body(status: u16, headers: &[(&str, String)], body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(body).expect("headers of a test")
}
