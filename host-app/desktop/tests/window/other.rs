//! A daemon of another version, as far as that can be asked for: it says so, and ends when told.

use std::{path::Path, sync::Arc, time::Duration};

use linkspan_proto::host::v1::{
    HostHelloRequest, HostHelloResponse, HostInfoRequest, HostInfoResponse, HostPortsRequest,
    HostPortsResponse, HostShutdownRequest, HostShutdownResponse, RegistrySettingsRequest,
    RegistrySettingsResponse, UpdateRegistrySettingsRequest, UpdateRegistrySettingsResponse,
    host_service_server::{HostService, HostServiceServer},
};
use linkspan_state::Paths;
use tokio::{net::UnixListener, runtime::Runtime, sync::Notify, task::JoinHandle};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

pub(crate) struct Other {
    runtime: Runtime,
    served: Option<JoinHandle<()>>,
}

impl Other {
    /// In the home, where ours would be.
    pub(crate) fn serve(home: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let socket = Paths::at(home).expect("a home").daemon_socket();
        let end = Arc::new(Notify::new());
        let service = HostServiceServer::new(Newer(Arc::clone(&end)));
        let served = runtime.spawn(async move {
            let listener = UnixListener::bind(&socket).expect("nobody else listens");
            let incoming = UnixListenerStream::new(listener);
            let ended = async move { end.notified().await };
            let server = Server::builder().add_service(service);
            server.serve_with_incoming_shutdown(incoming, ended).await.expect("it serves");
        });
        Self { runtime, served: Some(served) }
    }

    /// Waits until it has ended.
    pub(crate) fn has_ended(&mut self) {
        let served = self.served.take().expect("it is asked once");
        let ended = async { tokio::time::timeout(Duration::from_secs(30), served).await };
        self.runtime.block_on(ended).expect("it was told to end").expect("it ended well");
    }
}

struct Newer(Arc<Notify>);

fn other_call<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("of another version"))
}

#[tonic::async_trait]
impl HostService for Newer {
    async fn hello(
        &self,
        _: Request<HostHelloRequest>,
    ) -> Result<Response<HostHelloResponse>, Status> {
        let version = "9.9.9".into();
        Ok(Response::new(HostHelloResponse { protocol_version: 99, version, pid: 42 }))
    }

    async fn shutdown(
        &self,
        _: Request<HostShutdownRequest>,
    ) -> Result<Response<HostShutdownResponse>, Status> {
        self.0.notify_one();
        Ok(Response::new(HostShutdownResponse {}))
    }

    async fn info(
        &self,
        _: Request<HostInfoRequest>,
    ) -> Result<Response<HostInfoResponse>, Status> {
        other_call()
    }

    async fn ports(
        &self,
        _: Request<HostPortsRequest>,
    ) -> Result<Response<HostPortsResponse>, Status> {
        other_call()
    }

    async fn registry_settings(
        &self,
        _: Request<RegistrySettingsRequest>,
    ) -> Result<Response<RegistrySettingsResponse>, Status> {
        other_call()
    }

    async fn update_registry_settings(
        &self,
        _: Request<UpdateRegistrySettingsRequest>,
    ) -> Result<Response<UpdateRegistrySettingsResponse>, Status> {
        other_call()
    }
}
