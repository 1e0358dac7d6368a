//! What concerns the engine as a whole: ping, version, info, disk usage, events, login.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use linkspan_docker_types::{
    event::Event,
    header::AuthConfig,
    image::LoginAnswer,
    system::{
        self, Version, VersionFacts,
        df::{self, Kinds},
        info::{self, Facts},
    },
};
use linkspan_proto::error::Failure;
use linkspan_proto::v1::{
    ContainerState, DiskUsageRequest, EventsRequest, HelloResponse, ListContainersRequest,
    ListImagesRequest, UsageRequest, events_response,
};

use super::{
    answer::{Answer, Outcome, Refusal, broken, empty, line, ok, stream, whole},
    build,
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

/// The release in what `uname -srm` says.
fn release(hello: &HelloResponse) -> String {
    hello.kernel_release.split_whitespace().nth(1).unwrap_or(&hello.kernel_release).to_owned()
}

pub(super) async fn version(call: Call) -> Outcome {
    let hello = call.agent().await?.connect().await.map_err(Failure::from)?;
    let facts = VersionFacts {
        version: env!("CARGO_PKG_VERSION").into(),
        architecture: system::architecture(&hello.architecture).into(),
        kernel: release(&hello),
    };
    ok(&Version::from(&facts))
}

pub(super) async fn info(call: Call) -> Outcome {
    let agent = call.agent().await?;
    let hello = agent.connect().await.map_err(Failure::from)?;
    let (mut containers, mut images, mut own) = (agent.containers(), agent.images(), agent.agent());
    let everyone = ListContainersRequest { all: true, ..ListContainersRequest::default() };
    let (containers, images, usage) = tokio::try_join!(
        containers.list(everyone),
        images.list(ListImagesRequest { all: true, ..ListImagesRequest::default() }),
        own.usage(UsageRequest {}),
    )?;
    let machine = call.api.engine.inspect_machine(&call.api.machine).await?;
    let registries = call.api.engine.registry_settings();
    let (networks, hosts): (Vec<_>, Vec<_>) =
        registries.insecure.into_iter().partition(|registry| registry.contains('/'));
    let of = |wanted: &[ContainerState]| {
        let all = containers.get_ref().containers.iter();
        all.filter(|one| wanted.contains(&one.state())).count() as u64
    };
    let (running, paused) =
        (of(&[ContainerState::Running, ContainerState::Restarting]), of(&[ContainerState::Paused]));
    let facts = Facts {
        id: machine.name.clone(),
        name: machine.name,
        version: env!("CARGO_PKG_VERSION").into(),
        containers_running: running,
        containers_paused: paused,
        containers_stopped: containers.get_ref().containers.len() as u64 - running - paused,
        images: images.get_ref().images.len() as u64,
        kernel: release(&hello),
        architecture: hello.architecture.clone(),
        cpus: usage.get_ref().cpus,
        memory_bytes: usage.get_ref().memory_total_bytes,
        unix_nanos: i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0),
        listeners: (Arc::strong_count(&call.api.listeners) - 1) as u64,
        root_dir: "/var/lib/linkspan".into(),
        http_proxy: registries.http_proxy,
        https_proxy: registries.https_proxy,
        no_proxy: registries.no_proxy,
        mirrors: registries.mirrors.into_iter().map(|mirror| mirror.url).collect(),
        insecure_hosts: hosts,
        insecure_networks: networks,
        userns: machine.settings.is_some_and(|settings| settings.userns == "default"),
    };
    ok(&info::answer(&facts, call.version))
}

pub(super) async fn df(call: Call) -> Outcome {
    // Before 1.42 it was always all.
    let types = if call.version.before(42) { Vec::new() } else { call.texts("type") };
    let kinds = Kinds::read(types.iter().map(String::as_str))?;
    let usage = call.agent().await?.system().disk_usage(DiskUsageRequest {}).await?.into_inner();
    let builds = if kinds.build_cache { build::usage(&call).await? } else { Vec::new() };
    let (verbose, now) = (call.flag("verbose"), jiff::Timestamp::now());
    ok(&df::answer(&usage, &builds, kinds, verbose, now, call.version))
}

/// BuildKit's protocol is not spoken: `_ping` says which builder is here.
pub(super) async fn no_buildkit(_: Call) -> Outcome {
    let why = "BuildKit's sessions are not served: clients build with the classic builder (DOCKER_BUILDKIT=0)";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why))
}

/// The forms in which events come for those who ask (since 1.52). All others are told
/// `application/json`, which it is not, as ever.
const EVENT_TYPES: [&str; 3] = ["application/jsonl", "application/x-ndjson", JSON_SEQUENCE];
/// RFC 7464: each text begins with a record separator.
const JSON_SEQUENCE: &str = "application/json-seq";

fn event_type(accept: &str) -> &'static str {
    let wanted = accept.split(',').map(|one| one.split(';').next().unwrap_or_default().trim());
    let known = |one: &str| EVENT_TYPES.into_iter().find(|kind| kind.eq_ignore_ascii_case(one));
    wanted.filter_map(known).next().unwrap_or("application/json")
}

pub(super) async fn events(call: Call) -> Outcome {
    // 0 is no bound, so the epoch itself is the moment after it.
    let bound = |key| Ok::<_, Refusal>(call.moment(key)?.map_or(0, |moment| moment.max(1)));
    let request = EventsRequest {
        since_unix_nanos: bound("since")?,
        until_unix_nanos: bound("until")?,
        filters: call.filters()?.list(),
    };
    let version = call.version;
    let kind = event_type(call.header("accept"));
    let before: &[u8] = if kind == JSON_SEQUENCE { b"\x1e" } else { b"" };
    let listener = call.api.listeners.clone();
    let events = call.agent().await?.events().events(request).await?.into_inner();
    let values = events.map_err(|status| broken(&status)).try_filter_map(move |answer| {
        // Counts as long as the stream lasts.
        let _listens = &listener;
        std::future::ready(Ok(match answer.kind {
            Some(events_response::Kind::Event(event)) => Some(Event::from(&event).at(version)),
            Some(events_response::Kind::Missed(count)) => {
                tracing::warn!(
                    count,
                    "a Docker client reads its events too slowly: some are lost to it"
                );
                None
            }
            None => None,
        }))
    });
    let chunks = values.map(move |event| Ok(Bytes::from([before, &line(&event?)?].concat())));
    Ok(stream(kind, chunks).into())
}

pub(super) async fn auth(mut call: Call) -> Outcome {
    let request = call.json::<AuthConfig>().await?.login();
    let answer = call.registries().await?.login(request).await?.into_inner();
    ok(&LoginAnswer::from(answer))
}
