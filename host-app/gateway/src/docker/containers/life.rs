//! What starts, ends and changes a container.

use http::StatusCode;
use linkspan_docker_types::container::{
    answers::{self, Top, UpdateAnswer},
    port,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        KillContainerRequest, PauseContainerRequest, RenameContainerRequest,
        RestartContainerRequest, StartContainerRequest, StopContainerRequest, TopContainerRequest,
        UnpauseContainerRequest,
    },
};

use super::{cannot_run, is_missing, name_taken, no_such, not_running};
use crate::docker::{
    answer::{Absent as _, Outcome, Refusal, done, ok},
    call::Call,
};

/// In Docker's letters.
const SAME_NAME: &str = "Renaming a container with the same name as its current name";

pub(crate) async fn start(mut call: Call) -> Outcome {
    // Long ago a body could bring a HostConfig. The docker CLI sends none, others `{}` or `null`.
    let body = call.bytes().await?;
    if !matches!(body.trim_ascii(), b"" | b"{}" | b"null") {
        return Err(Refusal::bad(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if ["checkpoint", "checkpoint-dir"].iter().any(|key| !call.text(key).is_empty()) {
        let why = "checkpoints are not supported: containers are not stored as they run";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why));
    }
    let name = call.name("name");
    let request = StartContainerRequest { container: name.clone() };
    let answer = call.agent().await?.containers().start(request).await;
    let begun = answer.map_err(|status| not_started(status, &name))?;
    done(changed(!begun.into_inner().already))
}

fn changed(has_changed: bool) -> StatusCode {
    if has_changed { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED }
}

/// In the words that Docker's runtime uses of a program that cannot be run.
fn not_started(status: tonic::Status, name: &str) -> Refusal {
    let failure = Failure::from(status);
    if is_missing(&failure) {
        return Refusal::new(StatusCode::NOT_FOUND, no_such(name));
    }
    let of_command = cannot_run(&failure);
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
    let stopped = call.agent().await?.containers().stop(request).await.absent(|| no_such(&name))?;
    done(changed(!stopped.already))
}

pub(crate) async fn restart(call: Call) -> Outcome {
    let name = call.name("name");
    let request = RestartContainerRequest {
        container: name.clone(),
        timeout_seconds: timeout(&call)?,
        signal: call.text("signal").into(),
    };
    let restarted = call.agent().await?.containers().restart(request).await;
    restarted.map_err(|status| not_started(status, &name))?;
    done(StatusCode::NO_CONTENT)
}

pub(crate) async fn kill(call: Call) -> Outcome {
    let name = call.name("name");
    let request =
        KillContainerRequest { container: name.clone(), signal: call.text("signal").into() };
    let wanted = request.signal.clone();
    let agent = call.agent().await?;
    let Err(status) = agent.containers().kill(request).await else {
        return done(StatusCode::NO_CONTENT);
    };
    if Failure::from(status.clone()).code == ErrorCode::InvalidArgument {
        return Err(Refusal::bad(format!("invalid signal: {wanted}")));
    }
    let mut refusal = not_running(&agent, status, &name).await;
    refusal.message = format!("cannot kill container: {name}: {}", refusal.message);
    Err(refusal)
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
    let taken = request.name.clone();
    let Err(status) = agent.containers().rename(request).await else {
        return done(StatusCode::NO_CONTENT);
    };
    let failure = Failure::from(status);
    if is_missing(&failure) {
        return Err(Refusal::new(StatusCode::NOT_FOUND, no_such(&container)));
    }
    if failure.message.to_ascii_lowercase().ends_with(&SAME_NAME.to_ascii_lowercase()) {
        return Err(Refusal::bad(SAME_NAME));
    }
    let code = failure.code;
    let mut refusal = Refusal::from(failure);
    if code == ErrorCode::NameConflict
        && let Some(words) = name_taken(&agent, &taken).await
    {
        refusal.message = format!("Error when allocating new name: {words}");
    }
    Err(refusal)
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
