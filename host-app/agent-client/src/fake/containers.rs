//! `Create` knows images, `Exec` is `cat` or `flood N`, `Wait` never answers.

use bytes::Bytes;
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
        RestartContainerRequest, RestartContainerResponse, StartContainerRequest,
        StartContainerResponse, StdioOutput, StopContainerRequest, StopContainerResponse,
        TopContainerRequest, TopContainerResponse, UnpauseContainerRequest,
        UnpauseContainerResponse, UpdateContainerRequest, UpdateContainerResponse,
        WaitContainerRequest, WaitContainerResponse, container_service_server::ContainerService,
        exec_request, stdio_input, stdio_output,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{FakeGuest, not_in_the_fake};

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
        _: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        Err(not_in_the_fake("Start"))
    }

    async fn stop(
        &self,
        _: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        Err(not_in_the_fake("Stop"))
    }

    async fn kill(
        &self,
        _: Request<KillContainerRequest>,
    ) -> Result<Response<KillContainerResponse>, Status> {
        Err(not_in_the_fake("Kill"))
    }

    async fn remove(
        &self,
        _: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        Err(not_in_the_fake("Remove"))
    }

    async fn list(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        self.record("List", &request);
        Ok(Response::new(ListContainersResponse::default()))
    }

    /// Fails with a long tail of evidence.
    async fn inspect(
        &self,
        request: Request<InspectContainerRequest>,
    ) -> Result<Response<InspectContainerResponse>, Status> {
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

    type AwaitExitStream = ReceiverStream<Result<WaitContainerResponse, Status>>;
    async fn await_exit(
        &self,
        _: Request<WaitContainerRequest>,
    ) -> Result<Response<Self::AwaitExitStream>, Status> {
        Err(not_in_the_fake("AwaitExit"))
    }

    async fn pause(
        &self,
        _: Request<PauseContainerRequest>,
    ) -> Result<Response<PauseContainerResponse>, Status> {
        Err(not_in_the_fake("Pause"))
    }

    async fn unpause(
        &self,
        _: Request<UnpauseContainerRequest>,
    ) -> Result<Response<UnpauseContainerResponse>, Status> {
        Err(not_in_the_fake("Unpause"))
    }

    async fn restart(
        &self,
        _: Request<RestartContainerRequest>,
    ) -> Result<Response<RestartContainerResponse>, Status> {
        Err(not_in_the_fake("Restart"))
    }

    async fn rename(
        &self,
        _: Request<RenameContainerRequest>,
    ) -> Result<Response<RenameContainerResponse>, Status> {
        Err(not_in_the_fake("Rename"))
    }

    async fn update(
        &self,
        _: Request<UpdateContainerRequest>,
    ) -> Result<Response<UpdateContainerResponse>, Status> {
        Err(not_in_the_fake("Update"))
    }

    async fn prune(
        &self,
        _: Request<PruneContainersRequest>,
    ) -> Result<Response<PruneContainersResponse>, Status> {
        Err(not_in_the_fake("Prune"))
    }

    async fn top(
        &self,
        _: Request<TopContainerRequest>,
    ) -> Result<Response<TopContainerResponse>, Status> {
        Err(not_in_the_fake("Top"))
    }

    type StatsStream = ReceiverStream<Result<ContainerStatsResponse, Status>>;
    async fn stats(
        &self,
        _: Request<ContainerStatsRequest>,
    ) -> Result<Response<Self::StatsStream>, Status> {
        Err(not_in_the_fake("Stats"))
    }

    type LogsStream = ReceiverStream<Result<ContainerLogsResponse, Status>>;
    async fn logs(
        &self,
        _: Request<ContainerLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        Err(not_in_the_fake("Logs"))
    }

    type AttachStream = ReceiverStream<Result<StdioOutput, Status>>;
    async fn attach(
        &self,
        _: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(not_in_the_fake("Attach"))
    }

    type ExecStream = ReceiverStream<Result<StdioOutput, Status>>;
    async fn exec(
        &self,
        request: Request<Streaming<ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        self.record("Exec", &request);
        let mut requests = request.into_inner();
        let open = match requests.message().await?.and_then(|request| request.kind) {
            Some(exec_request::Kind::Open(open)) => open,
            _ => return Err(Status::invalid_argument("exec must begin with `open`")),
        };
        let (send, output) = mpsc::channel(16);
        let words: Vec<&str> = open.args.iter().map(String::as_str).collect();
        match words[..] {
            ["cat"] => {
                tokio::spawn(cat(requests, send));
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
async fn cat(mut requests: Streaming<ExecRequest>, send: Output) {
    let _ = send.send(started()).await;
    while let Ok(Some(request)) = requests.message().await {
        let Some(exec_request::Kind::Input(input)) = request.kind else { continue };
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
