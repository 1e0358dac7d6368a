//! A daemon that the real `linkspan` program talks to, and whose containers are a few words:
//! `cat`, `flood N`, `both`, `exit N`, `sleep`, `absent`, `vanish`.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use linkspan_agent_client::fake::FakeGuest;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::host::v1::{host_service_server::*, machine_service_server::*, *};
use linkspan_proto::v1::{
    container_service_server::*, image_service_server::*, registry_service_server::*, *,
};
use linkspan_transport::local;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

pub const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

type Out = Result<StdioOutput, Status>;
type Outputs = ReceiverStream<Out>;

/// The fake, as its services share it.
#[derive(Clone)]
pub struct Fake {
    /// The calls so far.
    pub calls: Arc<Mutex<Vec<String>>>,
    /// Its images, and its registries.
    pub guest: FakeGuest,
    config: Arc<Mutex<ContainerConfig>>,
    signal: Arc<watch::Sender<u32>>,
    before: Before,
}

/// What the machine does before the first command.
#[derive(Clone, Copy, PartialEq)]
pub enum Before {
    Runs,
    Stopped,
    /// It runs since before the daemon, which asks whether it is well.
    Adopted,
}

pub struct Daemon {
    pub fake: Fake,
    pub home: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Daemon {
    pub fn start() -> Self {
        Self::with(Before::Runs)
    }

    pub fn with(before: Before) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let paths = linkspan_state::Paths::at(home.path()).expect("a state folder");
        let fake = Fake {
            calls: Arc::default(),
            guest: FakeGuest::default(),
            config: Arc::default(),
            signal: Arc::new(watch::channel(0).0),
            before,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let guard = runtime.enter();
        let mut listener = local::Listener::bind(&paths.daemon_socket()).expect("a socket");
        drop(guard);
        let (accepted, incoming) = mpsc::channel(16);
        runtime.spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                // tonic serves what it knows; a pipe in between is known.
                let (near, mut far) = tokio::io::duplex(1 << 20);
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut far).await;
                });
                if accepted.send(Ok::<_, std::io::Error>(near)).await.is_err() {
                    break;
                }
            }
        });
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .add_service(HostServiceServer::new(fake.clone()))
            .add_service(MachineServiceServer::new(fake.clone()))
            .add_service(ContainerServiceServer::new(fake.clone()))
            .add_service(ImageServiceServer::new(fake.guest.clone()))
            .add_service(RegistryServiceServer::new(fake.guest.clone()))
            .serve_with_incoming(ReceiverStream::new(incoming));
        runtime.spawn(server);
        Self { fake, home, runtime: Some(runtime) }
    }

    /// `linkspan ARGS`, with pipes.
    pub fn linkspan(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linkspan"));
        command
            .args(args)
            .env("LINKSPAN_HOME", self.home.path())
            .env("DOCKER_CONFIG", self.docker_config())
            .env_remove("LINKSPAN_LOG")
            .env_remove("LINKSPAN_MACHINE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Ends at once, in the middle of everything.
    pub fn vanish(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the program keeps and finds credentials.
    pub fn docker_config(&self) -> std::path::PathBuf {
        self.home.path().join("docker")
    }

    pub fn calls(&self) -> Vec<String> {
        self.fake.calls.lock().expect("not poisoned").clone()
    }
}

/// Waits until something holds.
///
/// # Panics
/// When it does not in time.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that differ from their neighbours, ends of line and of file among them.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

impl Fake {
    fn called(&self, what: impl Into<String>) {
        self.calls.lock().expect("not poisoned").push(what.into());
    }

    /// Plays the container's part.
    async fn play(
        self,
        words: Vec<String>,
        send: mpsc::Sender<Out>,
        mut inputs: mpsc::Receiver<StdioInput>,
    ) {
        let out = |kind| Ok(StdioOutput { kind: Some(kind) });
        let stdout = |bytes: Vec<u8>| out(stdio_output::Kind::Stdout(bytes.into()));
        let exited = |exit_code| {
            out(stdio_output::Kind::Exited(ProcessExited { exit_code, ..Default::default() }))
        };
        let _ = send.send(out(stdio_output::Kind::Started(ProcessStarted { pid: 7 }))).await;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["cat"] => {
                while let Some(input) = inputs.recv().await {
                    match input.kind {
                        Some(stdio_input::Kind::Stdin(bytes)) => {
                            let _ = send.send(stdout(bytes.to_vec())).await;
                        }
                        Some(stdio_input::Kind::CloseStdin(_)) => break,
                        Some(stdio_input::Kind::Resize(size)) => {
                            self.called(format!("resize {}x{}", size.columns, size.rows));
                        }
                        _ => {}
                    }
                }
                let _ = send.send(exited(0)).await;
            }
            ["flood", bytes] => {
                let data = noise(bytes.parse().expect("a number"));
                for chunk in data.chunks(128 * 1024) {
                    if send.send(stdout(chunk.to_vec())).await.is_err() {
                        return;
                    }
                }
                let _ = send.send(exited(0)).await;
            }
            ["both"] => {
                let _ = send.send(stdout(b"to stdout\n".to_vec())).await;
                let error = stdio_output::Kind::Stderr(b"to stderr\n"[..].into());
                let _ = send.send(out(error)).await;
                let _ = send.send(exited(0)).await;
            }
            ["exit", code] => {
                let _ = send.send(exited(code.parse().expect("a number"))).await;
            }
            ["sleep"] => {
                let mut signal = self.signal.subscribe();
                let _ = send.send(stdout(b"asleep\n".to_vec())).await;
                let got = signal.wait_for(|signal| *signal != 0).await.map(|signal| *signal);
                if let Ok(got) = got {
                    let _ = send.send(exited(128 + i32::try_from(got).unwrap_or(0))).await;
                }
            }
            ["vanish"] => {}
            other => {
                let failure = Failure::new(
                    ErrorCode::CommandNotFound,
                    format!("cannot run `{}`: it was not found", other.join(" ")),
                );
                let _ = send.send(Err(failure.into())).await;
            }
        }
    }
}

fn unused(method: &str) -> Status {
    Status::unimplemented(format!("the fake has no {method}"))
}

#[async_trait]
impl HostService for Fake {
    async fn hello(
        &self,
        _: Request<HostHelloRequest>,
    ) -> Result<Response<HostHelloResponse>, Status> {
        self.called("hello");
        Ok(Response::new(HostHelloResponse {
            protocol_version: linkspan_proto::PROTOCOL_VERSION,
            version: "0.0.0-fake".into(),
            pid: 1,
        }))
    }
    async fn info(
        &self,
        _: Request<HostInfoRequest>,
    ) -> Result<Response<HostInfoResponse>, Status> {
        Err(unused("Info"))
    }
    async fn ports(
        &self,
        _: Request<HostPortsRequest>,
    ) -> Result<Response<HostPortsResponse>, Status> {
        Err(unused("Ports"))
    }
    async fn registry_settings(
        &self,
        _: Request<RegistrySettingsRequest>,
    ) -> Result<Response<RegistrySettingsResponse>, Status> {
        let mirror =
            RegistryMirrorSetting { url: "https://mirror.example".into(), authoritative: true };
        let settings = RegistrySettings { mirrors: vec![mirror], ..Default::default() };
        Ok(Response::new(RegistrySettingsResponse { settings: Some(settings) }))
    }
    async fn update_registry_settings(
        &self,
        request: Request<UpdateRegistrySettingsRequest>,
    ) -> Result<Response<UpdateRegistrySettingsResponse>, Status> {
        let patch = request.into_inner().patch.unwrap_or_default();
        self.called(format!("{patch:?}"));
        Ok(Response::new(UpdateRegistrySettingsResponse::default()))
    }
    async fn shutdown(
        &self,
        _: Request<HostShutdownRequest>,
    ) -> Result<Response<HostShutdownResponse>, Status> {
        Err(unused("Shutdown"))
    }
}

#[async_trait]
impl MachineService for Fake {
    type StartStream = ReceiverStream<Result<StartMachineResponse, Status>>;
    type WatchStream = ReceiverStream<Result<WatchMachineResponse, Status>>;
    type SerialLogStream = ReceiverStream<Result<SerialLogResponse, Status>>;

    async fn start(
        &self,
        _: Request<StartMachineRequest>,
    ) -> Result<Response<Self::StartStream>, Status> {
        self.called("machine start");
        let phase = |state: PhaseState, duration_us| PhaseStatus {
            name: "kernel".into(),
            state: state.into(),
            duration_us,
            budget_us: 5_000_000,
        };
        let machine = |state: MachineState, phase| Machine {
            name: "default".into(),
            state: state.into(),
            phases: vec![phase],
            ..Machine::default()
        };
        let mut answers = Vec::new();
        if self.before != Before::Runs {
            let adopting = self.before == Before::Adopted;
            let starting = machine(MachineState::Starting, phase(PhaseState::Running, 0));
            answers.push(StartMachineResponse {
                machine: Some(Machine { adopting, ..starting }),
                notice: if adopting { "" } else { "no hardware acceleration here" }.into(),
            });
        }
        let running = machine(MachineState::Running, phase(PhaseState::Done, 840_000));
        answers.push(StartMachineResponse { machine: Some(running), notice: String::new() });
        let (send, receive) = mpsc::channel(4);
        for answer in answers {
            let _ = send.try_send(Ok(answer));
        }
        Ok(Response::new(ReceiverStream::new(receive)))
    }
    async fn create(
        &self,
        _: Request<CreateMachineRequest>,
    ) -> Result<Response<CreateMachineResponse>, Status> {
        Err(unused("Create"))
    }
    async fn stop(
        &self,
        _: Request<StopMachineRequest>,
    ) -> Result<Response<StopMachineResponse>, Status> {
        Err(unused("Stop"))
    }
    async fn list(
        &self,
        _: Request<ListMachinesRequest>,
    ) -> Result<Response<ListMachinesResponse>, Status> {
        Err(unused("List"))
    }
    async fn inspect(
        &self,
        _: Request<InspectMachineRequest>,
    ) -> Result<Response<InspectMachineResponse>, Status> {
        Err(unused("Inspect"))
    }
    async fn update(
        &self,
        _: Request<UpdateMachineRequest>,
    ) -> Result<Response<UpdateMachineResponse>, Status> {
        Err(unused("Update"))
    }
    async fn remove(
        &self,
        _: Request<RemoveMachineRequest>,
    ) -> Result<Response<RemoveMachineResponse>, Status> {
        Err(unused("Remove"))
    }
    async fn watch(
        &self,
        _: Request<WatchMachineRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(unused("Watch"))
    }
    async fn serial_log(
        &self,
        _: Request<SerialLogRequest>,
    ) -> Result<Response<Self::SerialLogStream>, Status> {
        Err(unused("SerialLog"))
    }
}

#[async_trait]
impl ContainerService for Fake {
    type LogsStream = ReceiverStream<Result<ContainerLogsResponse, Status>>;
    type AttachStream = Outputs;
    type ExecStream = Outputs;

    async fn resize(
        &self,
        _: Request<ResizeContainerRequest>,
    ) -> Result<Response<ResizeContainerResponse>, Status> {
        Err(unused("Resize"))
    }

    async fn pause(
        &self,
        _: Request<PauseContainerRequest>,
    ) -> Result<Response<PauseContainerResponse>, Status> {
        Err(unused("Pause"))
    }

    async fn unpause(
        &self,
        _: Request<UnpauseContainerRequest>,
    ) -> Result<Response<UnpauseContainerResponse>, Status> {
        Err(unused("Unpause"))
    }

    async fn restart(
        &self,
        _: Request<RestartContainerRequest>,
    ) -> Result<Response<RestartContainerResponse>, Status> {
        Err(unused("Restart"))
    }

    async fn rename(
        &self,
        _: Request<RenameContainerRequest>,
    ) -> Result<Response<RenameContainerResponse>, Status> {
        Err(unused("Rename"))
    }

    async fn update(
        &self,
        _: Request<UpdateContainerRequest>,
    ) -> Result<Response<UpdateContainerResponse>, Status> {
        Err(unused("Update"))
    }

    async fn prune(
        &self,
        _: Request<PruneContainersRequest>,
    ) -> Result<Response<PruneContainersResponse>, Status> {
        Err(unused("Prune"))
    }

    async fn top(
        &self,
        _: Request<TopContainerRequest>,
    ) -> Result<Response<TopContainerResponse>, Status> {
        Err(unused("Top"))
    }

    type StatsStream = ReceiverStream<Result<ContainerStatsResponse, Status>>;
    async fn stats(
        &self,
        _: Request<ContainerStatsRequest>,
    ) -> Result<Response<Self::StatsStream>, Status> {
        Err(unused("Stats"))
    }

    async fn create(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        self.called("create");
        let config = request.into_inner().config.unwrap_or_default();
        let pulled = self.guest.registry_requests().calls.iter().any(|call| call.method == "Pull");
        if config.image == "missing" && !pulled {
            let failure = Failure::new(ErrorCode::NotFound, "no such image: `missing`")
                .hint("list them with `linkspan images`");
            return Err(failure.into());
        }
        *self.config.lock().expect("not poisoned") = config;
        Ok(Response::new(CreateContainerResponse { id: ID.into(), ..Default::default() }))
    }
    async fn start(
        &self,
        _: Request<StartContainerRequest>,
    ) -> Result<Response<StartContainerResponse>, Status> {
        self.called("start");
        Ok(Response::new(StartContainerResponse::default()))
    }
    async fn kill(
        &self,
        request: Request<KillContainerRequest>,
    ) -> Result<Response<KillContainerResponse>, Status> {
        let request = request.into_inner();
        self.called(format!("kill {}", request.signal));
        let _ = self.signal.send(request.signal.parse().unwrap_or(9));
        Ok(Response::new(KillContainerResponse {}))
    }
    async fn wait(
        &self,
        _: Request<WaitContainerRequest>,
    ) -> Result<Response<WaitContainerResponse>, Status> {
        self.called("wait");
        Err(Failure::new(ErrorCode::NotFound, "it has gone").into())
    }
    type AwaitExitStream = ReceiverStream<Result<WaitContainerResponse, Status>>;
    async fn await_exit(
        &self,
        _: Request<WaitContainerRequest>,
    ) -> Result<Response<Self::AwaitExitStream>, Status> {
        Err(Status::unimplemented("only the Docker face awaits"))
    }
    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        self.called("attach");
        let mut requests = request.into_inner();
        let Some(Ok(AttachRequest { kind: Some(attach_request::Kind::Open(open)) })) =
            requests.next().await
        else {
            return Err(Status::invalid_argument("`open` comes first"));
        };
        assert!(open.start, "`run` starts what it attaches to");
        let (send, receive) = mpsc::channel(4);
        let (inputs, input) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let Some(attach_request::Kind::Input(one)) = request.kind else { continue };
                if inputs.send(one).await.is_err() {
                    break;
                }
            }
        });
        let words = self.config.lock().expect("not poisoned").command.clone();
        tokio::spawn(self.clone().play(words, send, input));
        Ok(Response::new(ReceiverStream::new(receive)))
    }
    async fn exec(
        &self,
        request: Request<Streaming<ExecRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        self.called("exec");
        let mut requests = request.into_inner();
        let Some(Ok(ExecRequest { kind: Some(exec_request::Kind::Open(open)) })) =
            requests.next().await
        else {
            return Err(Status::invalid_argument("`open` comes first"));
        };
        let (send, receive) = mpsc::channel(4);
        let (inputs, input) = mpsc::channel(4);
        let fake = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                let Some(exec_request::Kind::Input(one)) = request.kind else { continue };
                if let Some(stdio_input::Kind::Signal(signal)) = one.kind {
                    fake.called(format!("signal {signal}"));
                    let _ = fake.signal.send(signal);
                } else if inputs.send(one).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(self.clone().play(open.args, send, input));
        Ok(Response::new(ReceiverStream::new(receive)))
    }
    async fn list(
        &self,
        _: Request<ListContainersRequest>,
    ) -> Result<Response<ListContainersResponse>, Status> {
        let one = ContainerSummary {
            id: ID.into(),
            name: "web".into(),
            state: ContainerState::Created.into(),
            ..Default::default()
        };
        Ok(Response::new(ListContainersResponse { containers: vec![one], ..Default::default() }))
    }
    async fn logs(
        &self,
        _: Request<ContainerLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let record = |stream: LogStream, line: &'static [u8]| LogRecord {
            unix_nanos: 1,
            stream: stream.into(),
            line: line.into(),
            ..LogRecord::default()
        };
        let records =
            vec![record(LogStream::Stdout, b"one\n"), record(LogStream::Stderr, b"two\n")];
        let (send, receive) = mpsc::channel(1);
        let _ = send.try_send(Ok(ContainerLogsResponse { records, lost_files: 0 }));
        Ok(Response::new(ReceiverStream::new(receive)))
    }
    async fn stop(
        &self,
        request: Request<StopContainerRequest>,
    ) -> Result<Response<StopContainerResponse>, Status> {
        match request.into_inner().container.as_str() {
            "web" => Ok(Response::new(StopContainerResponse::default())),
            other => {
                Err(Failure::new(ErrorCode::NotFound, format!("no such container: `{other}`"))
                    .into())
            }
        }
    }
    async fn remove(
        &self,
        _: Request<RemoveContainerRequest>,
    ) -> Result<Response<RemoveContainerResponse>, Status> {
        Err(unused("Remove"))
    }
    async fn inspect(
        &self,
        _: Request<InspectContainerRequest>,
    ) -> Result<Response<InspectContainerResponse>, Status> {
        Err(unused("Inspect"))
    }
}
