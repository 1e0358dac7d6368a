//! `/containers`: making, listing and looking at them. What they do over time is in the files
//! below.

pub(super) mod life;
pub(super) mod list;
pub(super) mod logs;
pub(super) mod stats;
pub(super) mod streams;
pub(super) mod websocket;

use http::StatusCode;
use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::{
    compat,
    container::{Container, CreateAnswer, CreateBody, answers::Pruned, state},
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        ContainerDetail, ContainerState, InspectContainerRequest, PruneContainersRequest,
        RemoveContainerRequest,
    },
};

use super::{
    answer::{Absent as _, Outcome, Refusal, created, done, ok},
    call::Call,
};

/// Docker's words.
pub(super) fn no_such(name: &str) -> String {
    format!("No such container: {name}")
}

/// It is the program, not the container.
pub(super) fn cannot_run(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::CommandNotFound | ErrorCode::CommandNotExecutable)
}

/// The container itself is not there, and not something that it needs.
pub(super) fn is_missing(failure: &Failure) -> bool {
    failure.code == ErrorCode::NotFound && failure.message.starts_with("no such container")
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
    let mut wanted = body.request(name.strip_prefix('/').unwrap_or(name))?;
    wanted.request.platform = call.text("platform").into();
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

/// In Docker's words of what can be done to a container that runs, and to no other.
pub(super) async fn not_running(
    agent: &AgentChannel,
    status: tonic::Status,
    name: &str,
) -> Refusal {
    let failure = Failure::from(status);
    if is_missing(&failure) {
        return Refusal::new(StatusCode::NOT_FOUND, no_such(name));
    }
    let mut refusal = Refusal::from(failure.clone());
    if failure.code == ErrorCode::WrongState
        && let Ok(found) = detail(agent, name, false).await
    {
        let id = found.summary.unwrap_or_default().id;
        refusal.message = format!("container {id} is not running");
    }
    refusal
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
