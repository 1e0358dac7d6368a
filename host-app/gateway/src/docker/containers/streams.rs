//! Connecting to a container: attach, wait, the size of its terminal.

use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::{
    container::answers::{WaitAnswer, condition, terminal_size},
    detach::DetachKeys,
};
use linkspan_proto::{
    error::Failure,
    v1::{
        AttachOpen, AttachRequest, ContainerState, ResizeContainerRequest, StdioInput,
        WaitContainerRequest, attach_request,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{detail, is_missing, no_such, not_running};
use crate::docker::{
    answer::{Absent as _, Answer, Broken, Outcome, Refusal, broken, done, line, stream},
    call::Call,
    hijack::{Raw, Takeover},
    stdio::{self, Session, Shape},
};

/// Messages on their way to the guest; more would only hide that it does not read.
pub(crate) const IN_FLIGHT: usize = 16;

pub(crate) fn input(input: StdioInput) -> AttachRequest {
    AttachRequest { kind: Some(attach_request::Kind::Input(input)) }
}

/// The keys that a client asks for; Docker's when it asks for none.
pub(crate) fn detach_keys(text: &str) -> Result<DetachKeys, Refusal> {
    if text.is_empty() {
        return Ok(DetachKeys::default());
    }
    text.parse().map_err(|why| Refusal::bad(format!("invalid detach keys: {why}")))
}

/// What `attach` and its WebSocket do before the connection is theirs. `all`: every stream is meant,
/// whatever the client says.
pub(crate) async fn open(
    call: &Call,
    all: bool,
) -> Result<(Session<AttachRequest>, Shape), Refusal> {
    let name = call.name("name");
    let agent = call.agent().await?;
    let detail = detail(&agent, &name, false).await?;
    let (summary, config) = (detail.summary.unwrap_or_default(), detail.config.unwrap_or_default());
    let streams = call.flag("stream");
    let shape = Shape {
        raw: config.tty,
        stdin: (all || call.flag("stdin")) && config.open_stdin,
        stdout: all || call.flag("stdout"),
        stderr: all || call.flag("stderr"),
        detach: config.tty.then(|| detach_keys(call.text("detachKeys"))).transpose()?,
    };
    let ended = matches!(summary.state(), ContainerState::Exited | ContainerState::Dead);
    let open = AttachOpen {
        container: summary.id.clone(),
        stdin: shape.stdin && streams,
        stdout: shape.stdout,
        stderr: shape.stderr,
        logs: call.flag("logs"),
        next_run: streams,
        ..AttachOpen::default()
    };
    if !(streams || open.logs && ended) {
        // Only what the log holds: the same as `logs`, which a client can ask for.
        return Err(Refusal::bad(
            "attach without stream=1 shows a log, which is kept of a container that has ended: use /logs",
        ));
    }
    let (send, receive) = mpsc::channel(IN_FLIGHT);
    let first = AttachRequest { kind: Some(attach_request::Kind::Open(open)) };
    // The receiver is in this function, so this cannot fail.
    let _ = send.send(first).await;
    let output = agent.containers().attach(ReceiverStream::new(receive)).await;
    let output = match output {
        Ok(output) => output.into_inner(),
        Err(status) => return Err(not_attached(&agent, status, &name, &summary.id).await),
    };
    Ok((Session { input: send, encode: input, output }, shape))
}

/// In Docker's words.
async fn not_attached(agent: &AgentChannel, status: Status, name: &str, id: &str) -> Refusal {
    let failure = Failure::from(status);
    if is_missing(&failure) {
        return Refusal::new(StatusCode::NOT_FOUND, no_such(name));
    }
    let refusal = Refusal::from(failure);
    if refusal.status != StatusCode::CONFLICT {
        return refusal;
    }
    // The state that it was refused for; when it is another by now, the guest's words are right.
    let state = detail(agent, id, false).await.map(|one| one.summary.unwrap_or_default().state());
    let why = match state {
        Ok(ContainerState::Paused) => "is paused, unpause the container before attach",
        Ok(ContainerState::Restarting) => "is restarting, wait until the container is running",
        _ => return refusal,
    };
    Refusal::new(StatusCode::CONFLICT, format!("container {id} {why}"))
}

pub(crate) async fn attach(call: Call) -> Outcome {
    let (mut session, shape) = open(&call, false).await?;
    let (status, headers) =
        stdio::head(call.upgrades(), stdio::media_type(shape.raw, call.version));
    let takeover: Takeover = Box::new(move |raw: Raw| {
        Box::pin(async move {
            let mut halves = raw.begin(status, &headers).await?;
            session.run(&mut halves, shape).await?;
            halves.end().await
        })
    });
    Ok(Answer::Takeover(takeover))
}

/// The head goes out as soon as the waiting has begun: clients start the container after it.
pub(crate) async fn wait(call: Call) -> Outcome {
    let condition = condition(call.text("condition"), call.version)?;
    let name = call.name("name");
    let request = WaitContainerRequest { container: name.clone(), condition: condition.into() };
    let agent = call.agent().await?;
    let ended = agent.containers().await_exit(request).await.absent(|| no_such(&name))?;
    let body = ended.map(|ended| -> Result<Bytes, Broken> {
        let ended = ended.map_err(|status| broken(&status))?;
        Ok(line(&WaitAnswer::from(ended))?)
    });
    Ok(stream("application/json", body).into())
}

pub(crate) async fn resize(call: Call) -> Outcome {
    let size = terminal_size(call.text("h"), call.text("w"))?;
    let name = call.name("name");
    let request = ResizeContainerRequest { container: name.clone(), size: Some(size) };
    let agent = call.agent().await?;
    match agent.containers().resize(request).await {
        Ok(_) => done(StatusCode::OK),
        Err(status) => Err(not_running(&agent, status, &name).await),
    }
}
