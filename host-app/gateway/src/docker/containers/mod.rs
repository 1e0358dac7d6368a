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
    container::{Container, CreateAnswer, CreateBody, Summary, answers::Pruned},
    version::ApiVersion,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        ContainerDetail, InspectContainerRequest, ListContainersRequest, ListNetworksRequest,
        PruneContainersRequest, RemoveContainerRequest,
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
    } else if code == ErrorCode::NameConflict {
        let name = call.text("name").trim_start_matches('/');
        // One that has just gone has no id: the message stays as it is.
        if let Ok(agent) = call.agent().await
            && let Ok(other) = detail(&agent, name, false).await
        {
            let id = other.summary.unwrap_or_default().id;
            refusal.message = format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
            );
        }
    }
    refusal
}

/// Docker's names have a slash before them, which a pattern may have or not.
fn bare(pattern: &str) -> String {
    match pattern.strip_prefix("^/") {
        Some(rest) => format!("^{rest}"),
        None => pattern.strip_prefix('/').unwrap_or(pattern).to_owned(),
    }
}

pub(super) async fn list(call: Call) -> Outcome {
    let limit: Option<i64> = call.number("limit")?;
    let mut filters = call.filters()?;
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
    call.agent().await?.containers().remove(request).await.absent(|| no_such(&name))?;
    done(StatusCode::NO_CONTENT)
}

pub(super) async fn prune(call: Call) -> Outcome {
    let request = PruneContainersRequest { filters: call.filters()?.list() };
    let pruned = call.agent().await?.containers().prune(request).await?;
    ok(&Pruned::from(pruned.into_inner()))
}
