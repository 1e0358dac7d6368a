//! gRPC on the local socket: one HTTP/2 server for our own services and for what is passed on.

mod containers;
mod host;
mod machines;
mod pass_through;
mod registry;

use std::{convert::Infallible, pin::pin, sync::Arc};

use http::{HeaderValue, Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use linkspan_engine::Engine;
use linkspan_proto::{
    MACHINE_KEY, REQUEST_ID_KEY,
    host::v1::{
        host_service_server::HostServiceServer, machine_service_server::MachineServiceServer,
    },
    v1::registry_service_server::RegistryServiceServer,
};
use linkspan_transport::{Stream, local};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;
use tracing::Instrument as _;

/// The same on both sides of the daemon, so that neither is the bottle's neck.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;
const FRAME: u32 = 1024 * 1024;
const SEND_BUFFER: usize = 4 * 1024 * 1024;
/// Every attached container and every `wait` is a stream.
const MAX_STREAMS: u32 = 16 * 1024;

/// Serves clients until `ended`, then lets the calls that are under way finish. The caller
/// bounds how long that may take.
pub async fn serve(
    mut listener: local::Listener,
    engine: Arc<dyn Engine>,
    ended: CancellationToken,
) {
    let connections = TaskTracker::new();
    let face = Face::new(engine);
    while let Some(accepted) = ended.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(stream) => {
                connections.spawn(face.clone().connection(stream, ended.clone()));
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept clients any more");
                break;
            }
        }
    }
    // From here on a client is told that nobody listens, and may start the next daemon.
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one client.
pub async fn serve_connection(
    stream: impl Stream,
    engine: Arc<dyn Engine>,
    ended: CancellationToken,
) {
    Face::new(engine).connection(stream, ended).await;
}

#[derive(Clone)]
struct Face {
    engine: Arc<dyn Engine>,
    own: Routes,
}

impl Face {
    fn new(engine: Arc<dyn Engine>) -> Self {
        let own = Routes::new(HostServiceServer::new(host::Host(engine.clone())))
            .add_service(MachineServiceServer::new(machines::Machines(engine.clone())))
            .add_service(RegistryServiceServer::new(registry::Registries(engine.clone())))
            .prepare();
        Self { engine, own }
    }

    async fn connection(self, stream: impl Stream, ended: CancellationToken) {
        let service = service_fn(move |request| self.clone().answer(request));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(MAX_STREAMS)
            // Rapid-reset defences are for strangers; a user who cancels a lot is none.
            .max_local_error_reset_streams(None)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = &mut connection => result,
            () = ended.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a client's connection ended");
        }
    }

    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let id = request_id(&mut request);
        let path = request.uri().path();
        let machine = machine(&request);
        let span = tracing::info_span!("request", %id, path, machine);
        Ok(self.route(request).instrument(span).await)
    }

    async fn route(mut self, request: Request<Incoming>) -> Response<Body> {
        tracing::debug!("received");
        let path = request.uri().path();
        if path == containers::CREATE {
            containers::create(self.engine, request).await
        } else if path.starts_with(pass_through::PREFIX) && !path.starts_with(registry::PREFIX) {
            pass_through::forward(self.engine, request).await
        } else {
            match self.own.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }
}

/// The request's id; a client that gave none gets one here.
fn request_id(request: &mut Request<Incoming>) -> String {
    if let Some(id) = request.headers().get(REQUEST_ID_KEY).and_then(|id| id.to_str().ok()) {
        return id.to_owned();
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    if let Ok(value) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID_KEY, value);
    }
    id
}

/// The machine that a call is for, as its caller wrote it; empty for the default one.
fn machine<B>(request: &Request<B>) -> String {
    let name = request.headers().get(MACHINE_KEY);
    name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).unwrap_or_default()
}

/// An answer that is only a failure.
fn refuse(failure: impl Into<Status>) -> Response<Body> {
    let status: Status = failure.into();
    tracing::debug!(code = ?status.code(), message = status.message(), "refused");
    status.into_http()
}
