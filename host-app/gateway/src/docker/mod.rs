//! The Docker Engine API: HTTP/1.1 on a local socket, for the docker CLI, compose and every SDK.
//!
//! Owns: the routes, how requests and answers look (status, headers, bodies, raw streams), and
//! what only this API has: `exec` in two calls ([`execs`]). The JSON is `linkspan-docker-types`'s.
//! It does not: decide what a container is; what it means is asked of the engine and its agent.
//!
//! One file a noun; `routes` is the list of all that is served.

mod answer;
mod body;
mod build;
mod bulk;
mod call;
mod commit;
mod containers;
mod distribution;
mod exec;
mod execs;
mod files;
mod hijack;
mod images;
mod networks;
mod router;
mod routes;
#[cfg(test)]
mod shown;
mod stdio;
mod swarm;
mod system;
mod together;
mod transfer;
mod volumes;

use std::{collections::HashMap, future::poll_fn, io, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header::SERVER};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use linkspan_docker_types::version::ApiVersion;
use linkspan_engine::Engine;
use linkspan_transport::{
    BoxStream,
    local::{self, HangUp},
};
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use answer::{Answer, Body, Refusal};
use call::Call;
use hijack::{Raw, Takeover};

const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
const OS_TYPE: HeaderName = HeaderName::from_static("ostype");

/// How long a client may take for a request's head, as in Docker Engine. Also how long a
/// connection is kept that nobody uses.
const HEAD_TIME: Duration = Duration::from_secs(5 * 60);

/// What all requests share.
struct Api {
    engine: Arc<dyn Engine>,
    /// As a caller would write it; empty: the default one.
    machine: String,
    execs: execs::Execs,
    builds: build::Named,
    lists: containers::list::Lists,
    /// As many more as there are listeners to events.
    listeners: Arc<()>,
}

/// Serves clients of the host, and those in containers, until `ended`, then lets the requests that are under way finish. The caller
/// bounds how long that may take.
pub async fn serve(
    mut listener: local::Listener,
    engine: Arc<dyn Engine>,
    ended: CancellationToken,
) {
    let connections = TaskTracker::new();
    let mut in_containers = engine.docker_clients();
    let mut apis: HashMap<String, Arc<Api>> = HashMap::new();
    loop {
        let (machine, stream, hang_up): (_, BoxStream, _) = tokio::select! {
            () = ended.cancelled() => break,
            Some(client) = in_containers.next() => (client.machine, client.stream, None),
            accepted = listener.accept() => match accepted {
                Ok(stream) => {
                    // Without a descriptor to spare, a client that vanishes is noticed at the next
                    // write.
                    let hang_up = stream.hang_up().ok();
                    (String::new(), Box::pin(stream), hang_up)
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept Docker's clients any more");
                    break;
                }
            },
        };
        let api = apis.entry(machine);
        let api = api.or_insert_with_key(|name| Arc::new(Api::new(engine.clone(), name.clone())));
        connections.spawn(connection(api.clone(), stream, hang_up, ended.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one connection to its end.
pub async fn serve_connection(stream: BoxStream, engine: Arc<dyn Engine>) {
    connection(Arc::new(Api::new(engine, String::new())), stream, None, CancellationToken::new())
        .await;
}

impl Api {
    fn new(engine: Arc<dyn Engine>, machine: String) -> Self {
        Self {
            engine,
            machine,
            execs: execs::Execs::default(),
            builds: build::Named::default(),
            lists: containers::list::Lists::default(),
            listeners: Arc::default(),
        }
    }
}

/// Ends hyper when the connection is to be taken over.
#[derive(Debug, thiserror::Error)]
#[error("the connection is taken over")]
struct TakenOver;

type Served = BoxFuture<'static, Result<Response<Body>, TakenOver>>;

async fn connection(
    api: Arc<Api>,
    stream: BoxStream,
    hang_up: Option<HangUp>,
    ended: CancellationToken,
) {
    let taken: Arc<Mutex<Option<Takeover>>> = Arc::default();
    let slot = taken.clone();
    let service = service_fn(move |request| {
        let (api, slot) = (api.clone(), slot.clone());
        let served: Served = Box::pin(async move {
            match answer(api, request).await {
                Answer::Response(response) => Ok(response),
                Answer::Takeover(takeover) => {
                    *slot.lock() = Some(takeover);
                    Err(TakenOver)
                }
            }
        });
        served
    });
    // A client that hangs up cancels its request: hyper drops the answer when it reads the end.
    let mut http = http1::Builder::new()
        // As Go writes them; there are clients that look for `Api-Version:`.
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let result = tokio::select! {
        result = poll_fn(|cx| http.poll_without_shutdown(cx)) => result,
        () = ended.cancelled() => {
            Pin::new(&mut http).graceful_shutdown();
            poll_fn(|cx| http.poll_without_shutdown(cx)).await
        }
    };
    let taken = taken.lock().take();
    let result = match (taken, result) {
        (Some(takeover), _) => {
            let parts = http.into_parts();
            let raw = Raw { head: parts.read_buf, stream: parts.io.into_inner(), hang_up };
            takeover(raw).await
        }
        (None, result) => result.map_err(io::Error::other),
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a Docker client's connection ended");
    }
}

/// One request in, one answer out, with the headers that every answer has.
async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Answer {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let span =
        tracing::info_span!("docker", %id, method = %request.method(), path = request.uri().path());
    let mut answer = match route(api, request).instrument(span.clone()).await {
        Ok(answer) => answer,
        Err(refusal) => {
            let _in = span.enter();
            tracing::debug!(status = %refusal.status, message = refusal.message, "refused");
            Answer::Response(refusal.response())
        }
    };
    if let Answer::Response(response) = &mut answer {
        let headers = response.headers_mut();
        let version = ApiVersion::MAX.to_string();
        let server = format!("Linkspan/{} (linux)", env!("CARGO_PKG_VERSION"));
        for (name, value) in [(API_VERSION, version), (SERVER, server)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
        headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    }
    answer
}

async fn route(api: Arc<Api>, request: Request<Incoming>) -> answer::Outcome {
    tracing::debug!("received");
    let (parts, body) = request.into_parts();
    let (version, path) = router::split_version(parts.uri.path());
    let version = match version {
        Some(text) => text.parse::<ApiVersion>()?.check()?,
        None => ApiVersion::MAX,
    };
    let Some(found) = router::find(routes::ROUTES, &parts.method, path) else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "page not found"));
    };
    let call = Call::new(api, version, found.names, parts, body);
    (found.target)(call).await
}
