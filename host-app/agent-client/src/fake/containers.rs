//! `Create` knows images, `Exec` is `cat` or `flood N`, `Attach` is `cat`, `Wait` never answers.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        AttachRequest, ContainerLogsRequest, ContainerLogsResponse, ContainerStatsRequest,
        ContainerStatsResponse, CreateContainerRequest, CreateContainerResponse, ExecRequest,
        InspectContainerRequest, InspectContainerResponse, KillContainerRequest,
        KillContainerResponse, ListContainersRequest, ListContainersResponse,
        PauseContainerRequest, PauseContainerResponse, ProcessExited, ProcessStarted,
        PruneContainersRequest, PruneContainersResponse, RemoveContainerRequest,
        RemoveContainerResponse, RenameContainerRequest, RenameContainerResponse,
        ResizeContainerRequest, ResizeContainerResponse, RestartContainerRequest,
        RestartContainerResponse, StartContainerRequest, StartContainerResponse, StdioInput,
        StdioOutput, StopContainerRequest, StopContainerResponse, TopContainerRequest,
        TopContainerResponse, UnpauseContainerRequest, UnpauseContainerResponse,
        UpdateContainerRequest, UpdateContainerResponse, WaitContainerRequest,
        WaitContainerResponse, attach_request, container_service_server::ContainerService,
        exec_request, stdio_input, stdio_output,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{FakeGuest, canned::Answers};

type Output = mpsc::Sender<Result<StdioOutput, Status>>;

const CHUNK: usize = 64 * 1024;

#[async_trait::async_trait]
impl ContainerService for FakeGuest {
    async fn create(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        self.record("Create", &request);
        let request = request.into_inner();
        let image = request.config.map(|config| config.image).unwrap_or_default();
        if !self.0.images.lock().contains(&image) {
            return Err(Failure::new(ErrorCode::NotFound, format!("no such image: `{image}`"))
                .hint("load it with `linkspan load`")
                .evidence(vec!["from the guest".into()])
                .into());
        }
        if request.name == "no-such-user" {
            return Err(Failure::new(ErrorCode::NotFound, "no such user: `nemo`").into());
        }
        let response = CreateContainerResponse {
            id: format!("id-of-{}", request.name),
            name: request.name,
            warnings: Vec::new(),
        };
        Ok(Response::new(response))
    }

    async fn start(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        self.canned("Container.Start", &request)
    }

    async fn stop(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        self.canned("Container.Stop", &request)
    }

    async fn kill(
        &self,
        request: Request<KillContainerRequest>,
    ) -> Result<Response<KillContainerResponse>, Status> {
        self.canned("Container.Kill", &request)
    }

    async fn remove(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        self.canned("Container.Remove", &request)
    }

    async fn list(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        if self.has("Container.List") {
            return self.canned("Container.List", &request);
        }
        self.record("List", &request);
        Ok(Response::new(ListContainersResponse::default()))
    }

    /// Fails with a long tail of evidence.
    async fn inspect(
        &self,
        request: Request<InspectContainerRequest>,
    ) -> Result<Response<InspectContainerResponse>, Status> {
        if self.has("Container.Inspect") {
            return self.canned("Container.Inspect", &request);
        }
        self.record("Inspect", &request);
        let evidence = (0..500)
            .map(|line| format!("line {line} of a serial log, as long as such lines are"))
            .collect();
        Err(Failure::new(ErrorCode::DataCorrupt, "the fake is corrupt").evidence(evidence).into())
    }

    async fn wait(
        &self,
        request: Request<WaitContainerRequest>,
    ) -> Result<Response<WaitContainerResponse>, Status> {
        self.record("Wait", &request);
        self.never().await;
        Ok(Response::new(WaitContainerResponse::default()))
    }

    type AwaitExitStream = Answers<WaitContainerResponse>;
    async fn await_exit(
        &self,
        request: Request<WaitContainerRequest>,
    ) -> Result<Response<Self::AwaitExitStream>, Status> {
        self.canned_stream("Container.AwaitExit", &request)
    }

    async fn resize(
        &self,
        request: Request<ResizeContainerRequest>,
    ) -> Result<Response<ResizeContainerResponse>, Status> {
        self.canned("Container.Resize", &request)
    }

    async fn pause(
        &self,
        request: Request<PauseContainerRequest>,
    ) -> Result<Response<PauseContainerResponse>, Status> {
        self.canned("Container.Pause", &request)
    }

    async fn unpause(
        &self,
        request: Request<UnpauseContainerRequest>,
    ) -> Result<Response<UnpauseContainerResponse>, Status> {
        self.canned("Container.Unpause", &request)
    }

    async fn restart(
        &self,
        request: Request<RestartContainerRequest>,
    ) -> Result<Response<RestartContainerResponse>, Status> {
        self.canned("Container.Restart", &request)
    }

    async fn rename(
        &self,
        request: Request<RenameContainerRequest>,
    ) -> Result<Response<RenameContainerResponse>, Status> {
        self.canned("Container.Rename", &request)
    }

    async fn update(
        &self,
        request: Request<UpdateContainerRequest>,
    ) -> Result<Response<UpdateContainerResponse>, Status> {
        self.canned("Container.Update", &request)
    }

    async fn prune(
        &self,
        request: Request<PruneContainersRequest>,
    ) -> Result<Response<PruneContainersResponse>, Status> {
        self.canned("Container.Prune", &request)
    }

    async fn top(
        &self,
        request: Request<TopContainerRequest>,
    ) -> Result<Response<TopContainerResponse>, Status> {
        self.canned("Container.Top", &request)
    }

    type StatsStream = Answers<ContainerStatsResponse>;
    async fn stats(
        &self,
        request: Request<ContainerStatsRequest>,
    ) -> Result<Response<Self::StatsStream>, Status> {
        self.canned_stream("Container.Stats", &request)
    }

    type LogsStream = Answers<ContainerLogsResponse>;
    async fn logs(
        &self,
        request: Request<ContainerLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.canned_stream("Container.Logs", &request)
    }

    type AttachStream = ReceiverStream<Result<StdioOutput, Status>>;
    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        self.record("Attach", &request);
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap_or_default();
        if !matches!(first.kind, Some(attach_request::Kind::Open(_))) {
            return Err(Status::invalid_argument("attach must begin with `open`"));
        }
        self.hear("Container.Attach", &first)?;
        let (send, output) = mpsc::channel(16);
        let inputs = requests.map(|request| match request?.kind {
            Some(attach_request::Kind::Input(input)) => Ok(input),
            _ => Ok(StdioInput::default()),
        });
        tokio::spawn(cat(inputs, send));
        Ok(Response::new(ReceiverStream::new(output)))
    }

    type ExecStream = ReceiverStream<Result<StdioOutput, Status>>;
    async fn exec(
        &self,
        request: Request<Streaming<ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        self.record("Exec", &request);
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap_or_default();
        self.hear("Container.Exec", &first)?;
        let Some(exec_request::Kind::Open(open)) = first.kind else {
            return Err(Status::invalid_argument("exec must begin with `open`"));
        };
        let (send, output) = mpsc::channel(16);
        let words: Vec<&str> = open.args.iter().map(String::as_str).collect();
        match words[..] {
            ["cat"] => {
                let inputs = requests.map(|request| match request?.kind {
                    Some(exec_request::Kind::Input(input)) => Ok(input),
                    _ => Ok(StdioInput::default()),
                });
                tokio::spawn(cat(inputs, send));
            }
            ["flood", bytes] => {
                let bytes = bytes.parse().map_err(|_| Status::invalid_argument("flood N"))?;
                tokio::spawn(flood(bytes, send));
            }
            _ => {
                return Err(Failure::new(
                    ErrorCode::CommandNotFound,
                    format!("`{}` was not found", open.args.join(" ")),
                )
                .into());
            }
        }
        Ok(Response::new(ReceiverStream::new(output)))
    }
}

fn exited(exit_code: i32) -> Result<StdioOutput, Status> {
    let exited = ProcessExited { exit_code, ..ProcessExited::default() };
    Ok(StdioOutput { kind: Some(stdio_output::Kind::Exited(exited)) })
}

fn stdout(bytes: Bytes) -> Result<StdioOutput, Status> {
    Ok(StdioOutput { kind: Some(stdio_output::Kind::Stdout(bytes)) })
}

fn started() -> Result<StdioOutput, Status> {
    Ok(StdioOutput { kind: Some(stdio_output::Kind::Started(ProcessStarted { pid: 1 })) })
}

/// Ends with 0 after `close_stdin` and with 7 after the client's half-close.
async fn cat(mut inputs: impl Stream<Item = Result<StdioInput, Status>> + Unpin, send: Output) {
    let _ = send.send(started()).await;
    while let Some(Ok(input)) = inputs.next().await {
        match input.kind {
            Some(stdio_input::Kind::Stdin(bytes)) => {
                let _ = send.send(stdout(bytes)).await;
            }
            Some(stdio_input::Kind::CloseStdin(_)) => {
                let _ = send.send(exited(0)).await;
                return;
            }
            _ => {}
        }
    }
    let _ = send.send(exited(7)).await;
}

async fn flood(mut bytes: usize, send: Output) {
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let _ = send.send(started()).await;
    while bytes > 0 {
        let now = bytes.min(CHUNK);
        if send.send(stdout(chunk.slice(..now))).await.is_err() {
            return;
        }
        bytes -= now;
    }
    let _ = send.send(exited(0)).await;
}
