//! `/containers/{name}/exec` and `/exec`.

use std::sync::Arc;

use http::StatusCode;
use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::{
    container::{
        answers::{Id, terminal_size},
        exec::{ExecCreateBody, ExecInspect, ExecStartBody},
    },
    stdio::Stream,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{ContainerState, ExecOpen, ExecRequest, StdioOutput, exec_request, stdio_output},
};
use tokio::{io::AsyncWriteExt as _, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::Instrument as _;

use super::{
    Api,
    answer::{Answer, Outcome, Refusal, created, done, ok},
    call::Call,
    containers::{
        cannot_run, detail,
        streams::{IN_FLIGHT, detach_keys},
    },
    execs::{Exec, ExecState, NotStarted, input},
    hijack::{Raw, Takeover},
    stdio::{self, Ended, Session, Shape},
};

fn no_such(id: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("No such exec instance: {id}"))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let mut config: ExecCreateBody = call.json().await?;
    config.check()?;
    config.console_size = config.console_size.filter(|_| !call.version.before(42));
    let agent = call.agent().await?;
    let found = detail(&agent, &call.name("name"), false).await?.summary.unwrap_or_default();
    let id = &found.id;
    let conflict = |message| Err(Refusal::new(StatusCode::CONFLICT, message));
    match found.state() {
        ContainerState::Running => {}
        ContainerState::Paused => {
            return conflict(format!(
                "container {id} is paused, unpause the container before exec"
            ));
        }
        ContainerState::Restarting => {
            return conflict(format!(
                "container {id} is restarting, wait until the container is running"
            ));
        }
        _ => return conflict(format!("container {id} is not running")),
    }
    created(&Id { id: call.api.execs.create(found.id, config) })
}

pub(super) async fn inspect(call: Call) -> Outcome {
    let id = call.name("id");
    let exec = call.api.execs.get(&id).ok_or_else(|| no_such(&id))?;
    let (pid, exit_code) = match exec.state {
        ExecState::Created => (None, None),
        ExecState::Running { pid, .. } => (Some(pid), None),
        ExecState::Ended { exit_code } => (None, Some(exit_code)),
    };
    ok(&ExecInspect::new(&exec.id, &exec.container, &exec.config, pid, exit_code))
}

pub(super) async fn resize(call: Call) -> Outcome {
    let id = call.name("id");
    let size = terminal_size(call.text("h"), call.text("w"))?;
    let exec = call.api.execs.get(&id).ok_or_else(|| no_such(&id))?;
    if !exec.resize(size).await {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("exec {id} is not running")));
    }
    done(StatusCode::OK)
}

pub(super) async fn start(mut call: Call) -> Outcome {
    let id = call.name("id");
    let mut wanted: ExecStartBody = call.json_or_default().await?;
    let sized = wanted.tty && !call.version.before(42);
    wanted.console_size = wanted.console_size.filter(|_| sized);
    let agent = call.agent().await?;
    let exec = call.api.execs.start(&id).map_err(|why| match why {
        NotStarted::Unknown => no_such(&id),
        NotStarted::Before => {
            Refusal::new(StatusCode::CONFLICT, format!("Error: Exec command {id} has already run"))
        }
    })?;
    let running = Running { api: call.api.clone(), exec };
    let config = running.exec.config.clone();
    let detach = config.tty.then(|| detach_keys(&config.detach_keys)).transpose()?;
    let shape = Shape {
        // As the one who starts it says, who may be another than who made it.
        raw: wanted.tty,
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        detach,
    };
    if wanted.detach {
        let session = running.open(&agent, &wanted).await?;
        tokio::spawn(running.watch(session).in_current_span());
        return done(StatusCode::OK);
    }
    let (status, headers) =
        stdio::head(call.upgrades(), stdio::media_type(shape.raw, call.version));
    let takeover: Takeover = Box::new(move |raw: Raw| {
        Box::pin(async move {
            // The head first, as Docker sends it: docker-py loses output that comes with it.
            let mut halves = raw.begin(status, &headers).await?;
            let opened = running.open(&agent, &wanted).await;
            match opened {
                Ok(session) => running.run(session, &mut halves, shape).await,
                // The client has been promised a stream: the reason is what it shows.
                Err(refusal) => {
                    let text = format!("{}\r\n", refusal.message);
                    for part in stdio::framed(shape.raw, Stream::Stdout, text.into()) {
                        halves.to_client.write_all(&part).await?;
                    }
                }
            }
            halves.end().await
        })
    });
    Ok(Answer::Takeover(takeover))
}

/// An exec that was claimed for its start. It has ended when this is dropped.
struct Running {
    api: Arc<Api>,
    exec: Exec,
}

impl Drop for Running {
    fn drop(&mut self) {
        let state = self.api.execs.get(&self.exec.id).map(|exec| exec.state);
        if matches!(state, Some(ExecState::Running { .. })) {
            // The machine has gone: nobody knows how it ended.
            self.ended(137);
        }
    }
}

impl Running {
    fn ended(&self, exit_code: i32) {
        self.api.execs.set(&self.exec.id, ExecState::Ended { exit_code });
    }

    /// Starts the process. On a failure the exec has ended, with the code that Docker gives.
    async fn open(
        &self,
        agent: &AgentChannel,
        wanted: &ExecStartBody,
    ) -> Result<Session<ExecRequest>, Refusal> {
        let open = self.exec.config.open(&self.exec.container, wanted);
        // Its end is of interest, also when its output is not.
        let open = ExecOpen { detach: false, ..open };
        let (send, receive) = mpsc::channel(IN_FLIGHT);
        let first = ExecRequest { kind: Some(exec_request::Kind::Open(open)) };
        // The receiver is in this function, so this cannot fail.
        let _ = send.send(first).await;
        let refused = |status: tonic::Status| {
            let failure = Failure::from(status);
            self.ended(exit_code(&failure));
            not_started(failure)
        };
        let answer = agent.containers().exec(ReceiverStream::new(receive)).await;
        let mut output = answer.map_err(refused)?.into_inner();
        let pid = started(&mut output).await.map_err(refused)?;
        self.api.execs.set(&self.exec.id, ExecState::Running { pid, input: Some(send.clone()) });
        Ok(Session { input: send, encode: input, output })
    }

    /// Until it ends. A process whose client leaves runs on.
    async fn run(
        self,
        mut session: Session<ExecRequest>,
        halves: &mut super::hijack::Halves,
        shape: Shape,
    ) {
        match session.run(halves, shape).await {
            Ok(Ended::Exited(exited)) => self.ended(exited.exit_code),
            Ok(Ended::Lost) => {}
            Ok(Ended::Detached) | Err(_) => {
                tokio::spawn(self.watch(session).in_current_span());
            }
        }
    }

    /// Lets a detached process run to its end.
    async fn watch(self, mut session: Session<ExecRequest>) {
        while let Ok(Some(message)) = session.output.message().await {
            if let Some(stdio_output::Kind::Exited(exited)) = message.kind {
                self.ended(exited.exit_code);
            }
        }
    }
}

/// Of an exec that did not start: 127 when there is no such program, else 126, also of an unknown
/// user or a missing working directory (moby's `ContainerExecStart`).
fn exit_code(failure: &Failure) -> i32 {
    let of_folder = failure.message.contains("working directory");
    if failure.code == ErrorCode::CommandNotFound && !of_folder { 127 } else { 126 }
}

/// In the words that Docker's runtime uses of a program that cannot be run.
fn not_started(failure: Failure) -> Refusal {
    let of_command = cannot_run(&failure);
    let mut refusal = Refusal::from(failure);
    if of_command {
        refusal.message = format!(
            "OCI runtime exec failed: exec failed: unable to start container process: {}: unknown",
            refusal.message
        );
    }
    refusal
}

/// The first message says that it runs.
async fn started(output: &mut Streaming<StdioOutput>) -> Result<u32, tonic::Status> {
    match output.message().await?.and_then(|message| message.kind) {
        Some(stdio_output::Kind::Started(started)) => Ok(started.pid),
        _ => Err(tonic::Status::internal("the agent does not say that the process runs")),
    }
}
