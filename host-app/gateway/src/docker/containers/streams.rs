//! Connecting to a container: attach, wait, the size of its terminal.

use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use linkspan_docker_types::{
    container::answers::{WaitAnswer, condition, terminal_size},
    detach::DetachKeys,
};
use linkspan_proto::v1::{
    AttachOpen, AttachRequest, ContainerState, StdioInput, WaitContainerRequest, attach_request,
    stdio_input,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{detail, no_such};
use crate::docker::{
    answer::{Absent as _, Answer, Broken, Outcome, Refusal, done, line, stream},
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

/// What `attach` and its WebSocket do before the connection is theirs.
pub(crate) async fn open(call: &Call) -> Result<(Session<AttachRequest>, Shape), Refusal> {
    let name = call.name("name");
    let agent = call.agent().await?;
    let detail = detail(&agent, &name, false).await?;
    let (summary, config) = (detail.summary.unwrap_or_default(), detail.config.unwrap_or_default());
    let id = &summary.id;
    let refused = match summary.state() {
        ContainerState::Paused => "is paused, unpause the container before attach",
        ContainerState::Restarting => "is restarting, wait until the container is running",
        _ => "",
    };
    if !refused.is_empty() {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("container {id} {refused}")));
    }
    let stdin = call.flag("stdin") && config.open_stdin;
    let streams = call.flag("stream");
    let ended = matches!(summary.state(), ContainerState::Exited | ContainerState::Dead);
    let open = AttachOpen {
        container: id.clone(),
        stdin: stdin && streams,
        stdout: call.flag("stdout"),
        stderr: call.flag("stderr"),
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
    let output = output.absent(|| no_such(&name))?;
    let detach = config.tty.then(|| detach_keys(call.text("detachKeys"))).transpose()?;
    let session = Session { input: send, encode: input, output };
    Ok((session, Shape { tty: config.tty, stdin, detach }))
}

pub(crate) async fn attach(call: Call) -> Outcome {
    let (mut session, shape) = open(&call).await?;
    let (status, headers) =
        stdio::head(call.upgrades(), stdio::media_type(shape.tty, call.version));
    let takeover: Takeover = Box::new(move |raw: Raw| {
        Box::pin(async move {
            let mut halves = raw.begin(status, &headers).await?;
            session.run(&mut halves, shape).await?;
            halves.end().await
        })
    });
    Ok(Answer::Takeover(takeover))
}

/// Attach over a WebSocket is not spoken.
pub(crate) async fn no_websocket(_: Call) -> Outcome {
    let why = "attach over a WebSocket is not supported: use POST /containers/{name}/attach";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why))
}

/// The head goes out as soon as the waiting has begun: clients start the container after it.
pub(crate) async fn wait(call: Call) -> Outcome {
    let condition = condition(call.text("condition"), call.version)?;
    let name = call.name("name");
    let request = WaitContainerRequest { container: name.clone(), condition: condition.into() };
    let agent = call.agent().await?;
    let ended = agent.containers().await_exit(request).await.absent(|| no_such(&name))?;
    let body = ended.map(|ended| -> Result<Bytes, Broken> {
        let ended = ended.map_err(|status| Broken::from(status.message().to_owned()))?;
        Ok(line(&WaitAnswer::from(ended))?)
    });
    Ok(stream("application/json", body).into())
}

pub(crate) async fn resize(call: Call) -> Outcome {
    let size = terminal_size(call.text("h"), call.text("w"))?;
    let name = call.name("name");
    let agent = call.agent().await?;
    let summary = detail(&agent, &name, false).await?.summary.unwrap_or_default();
    if !matches!(summary.state(), ContainerState::Running | ContainerState::Paused) {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            format!("container {} is not running", summary.id),
        ));
    }
    let open = AttachOpen { container: summary.id, ..AttachOpen::default() };
    let resize = StdioInput { kind: Some(stdio_input::Kind::Resize(size)) };
    let requests = [AttachRequest { kind: Some(attach_request::Kind::Open(open)) }, input(resize)];
    let (send, receive) = mpsc::channel(requests.len());
    for request in requests {
        let _ = send.send(request).await;
    }
    drop(send);
    agent.containers().attach(ReceiverStream::new(receive)).await.absent(|| no_such(&name))?;
    done(StatusCode::OK)
}
