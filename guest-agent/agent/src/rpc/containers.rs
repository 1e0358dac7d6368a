//! `linkspan.v1.ContainerService`.

use std::{pin::Pin, time::Duration};

use futures::{Stream, stream};
use linkspan_containers::{
    AttachOptions, Attachment, Error, PruneFilters, WaitCondition, filter::Filters, log::Select,
    signal::Signal, state::Exit,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, container_service_server::ContainerService, stdio_input, stdio_output},
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Guest, convert, logs, networks,
    stdio::{self, Abort, Output},
};
use crate::failure::of_container;

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;
type Samples = Pin<Box<dyn Stream<Item = Result<wire::ContainerStatsResponse, Status>> + Send>>;
type Ended = Pin<Box<dyn Stream<Item = Result<wire::WaitContainerResponse, Status>> + Send>>;
type Records = Pin<Box<dyn Stream<Item = Result<wire::ContainerLogsResponse, Status>> + Send>>;

pub(super) fn refuse(error: Error) -> Status {
    of_container(&error).into()
}

fn signal(text: &str, default: Option<Signal>) -> Result<Option<Signal>, Status> {
    if text.is_empty() {
        return Ok(default);
    }
    Signal::parse(text)
        .map(Some)
        .map_err(|why| Failure::new(ErrorCode::InvalidArgument, format!("--signal: {why}")).into())
}

fn no_size() -> Status {
    Failure::new(ErrorCode::InvalidArgument, "a terminal's size is not 0").into()
}

fn missing_open() -> Status {
    Failure::new(ErrorCode::InvalidArgument, "the first message of this call must be `open`").into()
}

#[tonic::async_trait]
impl ContainerService for Face {
    type LogsStream = Records;
    type AttachStream = Output;
    type ExecStream = Output;
    type StatsStream = Samples;

    async fn create(
        &self,
        request: Request<wire::CreateContainerRequest>,
    ) -> Answer<wire::CreateContainerResponse> {
        let request = request.into_inner();
        let config = convert::config(request.config.unwrap_or_default())?;
        if !request.platform.is_empty() {
            self.0.check_platform(&config.image, &[request.platform]).await?;
        }
        let made = self.0.containers.create(&request.name, config).await.map_err(refuse)?;
        Ok(Response::new(wire::CreateContainerResponse {
            id: made.id.to_string(),
            name: made.name,
            warnings: made.warnings,
        }))
    }

    async fn start(
        &self,
        request: Request<wire::StartContainerRequest>,
    ) -> Answer<wire::StartContainerResponse> {
        let begun = self.0.containers.start(&request.into_inner().container).await;
        Ok(Response::new(wire::StartContainerResponse { already: !begun.map_err(refuse)? }))
    }

    async fn stop(
        &self,
        request: Request<wire::StopContainerRequest>,
    ) -> Answer<wire::StopContainerResponse> {
        let request = request.into_inner();
        let signal = signal(&request.signal, None)?;
        let grace = request.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let stopped = self.0.containers.stop(&request.container, signal, grace).await;
        Ok(Response::new(wire::StopContainerResponse { already: !stopped.map_err(refuse)? }))
    }

    async fn kill(
        &self,
        request: Request<wire::KillContainerRequest>,
    ) -> Answer<wire::KillContainerResponse> {
        let request = request.into_inner();
        let signal = signal(&request.signal, Some(Signal::KILL))?.unwrap_or(Signal::KILL);
        self.0.containers.kill(&request.container, signal).await.map_err(refuse)?;
        Ok(Response::new(wire::KillContainerResponse {}))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveContainerRequest>,
    ) -> Answer<wire::RemoveContainerResponse> {
        let request = request.into_inner();
        let wire::RemoveContainerRequest { container, force, volumes } = request;
        let id = self.0.containers.remove(&container, force, volumes).await.map_err(refuse)?;
        Ok(Response::new(wire::RemoveContainerResponse { id: id.to_string() }))
    }

    async fn list(
        &self,
        request: Request<wire::ListContainersRequest>,
    ) -> Answer<wire::ListContainersResponse> {
        let request = request.into_inner();
        let filters = Filters::parse(&request.filters).map_err(refuse)?;
        // Before the list is made. What is measured changes without being counted.
        let revision = if request.size { 0 } else { self.0.containers.revision() };
        if revision != 0 && request.known_revision == revision {
            let answer =
                wire::ListContainersResponse { revision, unchanged: true, ..Default::default() };
            return Ok(Response::new(answer));
        }
        let last = (request.last > 0).then_some(request.last as usize);
        let found = self.0.containers.list(request.all, last, &filters).map_err(refuse)?;
        let mut containers: Vec<_> = found.iter().map(convert::summary).collect();
        if request.size {
            for (summary, container) in containers.iter_mut().zip(&found) {
                summary.size = convert::size(&self.0, container).await;
            }
        }
        let endpoints = if request.endpoints {
            found.iter().flat_map(|one| &one.endpoints).map(networks::endpoint).collect()
        } else {
            Vec::new()
        };
        let answer =
            wire::ListContainersResponse { containers, revision, unchanged: false, endpoints };
        Ok(Response::new(answer))
    }

    async fn inspect(
        &self,
        request: Request<wire::InspectContainerRequest>,
    ) -> Answer<wire::InspectContainerResponse> {
        let request = request.into_inner();
        let found = self.0.containers.inspect(&request.container).map_err(refuse)?;
        let mut detail = convert::detail(&found);
        if let Some(summary) = &mut detail.summary
            && request.size
        {
            summary.size = convert::size(&self.0, &found).await;
        }
        Ok(Response::new(wire::InspectContainerResponse { container: Some(detail) }))
    }

    async fn wait(
        &self,
        request: Request<wire::WaitContainerRequest>,
    ) -> Answer<wire::WaitContainerResponse> {
        let request = request.into_inner();
        let exit = self.0.containers.wait(&request.container, condition(&request)).await;
        Ok(Response::new(ended(exit.map_err(refuse)?)))
    }

    type AwaitExitStream = Ended;
    async fn await_exit(&self, request: Request<wire::WaitContainerRequest>) -> Answer<Ended> {
        let request = request.into_inner();
        let waiting = self.0.containers.waiting(&request.container, condition(&request));
        let waiting = waiting.map_err(refuse)?;
        Ok(Response::new(Box::pin(stream::once(async move { Ok(ended(waiting.await)) }))))
    }

    async fn resize(
        &self,
        request: Request<wire::ResizeContainerRequest>,
    ) -> Answer<wire::ResizeContainerResponse> {
        let wire::ResizeContainerRequest { container, size } = request.into_inner();
        let (rows, columns) = stdio::size(size).ok_or_else(no_size)?;
        self.0.containers.resize(&container, rows, columns).map_err(refuse)?;
        Ok(Response::new(wire::ResizeContainerResponse {}))
    }

    async fn pause(
        &self,
        request: Request<wire::PauseContainerRequest>,
    ) -> Answer<wire::PauseContainerResponse> {
        self.0.containers.pause(&request.into_inner().container).await.map_err(refuse)?;
        Ok(Response::new(wire::PauseContainerResponse {}))
    }

    async fn unpause(
        &self,
        request: Request<wire::UnpauseContainerRequest>,
    ) -> Answer<wire::UnpauseContainerResponse> {
        self.0.containers.unpause(&request.into_inner().container).await.map_err(refuse)?;
        Ok(Response::new(wire::UnpauseContainerResponse {}))
    }

    async fn restart(
        &self,
        request: Request<wire::RestartContainerRequest>,
    ) -> Answer<wire::RestartContainerResponse> {
        let request = request.into_inner();
        let signal = signal(&request.signal, None)?;
        let grace = request.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        self.0.containers.restart(&request.container, signal, grace).await.map_err(refuse)?;
        Ok(Response::new(wire::RestartContainerResponse {}))
    }

    async fn rename(
        &self,
        request: Request<wire::RenameContainerRequest>,
    ) -> Answer<wire::RenameContainerResponse> {
        let request = request.into_inner();
        self.0.containers.rename(&request.container, &request.name).await.map_err(refuse)?;
        Ok(Response::new(wire::RenameContainerResponse {}))
    }

    async fn update(
        &self,
        request: Request<wire::UpdateContainerRequest>,
    ) -> Answer<wire::UpdateContainerResponse> {
        let (container, changes) = convert::changes(request.into_inner()).map_err(refuse)?;
        self.0.containers.update(&container, changes).await.map_err(refuse)?;
        Ok(Response::new(wire::UpdateContainerResponse::default()))
    }

    async fn prune(
        &self,
        request: Request<wire::PruneContainersRequest>,
    ) -> Answer<wire::PruneContainersResponse> {
        let filters = PruneFilters::parse(&request.into_inner().filters).map_err(refuse)?;
        let pruned = self.0.containers.prune(&filters).await;
        Ok(Response::new(wire::PruneContainersResponse {
            ids: pruned.ids.into_iter().map(String::from).collect(),
            reclaimed_bytes: pruned.bytes,
        }))
    }

    async fn top(
        &self,
        request: Request<wire::TopContainerRequest>,
    ) -> Answer<wire::TopContainerResponse> {
        let request = request.into_inner();
        let top = self.0.containers.top(&request.container, &request.ps_args).await;
        let top = top.map_err(refuse)?;
        let processes = top.rows.into_iter().map(|values| wire::TopRow { values }).collect();
        Ok(Response::new(wire::TopContainerResponse { titles: top.titles, processes }))
    }

    async fn stats(&self, request: Request<wire::ContainerStatsRequest>) -> Answer<Samples> {
        let request = request.into_inner();
        let stats = self.0.containers.stats(&request.containers, request.all).map_err(refuse)?;
        Ok(Response::new(Box::pin(stream::unfold(stats, |mut stats| async {
            let containers = stats.next().await.into_iter().map(convert::sample).collect();
            Some((Ok(wire::ContainerStatsResponse { containers }), stats))
        }))))
    }

    async fn logs(&self, request: Request<wire::ContainerLogsRequest>) -> Answer<Records> {
        let request = request.into_inner();
        let select = Select {
            stdout: request.stdout,
            stderr: request.stderr,
            since: convert::bound(request.since_unix_nanos).map_err(refuse)?,
            until: convert::bound(request.until_unix_nanos).map_err(refuse)?,
            tail: request.tail,
        };
        let (container, details) = (request.container, request.details);
        let log = self.0.containers.logs(&container, select, request.follow);
        let log = log.await.map_err(refuse)?;
        Ok(Response::new(Box::pin(stream::unfold(Some(log), move |log| async move {
            let mut log = log?;
            match log.next().await {
                Ok(Some(batch)) => Some((Ok(logs::batch(batch, details)), Some(log))),
                Ok(None) => None,
                Err(error) => Some((Err(refuse(error)), None)),
            }
        }))))
    }

    async fn attach(&self, request: Request<Streaming<wire::AttachRequest>>) -> Answer<Output> {
        let mut requests = request.into_inner();
        let Some(wire::AttachRequest { kind: Some(wire::attach_request::Kind::Open(open)) }) =
            requests.message().await?
        else {
            return Err(missing_open());
        };
        let options = AttachOptions {
            stdin: open.stdin,
            stdout: open.stdout,
            stderr: open.stderr,
            start: open.start,
            logs: open.logs,
            size: stdio::size(open.size),
            next_run: open.next_run,
        };
        let attachment =
            self.0.containers.attach(&open.container, options).await.map_err(refuse)?;
        let feeder = Abort(tokio::spawn(feed(attachment.input(), requests)));
        Ok(Response::new(Box::pin(stream::unfold(Some((attachment, feeder)), |state| async {
            let (mut attachment, feeder): (Attachment, Abort) = state?;
            match attachment.next().await {
                Ok(Some(event)) => Some((Ok(stdio::encode(event)), Some((attachment, feeder)))),
                Ok(None) => None,
                Err(error) => Some((Err(refuse(error)), None)),
            }
        }))))
    }

    async fn exec(&self, request: Request<Streaming<wire::ExecRequest>>) -> Answer<Output> {
        let mut requests = request.into_inner();
        let Some(wire::ExecRequest { kind: Some(wire::exec_request::Kind::Open(open)) }) =
            requests.message().await?
        else {
            return Err(missing_open());
        };
        let (container, config) = convert::exec(open);
        let detach = config.detach;
        let session = self.0.containers.exec(&container, config).await.map_err(refuse)?;
        if detach {
            let started =
                stdio_output::Kind::Started(wire::ProcessStarted { pid: session.control.pid() });
            let output = wire::StdioOutput { kind: Some(started) };
            return Ok(Response::new(Box::pin(stream::iter([Ok(output)]))));
        }
        Ok(Response::new(stdio::serve(session, requests, |request| match request.kind {
            Some(wire::exec_request::Kind::Input(input)) => Some(input),
            _ => None,
        })))
    }
}

fn condition(request: &wire::WaitContainerRequest) -> WaitCondition {
    match request.condition() {
        wire::WaitCondition::NotRunning => WaitCondition::NotRunning,
        wire::WaitCondition::NextExit => WaitCondition::NextExit,
        wire::WaitCondition::Removed => WaitCondition::Removed,
    }
}

fn ended(exit: Option<Exit>) -> wire::WaitContainerResponse {
    exit.map_or_else(Default::default, |exit| wire::WaitContainerResponse {
        exit_code: exit.code,
        oom_killed: exit.oom_killed,
        error: exit.error,
    })
}

/// Gives a container what its client sends.
async fn feed(
    input: linkspan_containers::AttachedInput,
    mut requests: Streaming<wire::AttachRequest>,
) {
    while let Ok(Some(request)) = requests.message().await {
        let Some(wire::attach_request::Kind::Input(message)) = request.kind else { continue };
        let result = match message.kind {
            Some(stdio_input::Kind::Stdin(bytes)) => {
                input.write(bytes).await;
                Ok(())
            }
            Some(stdio_input::Kind::CloseStdin(_)) => {
                input.close_stdin().await;
                Ok(())
            }
            Some(stdio_input::Kind::Resize(wanted)) => match stdio::size(Some(wanted)) {
                Some((rows, columns)) => input.resize(rows, columns),
                None => Ok(()),
            },
            Some(stdio_input::Kind::Signal(number)) => match Signal::from_number(number) {
                Some(signal) => input.signal(signal),
                None => Ok(()),
            },
            None => Ok(()),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a request of a client had no effect");
        }
    }
}
