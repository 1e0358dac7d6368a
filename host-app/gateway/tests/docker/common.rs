//! A daemon's Docker face on a real local socket, over a stub engine with an in-memory guest.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use linkspan_engine::stub::StubEngine;
use linkspan_proto::v1::{
    ContainerConfig, ContainerDetail, ContainerState, ContainerSummary, InspectContainerResponse,
};
use linkspan_transport::local;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

pub(crate) struct Docker {
    pub(crate) engine: Arc<StubEngine>,
    folder: TempDir,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The lines of a stream of JSON.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let values = serde_json::Deserializer::from_slice(&self.body).into_iter();
        values.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// An error with exactly this message.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, message: &str) {
        assert_eq!(self.is(status).json(), serde_json::json!({ "message": message }));
    }
}

impl Docker {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = StubEngine::new(folder.path().join("vm-image"));
        let docker = Self { engine: engine.clone(), folder };
        let listener = local::Listener::bind(&docker.socket()).unwrap();
        let ended = CancellationToken::new();
        tokio::spawn(linkspan_gateway::serve_docker(listener, engine, ended));
        docker
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// A connection that speaks no HTTP by itself.
    pub(crate) async fn raw(&self) -> local::Stream {
        local::connect(&self.socket()).await.unwrap()
    }

    /// Sends a request and gives back the answer as its head arrives.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        let (mut send, connection) =
            http1::handshake(TokioIo::new(self.raw().await)).await.unwrap();
        tokio::spawn(connection);
        send.send_request(request).await.unwrap()
    }

    pub(crate) async fn whole(&self, request: Request<Full<Bytes>>) -> Got {
        let (head, body) = self.send(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Got {
        let body = body.into();
        let mut request = Request::builder().method(method).uri(path).header("host", "docker");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        self.whole(request.body(Full::new(body)).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.call("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Got {
        self.call("POST", path, body.to_owned()).await
    }

    /// The guest knows one container, `c`, in this state.
    pub(crate) fn with_container(self, state: ContainerState, config: ContainerConfig) -> Self {
        let summary = ContainerSummary {
            id: "c0ffee".into(),
            name: "c".into(),
            state: state.into(),
            ..ContainerSummary::default()
        };
        let container = ContainerDetail {
            summary: Some(summary),
            config: Some(config),
            ..ContainerDetail::default()
        };
        let answer = InspectContainerResponse { container: Some(container) };
        self.engine.guest.answer("Container.Inspect", &answer);
        self
    }

    /// Sends a request whose answer is a raw stream. Gives back the answer's head and the
    /// connection after it.
    pub(crate) async fn hijack(&self, request: &str, body: &str) -> (String, local::Stream) {
        let mut stream = self.raw().await;
        let head = format!(
            "{request} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let head = head.replace(
            " UPGRADE HTTP/1.1\r\n",
            " HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n",
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        (String::from_utf8(answer).unwrap(), stream)
    }
}
