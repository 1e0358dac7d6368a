//! A guest without a VM: an agent that answers over in-memory pipes. It runs nothing; what it
//! answers is what the crates above need to be tested against.

mod builds;
mod canned;
mod containers;
mod images;
mod registry;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    ports,
    preface::{self, Preface},
    v1::{
        AgentLogRecord, AgentLogsRequest, HelloRequest, HelloResponse, PingRequest, PingResponse,
        PowerOffRequest, PowerOffResponse, ShellRequest, StdioOutput, UsageRequest, UsageResponse,
        agent_service_server::{AgentService, AgentServiceServer},
        build_service_server::BuildServiceServer,
        container_service_server::ContainerServiceServer,
        event_service_server::EventServiceServer,
        file_service_server::FileServiceServer,
        image_service_server::ImageServiceServer,
        network_service_server::NetworkServiceServer,
        registry_service_server::RegistryServiceServer,
        system_service_server::SystemServiceServer,
        volume_service_server::VolumeServiceServer,
    },
};
use linkspan_transport::{BoxStream, Dial};
use parking_lot::Mutex;
pub use registry::{RegistryRequest, RegistryRequests};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream},
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Server};

/// A guest: hand it out as a [`Dial`], and look at what reached it.
#[derive(Clone)]
pub struct FakeGuest(Arc<State>);

struct State {
    hello: Mutex<HelloResponse>,
    /// Accepts connections but never answers Hello.
    silent: AtomicBool,
    /// Nothing listens.
    down: AtomicBool,
    power: watch::Sender<bool>,
    hellos: AtomicUsize,
    cancelled: AtomicUsize,
    calls: Mutex<Vec<(String, BTreeMap<String, String>)>>,
    images: Mutex<BTreeSet<String>>,
    canned: Mutex<HashMap<&'static str, canned::Canned>>,
    asked: Mutex<Vec<(&'static str, Vec<u8>)>>,
    held: Mutex<BTreeSet<&'static str>>,
    content: Mutex<Vec<u8>>,
    registry: Mutex<RegistryRequests>,
    streams: Mutex<HashMap<[u8; 16], BoxStream>>,
    arrivals: watch::Sender<u64>,
    connections: Mutex<CancellationToken>,
}

impl Default for FakeGuest {
    fn default() -> Self {
        let hello = HelloResponse {
            protocol_version: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            kernel_release: "6.12.0-fake".into(),
            boot_id: "first".into(),
            ..HelloResponse::default()
        };
        Self(Arc::new(State {
            hello: Mutex::new(hello),
            silent: AtomicBool::default(),
            down: AtomicBool::default(),
            power: watch::Sender::new(true),
            hellos: AtomicUsize::default(),
            cancelled: AtomicUsize::default(),
            calls: Mutex::default(),
            images: Mutex::default(),
            canned: Mutex::default(),
            asked: Mutex::default(),
            held: Mutex::default(),
            content: Mutex::default(),
            registry: Mutex::default(),
            streams: Mutex::default(),
            arrivals: watch::Sender::new(0),
            connections: Mutex::default(),
        }))
    }
}

impl FakeGuest {
    /// Changes what the agent says of itself.
    pub fn set_hello(&self, change: impl FnOnce(&mut HelloResponse)) {
        change(&mut self.0.hello.lock());
    }

    /// Whether the agent keeps callers waiting for its Hello for ever.
    pub fn set_silent(&self, silent: bool) {
        self.0.silent.store(silent, Ordering::SeqCst);
    }

    /// Whether connections are refused.
    pub fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    /// Breaks every connection, as a reset of the VM does.
    pub fn break_connections(&self) {
        std::mem::take(&mut *self.0.connections.lock()).cancel();
    }

    /// How many Hellos were said.
    #[must_use]
    pub fn hellos(&self) -> usize {
        self.0.hellos.load(Ordering::SeqCst)
    }

    /// How many never-ending calls the guest saw cancelled.
    #[must_use]
    pub fn cancelled(&self) -> usize {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// The metadata of the calls of `method` (its last path segment), in their order.
    #[must_use]
    pub fn calls(&self, method: &str) -> Vec<BTreeMap<String, String>> {
        let calls = self.0.calls.lock();
        calls.iter().filter(|(name, _)| name == method).map(|(_, keys)| keys.clone()).collect()
    }

    /// Makes an image known to `Create`.
    pub fn add_image(&self, reference: &str) {
        self.0.images.lock().insert(reference.into());
    }

    /// What the registry calls asked for so far.
    #[must_use]
    pub fn registry_requests(&self) -> RegistryRequests {
        self.0.registry.lock().clone()
    }

    /// False once `PowerOff` was called.
    #[must_use]
    pub fn power(&self) -> watch::Receiver<bool> {
        self.0.power.subscribe()
    }

    /// Switches the guest on again, with another boot id.
    pub fn boot(&self, boot_id: &str) {
        self.set_hello(|hello| hello.boot_id = boot_id.into());
        self.set_down(false);
        self.0.power.send_replace(true);
    }

    fn record<T>(&self, method: &str, request: &Request<T>) {
        let keys = request.metadata().clone().into_headers();
        let keys = keys
            .iter()
            .map(|(key, value)| (key.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        self.0.calls.lock().push((method.into(), keys));
    }

    /// Resolves never; counts when its caller goes away.
    async fn never(&self) {
        let _guard = CountOnDrop(self.0.clone());
        std::future::pending::<()>().await;
    }

    fn serve_rpc(&self, stream: DuplexStream) {
        let (tell, incoming) = mpsc::unbounded_channel();
        // The receiver is here, so this cannot fail.
        let _ = tell.send(Ok::<_, io::Error>(stream));
        let server = Server::builder()
            .initial_stream_window_size(8 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .add_service(AgentServiceServer::new(self.clone()))
            .add_service(BuildServiceServer::new(self.clone()))
            .add_service(ContainerServiceServer::new(self.clone()))
            .add_service(ImageServiceServer::new(self.clone()))
            .add_service(EventServiceServer::new(self.clone()))
            .add_service(FileServiceServer::new(self.clone()))
            .add_service(NetworkServiceServer::new(self.clone()))
            .add_service(RegistryServiceServer::new(self.clone()))
            .add_service(SystemServiceServer::new(self.clone()))
            .add_service(VolumeServiceServer::new(self.clone()))
            .serve_with_incoming(UnboundedReceiverStream::new(incoming));
        let broken = self.0.connections.lock().clone();
        tokio::spawn(async move {
            let _keep_accepting = tell;
            tokio::select! {
                _ = server => {}
                () = broken.cancelled() => {}
            }
        });
    }

    fn serve_stream(&self, mut stream: BoxStream) {
        let guest = self.clone();
        tokio::spawn(async move {
            let mut head = [0; preface::LEN];
            if stream.read_exact(&mut head).await.is_ok()
                && let Ok(preface) = Preface::decode(&head)
            {
                guest.0.streams.lock().insert(preface.id, stream);
                guest.0.arrivals.send_modify(|count| *count += 1);
            }
        });
    }
}

#[async_trait::async_trait]
impl Dial for FakeGuest {
    async fn dial(&self, port: u32) -> io::Result<BoxStream> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(1024 * 1024);
        self.connected(port, Box::pin(far))?;
        Ok(Box::pin(near))
    }
}

impl FakeGuest {
    /// Serves a connection that arrived at one of the guest's ports.
    ///
    /// # Errors
    /// `ConnectionRefused` when nothing listens on that port.
    pub fn connected(&self, port: u32, mut stream: BoxStream) -> io::Result<()> {
        match port {
            ports::AGENT_RPC => {
                // A pipe that is cut when the "VM" is reset.
                let (inside, mut outside) = tokio::io::duplex(1024 * 1024);
                self.serve_rpc(inside);
                let broken = self.0.connections.lock().clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut stream, &mut outside) => {}
                        () = broken.cancelled() => {}
                    }
                });
            }
            ports::AGENT_STREAMS => self.serve_stream(stream),
            _ => return Err(io::ErrorKind::ConnectionRefused.into()),
        }
        Ok(())
    }
}

struct CountOnDrop(Arc<State>);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

fn not_in_the_fake(method: &str) -> Status {
    Failure::new(ErrorCode::Unsupported, format!("the fake agent has no `{method}`")).into()
}

#[async_trait::async_trait]
impl AgentService for FakeGuest {
    async fn hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloResponse>, Status> {
        self.record("Hello", &request);
        if self.0.silent.load(Ordering::SeqCst) {
            self.never().await;
        }
        self.0.hellos.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(self.0.hello.lock().clone()))
    }

    async fn power_off(
        &self,
        request: Request<PowerOffRequest>,
    ) -> Result<Response<PowerOffResponse>, Status> {
        self.record("PowerOff", &request);
        let guest = self.clone();
        tokio::spawn(async move {
            // After the answer, as the real one does.
            tokio::time::sleep(Duration::from_millis(20)).await;
            guest.set_down(true);
            guest.break_connections();
            guest.0.power.send_replace(false);
        });
        Ok(Response::new(PowerOffResponse::default()))
    }

    type ShellStream = ReceiverStream<Result<StdioOutput, Status>>;
    async fn shell(
        &self,
        _: Request<tonic::Streaming<ShellRequest>>,
    ) -> Result<Response<Self::ShellStream>, Status> {
        Err(not_in_the_fake("Shell"))
    }

    type LogsStream = ReceiverStream<Result<AgentLogRecord, Status>>;
    /// One record, then nothing until the caller leaves.
    async fn logs(
        &self,
        request: Request<AgentLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.record("Logs", &request);
        let (send, records) = mpsc::channel(1);
        let state = self.0.clone();
        tokio::spawn(async move {
            let first = AgentLogRecord { message: "first".into(), ..AgentLogRecord::default() };
            let _ = send.send(Ok(first)).await;
            send.closed().await;
            state.cancelled.fetch_add(1, Ordering::SeqCst);
        });
        Ok(Response::new(ReceiverStream::new(records)))
    }

    async fn usage(&self, _: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        Ok(Response::new(UsageResponse { memory_total_bytes: 1 << 30, ..Default::default() }))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        self.record("Ping", &request);
        let trace = request.metadata().get("linkspan-request-id").cloned();
        let mut response = Response::new(PingResponse { payload: request.into_inner().payload });
        if let Some(trace) = trace {
            response.metadata_mut().insert("linkspan-request-id", trace);
        }
        Ok(response)
    }
}
