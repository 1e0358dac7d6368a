//! One HTTP/2 connection to an agent, made on demand and made again when it was lost.
//!
//! Not `tonic::transport::Channel`: that one reconnects behind its user's back, so that nothing
//! could be said first on each connection.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{Request, Response, Uri, uri};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use linkspan_proto::{
    ports,
    v1::{HelloResponse, agent_service_client::AgentServiceClient},
};
use linkspan_transport::{BoxStream, Dial};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use tonic::{Status, body::Body};
use tracing::Instrument as _;

use crate::{AgentError, hello, patience::Patience};

/// How much may be on its way unacknowledged, for one stream. Standard output passes through
/// here: with HTTP/2's 64 KiB each chunk would wait for a round trip through the VM.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;
/// For all streams together: one that nobody reads must not stop the others.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
const FRAME: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 4 * 1024 * 1024;

/// Error details travel in headers, and may carry the end of a serial log.
pub const MAX_HEADER_BYTES: u32 = 1024 * 1024;

/// How long a connection with calls under way may be silent before the agent is asked for a sign
/// of life, and how long that may take. Long: a guest on a busy host stands still for seconds, and
/// nothing may be lost by that. But one that hangs must not keep its callers for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

const AUTHORITY: &str = "linkspan-agent";

/// How to treat one agent.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The machine's name, for messages.
    pub machine: String,
    /// From the start of a connection to the end of its Hello.
    pub connect_timeout: Duration,
    /// After so much silence during calls the agent is asked for a sign of life; after twice as
    /// much without one the connection counts as lost.
    pub keep_alive: Duration,
    /// Why the guest stands still, as long as it does: its silence does not count then.
    pub halted: watch::Receiver<Option<String>>,
    /// Features without which the agent is refused.
    pub required_features: &'static [&'static str],
}

impl AgentOptions {
    /// For the agent of `machine`, with the usual limits.
    pub fn new(machine: impl Into<String>) -> Self {
        Self {
            machine: machine.into(),
            connect_timeout: Duration::from_secs(10),
            keep_alive: KEEP_ALIVE,
            halted: watch::Sender::new(None).subscribe(),
            required_features: &[],
        }
    }
}

/// A gRPC channel to one agent. Cheap to clone; all clones share the connection.
#[derive(Clone)]
pub struct AgentChannel {
    inner: Arc<Inner>,
}

struct Inner {
    dial: Arc<dyn Dial>,
    options: AgentOptions,
    /// The connection, or the attempt that every caller waits for.
    slot: Mutex<Option<Attempt>>,
}

type Attempt = Shared<BoxFuture<'static, Result<Live, AgentError>>>;

/// A connection on which Hello is done.
#[derive(Clone)]
struct Live {
    send: SendRequest<Body>,
    hello: Arc<HelloResponse>,
}

impl AgentChannel {
    /// No connection is made before the first call.
    #[must_use]
    pub fn new(dial: Arc<dyn Dial>, options: AgentOptions) -> Self {
        Self { inner: Arc::new(Inner { dial, options, slot: Mutex::new(None) }) }
    }

    /// Connects unless connected, and returns what the agent said of itself.
    ///
    /// # Errors
    /// When the agent cannot be reached, is silent, or is of another version.
    pub async fn connect(&self) -> Result<Arc<HelloResponse>, AgentError> {
        Ok(self.live().await?.hello)
    }

    /// Like [`Self::connect`], but tries again until `deadline` while nothing listens in the guest.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn connect_by(&self, deadline: Instant) -> Result<Arc<HelloResponse>, AgentError> {
        let pause = Duration::from_millis(20);
        loop {
            match self.connect().await {
                Err(error) if error.is_transient() && Instant::now() + pause < deadline => {
                    tracing::trace!(%error, "not yet");
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
    }

    /// Says Hello once more, which sets the guest's clock to this host's where it is off.
    ///
    /// # Errors
    /// When the agent cannot be reached, or refuses.
    pub async fn set_clock(&self) -> Result<(), Status> {
        let hello = self.agent().hello(hello::request()).await?.into_inner();
        tell_drift(&hello);
        Ok(())
    }

    /// What the agent said on the present connection; `None` when there is none.
    #[must_use]
    pub fn hello(&self) -> Option<Arc<HelloResponse>> {
        let slot = self.inner.slot.lock();
        match slot.as_ref()?.peek()? {
            Ok(live) if !live.send.is_closed() => Some(live.hello.clone()),
            _ => None,
        }
    }

    /// Sends a request as it is and returns the response as it comes: neither is looked into.
    /// Dropping the response's body cancels the call in the guest.
    ///
    /// # Errors
    /// When the agent cannot be reached or the connection is lost before it answers.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, AgentError> {
        absolute(&mut request);
        let mut live = self.live().await?;
        match live.send.try_send_request(request).await {
            Ok(response) => Ok(response),
            Err(mut error) => match error.take_message() {
                // It was lost in the meantime and nothing has been sent: once more on a new one.
                Some(request) => {
                    let mut live = self.live().await?;
                    live.send.send_request(request).await.map_err(|error| self.lost(error))
                }
                None => Err(self.lost(error.into_error())),
            },
        }
    }

    /// A byte stream of its own to the agent, beside the gRPC connection. The caller sends the
    /// preface.
    ///
    /// # Errors
    /// When nothing listens in the guest.
    pub async fn open_stream(&self) -> Result<BoxStream, AgentError> {
        self.inner.dial.dial(ports::AGENT_STREAMS).await.map_err(|source| AgentError::Dial {
            machine: self.inner.options.machine.clone(),
            source: Arc::new(source),
        })
    }

    fn lost(&self, error: hyper::Error) -> AgentError {
        AgentError::Lost { machine: self.inner.options.machine.clone(), source: Arc::new(error) }
    }

    async fn live(&self) -> Result<Live, AgentError> {
        let attempt = {
            let mut slot = self.inner.slot.lock();
            let usable = slot.as_ref().is_some_and(|attempt| match attempt.peek() {
                None => true,
                Some(Ok(live)) => !live.send.is_closed(),
                Some(Err(_)) => false,
            });
            if !usable {
                *slot = None;
            }
            slot.get_or_insert_with(|| self.inner.begin()).clone()
        };
        attempt.await
    }
}

impl Inner {
    /// In a task of its own, so that it goes on when the caller that began it gives up.
    fn begin(&self) -> Attempt {
        let (dial, options) = (self.dial.clone(), self.options.clone());
        let span = tracing::debug_span!("agent connection", machine = %options.machine);
        let machine = options.machine.clone();
        let task = tokio::spawn(establish(dial, options).instrument(span));
        async move {
            task.await.unwrap_or_else(|error| {
                Err(AgentError::Dial { machine, source: Arc::new(io::Error::other(error)) })
            })
        }
        .boxed()
        .shared()
    }
}

async fn establish(dial: Arc<dyn Dial>, options: AgentOptions) -> Result<Live, AgentError> {
    let after = options.connect_timeout;
    let machine = options.machine.clone();
    tokio::time::timeout(after, handshake(dial, options))
        .await
        .unwrap_or(Err(AgentError::Silent { machine, after }))
}

async fn handshake(dial: Arc<dyn Dial>, options: AgentOptions) -> Result<Live, AgentError> {
    let machine = options.machine;
    let stream = dial.dial(ports::AGENT_RPC).await.map_err(|source| AgentError::Dial {
        machine: machine.clone(),
        source: Arc::new(source),
    })?;
    let lost = |source| AgentError::Lost { machine: machine.clone(), source: Arc::new(source) };
    let (send, connection) = Builder::new(TokioExecutor::new())
        .timer(Patience(options.halted))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(options.keep_alive)
        .keep_alive_timeout(2 * options.keep_alive)
        // Rapid-reset defences are for strangers; a user who cancels a lot is none.
        .max_local_error_reset_streams(None)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(lost)?;
    tokio::spawn(
        async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection ended");
            }
        }
        .in_current_span(),
    );

    let mut agent = AgentServiceClient::new(First(send.clone()));
    let response = match agent.hello(hello::request()).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(hello::refused(&machine, status)),
    };
    hello::check(&machine, options.required_features, &response)?;
    tell_drift(&response);
    tracing::debug!(version = %response.version, boot = %response.boot_id, "hello");
    Ok(Live { send, hello: Arc::new(response) })
}

fn tell_drift(hello: &HelloResponse) {
    if hello.clock_drift_ms.abs() > 1000 {
        tracing::info!(drift_ms = hello.clock_drift_ms, "the guest's clock was set");
    }
}

/// gRPC stubs give a path only; HTTP/2 wants `:scheme` and `:authority` too.
fn absolute<B>(request: &mut Request<B>) {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(uri::Authority::from_static(AUTHORITY));
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(uri::PathAndQuery::from_static("/"));
    }
    // All three parts are there, which is the only thing that `from_parts` checks.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
}

/// The very connection that Hello is to be said on.
struct First(SendRequest<Body>);

impl tower::Service<Request<Body>> for First {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        absolute(&mut request);
        self.0.send_request(request).boxed()
    }
}

impl tower::Service<Request<Body>> for AgentChannel {
    type Response = Response<Incoming>;
    /// With its [`linkspan_proto::error::ErrorInfo`], as if the agent had sent it.
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move { channel.send(request).await.map_err(Status::from) })
    }
}

impl fmt::Debug for AgentChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentChannel")
            .field("machine", &self.inner.options.machine)
            .field("connected", &self.hello().is_some())
            .finish()
    }
}
