//! What concerns the engine as a whole: ping, version, info, disk usage, events, login.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{
    answer::{Answer, Outcome, Refusal, empty, whole},
    call::Call,
};

/// Answers without a machine: clients ask before everything else.
pub(super) async fn ping(call: Call) -> Outcome {
    let mut response = if call.method == Method::HEAD {
        empty(StatusCode::OK)
    } else {
        whole(StatusCode::OK, "text/plain; charset=utf-8", "OK")
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        // The classic one: clients send `POST /build` with the whole context.
        ("builder-version", "1"),
        ("swarm", "inactive"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(Answer::Response(response))
}

/// BuildKit's protocol is not spoken: `_ping` says which builder is here.
pub(super) async fn no_buildkit(_: Call) -> Outcome {
    let why = "BuildKit's sessions are not served: clients build with the classic builder (DOCKER_BUILDKIT=0)";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why))
}
