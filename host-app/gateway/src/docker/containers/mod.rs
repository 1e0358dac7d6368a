//! `/containers`: making, listing and looking at them. What they do over time is in the files
//! below.

pub(super) mod life;
pub(super) mod logs;
pub(super) mod stats;
pub(super) mod streams;

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use http::StatusCode;
use jiff::Timestamp;
use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::{
    compat,
    container::{Container, CreateAnswer, CreateBody, Summary, answers::Pruned, state},
    version::ApiVersion,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        ContainerDetail, ContainerState, InspectContainerRequest, ListContainersRequest,
        ListNetworksRequest, PruneContainersRequest, RemoveContainerRequest,
    },
};

use super::{
    Api,
    answer::{Absent as _, Outcome, Refusal, created, done, line, ok, whole},
    call::Call,
};

/// Docker's words.
pub(super) fn no_such(name: &str) -> String {
    format!("No such container: {name}")
}

/// A container as it is now.
pub(super) async fn detail(
    agent: &AgentChannel,
    name: &str,
    size: bool,
) -> Result<ContainerDetail, Refusal> {
    let request = InspectContainerRequest { container: name.into(), size };
    let found = agent.containers().inspect(request).await.absent(|| no_such(name))?;
    Ok(found.container.unwrap_or_default())
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let bytes = call.bytes().await?;
    let mut body = CreateBody::read(&bytes)?;
    let mut warnings = compat::create(&mut body, call.version)?;
    // Docker's clients write `/name` for `name`.
    let name = call.text("name");
    let wanted = body.request(name.strip_prefix('/').unwrap_or(name))?;
    let image = wanted.request.config.as_ref().map(|config| config.image.clone());
    let machine = &call.api.machine;
    let made = call.api.engine.create_container(machine, tonic::Request::new(wanted.request)).await;
    let made = match made {
        Ok(made) => made,
        Err(status) => {
            return Err(not_made(&call, status, image.as_deref().unwrap_or_default()).await);
        }
    };
    warnings.extend(wanted.warnings);
    created(&CreateAnswer::new(made.into_inner(), warnings))
}

/// In Docker's words where clients match on them: they pull an image that is missing and try again,
/// and find the container that has the name.
async fn not_made(call: &Call, status: tonic::Status, image: &str) -> Refusal {
    let code = Failure::from(status.clone()).code;
    let mut refusal = Refusal::from(status);
    if code == ErrorCode::NotFound
        && refusal.message.starts_with(&format!("no such image: `{image}`"))
    {
        refusal.message = format!("No such image: {}", super::images::tagged(image));
    } else if code == ErrorCode::NameConflict
        && let Ok(agent) = call.agent().await
        && let Some(words) = name_taken(&agent, call.text("name")).await
    {
        refusal.message = words;
    } else if refusal.message.starts_with("command: none was given") {
        refusal.message = "no command specified".into();
    }
    refusal
}

/// Docker's words. None: the one that had the name has just gone.
pub(super) async fn name_taken(agent: &AgentChannel, name: &str) -> Option<String> {
    let name = name.trim_start_matches('/');
    let other = detail(agent, name, false).await.ok()?;
    let id = other.summary.unwrap_or_default().id;
    Some(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    ))
}

/// Docker's names have a slash before them, which a pattern may have or not.
fn bare(pattern: &str) -> String {
    match pattern.strip_prefix("^/") {
        Some(rest) => format!("^{rest}"),
        None => pattern.strip_prefix('/').unwrap_or(pattern).to_owned(),
    }
}

/// What Docker filters containers by (moby's `daemon/list.go`). `isolation` is of Windows.
const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] =
    ["created", "dead", "exited", "paused", "removing", "restarting", "running"];

pub(super) async fn list(call: Call) -> Outcome {
    let limit: Option<i64> = call.number("limit")?;
    let mut filters = call.filters()?;
    filters.only(&FILTERS)?;
    filters.only_values("status", &STATES)?;
    // Tasks are a swarm's.
    if filters.take_bool("is-task")? == Some(true) {
        return ok(&[(); 0]);
    }
    for name in filters.take("name") {
        filters.insert("name", &bare(&name));
    }
    let request = ListContainersRequest {
        all: call.flag("all"),
        last: limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0),
        filters: filters.list(),
        size: call.flag("size"),
    };
    let (api, version) = (call.api.clone(), call.version);
    let question = format!("{version} {request:?}");
    let look = move || shown(api, request, version).boxed();
    let body = call.api.lists.ask(question, look).await?;
    Ok(whole(StatusCode::OK, "application/json", body).into())
}

/// The containers as they are now, as JSON.
async fn shown(
    api: Arc<Api>,
    request: ListContainersRequest,
    version: ApiVersion,
) -> Result<Bytes, Refusal> {
    let agent = api.engine.agent(&api.machine).await?;
    let (mut containers, mut networks) = (agent.containers(), agent.networks());
    let (containers, networks) =
        tokio::try_join!(containers.list(request), networks.list(ListNetworksRequest::default()))?;
    let endpoints: Vec<_> =
        networks.into_inner().networks.into_iter().flat_map(|network| network.endpoints).collect();
    let now = Timestamp::now();
    let shown: Vec<_> = containers
        .get_ref()
        .containers
        .iter()
        .map(|container| Summary::new(container, &endpoints, now))
        .map(|summary| compat::container_summary(&summary, version))
        .collect();
    line(&shown).map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the list: {error}"))
    })
}

pub(super) async fn inspect(call: Call) -> Outcome {
    let agent = call.agent().await?;
    let detail = detail(&agent, &call.name("name"), call.flag("size")).await?;
    ok(&compat::container(&Container::from(&detail), call.version))
}

pub(super) async fn remove(call: Call) -> Outcome {
    if call.flag("link") {
        return Err(Refusal::bad("links between containers are not supported: use a network"));
    }
    let name = call.name("name");
    let request = RemoveContainerRequest {
        container: name.clone(),
        force: call.flag("force"),
        volumes: call.flag("v"),
    };
    let agent = call.agent().await?;
    match agent.containers().remove(request).await {
        Ok(_) => done(StatusCode::NO_CONTENT),
        Err(status) => Err(not_removed(&agent, status, &name).await),
    }
}

/// In Docker's words (`cleanupContainer` of moby's `daemon/delete.go`).
async fn not_removed(agent: &AgentChannel, status: tonic::Status, name: &str) -> Refusal {
    let code = Failure::from(status.clone()).code;
    let mut refusal = Refusal::from(status);
    if code == ErrorCode::NotFound {
        refusal.message = no_such(name);
    } else if code == ErrorCode::WrongState
        && let Ok(found) = detail(agent, name, false).await
    {
        let state = match found.summary.unwrap_or_default().state() {
            ContainerState::Paused => "paused and must be unpaused first".to_owned(),
            state @ (ContainerState::Running | ContainerState::Restarting) => {
                let state = state::word(state);
                format!("{state}: stop the container before removing or force remove")
            }
            _ => return refusal,
        };
        refusal.message = format!("cannot remove container \"{name}\": container is {state}");
    }
    refusal
}

pub(super) async fn prune(call: Call) -> Outcome {
    let request = PruneContainersRequest { filters: call.filters()?.list() };
    let pruned = call.agent().await?.containers().prune(request).await?;
    ok(&Pruned::from(pruned.into_inner()))
}
