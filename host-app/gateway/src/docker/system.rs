//! What concerns the engine as a whole: ping, version, info, disk usage, events, login.

use futures::TryStreamExt as _;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use linkspan_docker_types::{event::Event, time};
use linkspan_proto::v1::{EventsRequest, events_response};

use super::{
    answer::{Answer, Broken, Outcome, Refusal, empty, lines, whole},
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

/// Nanoseconds since the Unix epoch; 0: no bound.
fn moment(call: &Call, key: &str) -> Result<i64, Refusal> {
    match call.text(key) {
        "" => Ok(0),
        text => Ok(time::moment(text, jiff::Timestamp::now())?),
    }
}

pub(super) async fn events(call: Call) -> Outcome {
    let request = EventsRequest {
        since_unix_nanos: moment(&call, "since")?,
        until_unix_nanos: moment(&call, "until")?,
        filters: call.filters()?.list(),
    };
    let version = call.version;
    let events = call.agent().await?.events().events(request).await?.into_inner();
    let values = events.map_err(|status| Broken::from(status.message().to_owned())).try_filter_map(
        move |answer| async move {
            Ok(match answer.kind {
                Some(events_response::Kind::Event(event)) => Some(Event::from(&event).at(version)),
                Some(events_response::Kind::Missed(count)) => {
                    tracing::warn!(
                        count,
                        "a Docker client reads its events too slowly: some are lost to it"
                    );
                    None
                }
                None => None,
            })
        },
    );
    Ok(lines(values).into())
}
