//! A daemon's faces on real local sockets, over a stub engine.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use linkspan_engine::stub::StubEngine;
use linkspan_transport::local;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Daemon {
    pub(crate) engine: Arc<StubEngine>,
    pub(crate) folder: TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = StubEngine::new(folder.path().join("vm-image"));
        let ended = CancellationToken::new();
        let daemon = Self { engine: engine.clone(), folder };
        let grpc = local::Listener::bind(&daemon.grpc_socket()).unwrap();
        let streams = local::Listener::bind(&daemon.streams_socket()).unwrap();
        tokio::spawn(linkspan_gateway::serve_grpc(grpc, engine.clone(), ended.clone()));
        tokio::spawn(linkspan_gateway::serve_streams(streams, engine, ended));
        daemon
    }

    /// A VM image with one built-in container image; its "archive" is its reference.
    pub(crate) fn with_builtin(self, reference: &str) -> Self {
        let folder = self.folder.path().join("vm-image");
        std::fs::create_dir_all(folder.join("images")).unwrap();
        std::fs::write(folder.join("images/one.tar"), reference).unwrap();
        let manifest = serde_json::json!({
            "format": 1, "kernels": {}, "default_kernel": "debian", "cmdline": "",
            "images": [{
                "reference": format!("{reference}:latest"), "file": "images/one.tar",
                "sha256": "", "size": reference.len(),
            }],
            "tool_versions": {},
        });
        std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        self
    }

    pub(crate) fn grpc_socket(&self) -> PathBuf {
        self.folder.path().join("grpc.sock")
    }

    pub(crate) fn streams_socket(&self) -> PathBuf {
        self.folder.path().join("streams.sock")
    }

    pub(crate) async fn client(&self) -> Channel {
        let socket = self.grpc_socket();
        Endpoint::from_static("http://daemon")
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_max_header_list_size(1 << 20)
            .connect_with_connector(tower::service_fn(move |_: http::Uri| {
                let socket = socket.clone();
                async move { local::connect(&socket).await.map(TokioIo::new) }
            }))
            .await
            .unwrap()
    }
}

/// Waits until `holds`, and panics when it does not in time.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}
