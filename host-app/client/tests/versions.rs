//! A daemon of another version: refused with a remedy, and the remedy works.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use linkspan_client::{Client, ConnectOptions};
use linkspan_proto::{
    error::ErrorCode,
    host::v1::{
        HostHelloRequest, HostHelloResponse, HostInfoRequest, HostInfoResponse, HostPortsRequest,
        HostPortsResponse, HostShutdownRequest, HostShutdownResponse, RegistrySettingsRequest,
        RegistrySettingsResponse, UpdateRegistrySettingsRequest, UpdateRegistrySettingsResponse,
        host_service_server::{HostService, HostServiceServer},
    },
};
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

struct Newer {
    end: Arc<Notify>,
    machines_too: Arc<AtomicBool>,
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

    async fn info(
        &self,
        _: Request<HostInfoRequest>,
    ) -> Result<Response<HostInfoResponse>, Status> {
        Err(Status::unimplemented("not asked for in these tests"))
    }

    async fn ports(
        &self,
        _: Request<HostPortsRequest>,
    ) -> Result<Response<HostPortsResponse>, Status> {
        Err(Status::unimplemented("not asked for in these tests"))
    }

    async fn registry_settings(
        &self,
        _: Request<RegistrySettingsRequest>,
    ) -> Result<Response<RegistrySettingsResponse>, Status> {
        Err(Status::unimplemented("not asked for in these tests"))
    }

    async fn update_registry_settings(
        &self,
        _: Request<UpdateRegistrySettingsRequest>,
    ) -> Result<Response<UpdateRegistrySettingsResponse>, Status> {
        Err(Status::unimplemented("not asked for in these tests"))
    }

    async fn shutdown(
        &self,
        request: Request<HostShutdownRequest>,
    ) -> Result<Response<HostShutdownResponse>, Status> {
        self.machines_too.store(request.into_inner().stop_machines, Ordering::SeqCst);
        self.end.notify_one();
        Ok(Response::new(HostShutdownResponse {}))
    }
}

#[tokio::test]
async fn another_protocol_version_is_refused_with_a_remedy_that_works() {
    let home = tempfile::tempdir().unwrap();
    let options = ConnectOptions {
        home: Some(home.path().into()),
        start_daemon: false,
        ..Default::default()
    };
    let socket = linkspan_client::paths(Some(home.path())).unwrap().daemon_socket();
    let end = Arc::new(Notify::new());
    let machines_too = Arc::new(AtomicBool::new(false));
    let service = Newer { end: end.clone(), machines_too: machines_too.clone() };
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    let server = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(HostServiceServer::new(service))
            .serve_with_incoming_shutdown(incoming, async move { end.notified().await }),
    );

    let failure = Client::connect(options.clone()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::VersionMismatch);
    let ours = format!("protocol {}", linkspan_proto::PROTOCOL_VERSION);
    for part in ["9.9.9", "protocol 99", linkspan_client::VERSION, &ours] {
        assert!(failure.message.contains(part), "`{part}` in {failure}");
    }
    assert!(failure.hint.unwrap().contains("linkspan system restart"));

    assert!(Client::shutdown_daemon(&options, true).await.unwrap());
    assert!(machines_too.load(Ordering::SeqCst));
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_waited_for_once_and_named() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let paths = linkspan_state::Paths::at(home.path()).expect("a state folder");
    let _lock = linkspan_state::Lock::acquire(&paths.daemon_lock(), "x").expect("free");
    let listener = tokio::net::UnixListener::bind(paths.daemon_socket()).expect("a socket");
    let accepted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            open.push(stream);
        }
    });
    let options = ConnectOptions {
        home: Some(home.path().to_owned()),
        start_timeout: std::time::Duration::from_millis(500),
        ..Default::default()
    };
    let failure = Client::connect(options).await.expect_err("it is silent");
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.message.ends_with("does not answer: no Hello within 0.5 s"), "{failure}");
    let hint = failure.hint.expect("a remedy");
    assert!(hint.contains(&format!("process {}", std::process::id())), "{hint}");
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}
