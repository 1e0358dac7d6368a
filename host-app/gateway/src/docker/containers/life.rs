//! What starts, ends and changes a container.

use http::StatusCode;
use linkspan_docker_types::container::{
    answers::{self, Top, UpdateAnswer},
    port,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        ContainerState, KillContainerRequest, PauseContainerRequest, RenameContainerRequest,
        RestartContainerRequest, StartContainerRequest, StopContainerRequest, TopContainerRequest,
        UnpauseContainerRequest,
    },
};

use super::{detail, name_taken, no_such};
use crate::docker::{
    answer::{Absent as _, Outcome, Refusal, done, ok},
    call::Call,
};

pub(crate) async fn start(mut call: Call) -> Outcome {
    // Long ago a body could bring a HostConfig. The docker CLI sends none, others `{}` or `null`.
    let body = call.bytes().await?;
    if !matches!(body.trim_ascii(), b"" | b"{}" | b"null") {
        return Err(Refusal::bad(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    let name = call.name("name");
    let agent = call.agent().await?;
    if runs(detail(&agent, &name, false).await?.summary.unwrap_or_default().state()) {
        return done(StatusCode::NOT_MODIFIED);
    }
    let request = StartContainerRequest { container: name };
    agent.containers().start(request).await.map_err(not_started)?;
    done(StatusCode::NO_CONTENT)
}

/// A paused container is refused by the agent, with the reason.
fn runs(state: ContainerState) -> bool {
    matches!(state, ContainerState::Running | ContainerState::Restarting)
}

/// In the words that Docker's runtime uses of a program that cannot be run.
fn not_started(status: tonic::Status) -> Refusal {
    let failure = Failure::from(status);
    let of_command =
        matches!(failure.code, ErrorCode::CommandNotFound | ErrorCode::CommandNotExecutable);
    let taken = (failure.code == ErrorCode::InUse).then(|| port::taken(&failure.message)).flatten();
    let mut refusal = Refusal::from(failure);
    if of_command {
        refusal.message =
            format!("failed to create task for container: {}: unknown", refusal.message);
    } else if let Some(words) = taken {
        refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, words);
    }
    refusal
}

/// Seconds to wait before it is killed; Docker's -1 is for ever.
fn timeout(call: &Call) -> Result<Option<u32>, Refusal> {
    let seconds: Option<i64> = call.number("t")?;
    Ok(seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)))
}

pub(crate) async fn stop(call: Call) -> Outcome {
    let name = call.name("name");
    let request = StopContainerRequest {
        container: name.clone(),
        timeout_seconds: timeout(&call)?,
        signal: call.text("signal").into(),
    };
    let agent = call.agent().await?;
    let state = detail(&agent, &name, false).await?.summary.unwrap_or_default().state();
    if !runs(state) && state != ContainerState::Paused {
        return done(StatusCode::NOT_MODIFIED);
    }
    agent.containers().stop(request).await.absent(|| no_such(&name))?;
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn restart(call: Call) -> Outcome {
    let request = RestartContainerRequest {
        container: call.name("name"),
        timeout_seconds: timeout(&call)?,
        signal: call.text("signal").into(),
    };
    let agent = call.agent().await?;
    detail(&agent, &request.container, false).await?;
    agent.containers().restart(request).await.map_err(not_started)?;
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn kill(call: Call) -> Outcome {
    let name = call.name("name");
    let request =
        KillContainerRequest { container: name.clone(), signal: call.text("signal").into() };
    let agent = call.agent().await?;
    let prefixed = |mut refusal: Refusal| {
        refusal.message = format!("cannot kill container: {name}: {}", refusal.message);
        refusal
    };
    let found = detail(&agent, &name, false).await.map_err(prefixed)?.summary.unwrap_or_default();
    if !runs(found.state()) && found.state() != ContainerState::Paused {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            format!("cannot kill container: {name}: container {} is not running", found.id),
        ));
    }
    let wanted = request.signal.clone();
    agent.containers().kill(request).await.map_err(|status| {
        let failure = Failure::from(status);
        match failure.code {
            ErrorCode::InvalidArgument => Refusal::bad(format!("invalid signal: {wanted}")),
            _ => prefixed(failure.into()),
        }
    })?;
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(call: Call) -> Outcome {
    let container = call.name("name");
    let request = PauseContainerRequest { container: container.clone() };
    call.agent().await?.containers().pause(request).await.absent(|| no_such(&container))?;
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn unpause(call: Call) -> Outcome {
    let container = call.name("name");
    let request = UnpauseContainerRequest { container: container.clone() };
    call.agent().await?.containers().unpause(request).await.absent(|| no_such(&container))?;
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn rename(call: Call) -> Outcome {
    let container = call.name("name");
    let name = call.text("name");
    let name = name.strip_prefix('/').unwrap_or(name).to_owned();
    let request = RenameContainerRequest { container: container.clone(), name };
    let agent = call.agent().await?;
    let own = detail(&agent, &container, false).await?.summary.unwrap_or_default();
    if own.name == request.name {
        return Err(Refusal::bad("Renaming a container with the same name as its current name"));
    }
    let taken = request.name.clone();
    if let Err(status) = agent.containers().rename(request).await {
        let code = Failure::from(status.clone()).code;
        let mut refusal = Refusal::from(status);
        if code == ErrorCode::NameConflict
            && let Some(words) = name_taken(&agent, &taken).await
        {
            refusal.message = format!("Error when allocating new name: {words}");
        }
        return Err(refusal);
    }
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn update(mut call: Call) -> Outcome {
    let name = call.name("name");
    let body = call.bytes().await?;
    let request = answers::update(&name, &body, call.version)?;
    let answer =
        call.agent().await?.containers().update(request).await.absent(|| no_such(&name))?;
    ok(&UpdateAnswer::from(answer))
}

pub(crate) async fn top(call: Call) -> Outcome {
    let name = call.name("name");
    let ps_args = call.text("ps_args").split_whitespace().map(str::to_owned).collect();
    let request = TopContainerRequest { container: name.clone(), ps_args };
    let found = call.agent().await?.containers().top(request).await.absent(|| no_such(&name))?;
    ok(&Top::from(found))
}
