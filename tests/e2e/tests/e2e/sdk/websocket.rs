//! Attach over a WebSocket, as pages in a browser do it.

use std::time::Duration;

use bollard::{Docker, query_parameters::WaitContainerOptionsBuilder};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use linkspan_test_e2e::Host;
use tokio::net::UnixStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::containers::{busybox, create, remove, with_engine};
use crate::{api_socket::own_socket, unique};

const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn run(host: &Host) {
    let socket = own_socket(host);
    with_engine(host, async |docker| attached(&docker, &socket).await);
}

/// All that comes until the server closes, or until `end` has come.
async fn read(socket: &mut WebSocketStream<UnixStream>, end: &str) -> String {
    let mut shown = String::new();
    let all = async {
        while let Some(message) = socket.next().await {
            match message.expect("no error") {
                Message::Binary(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                Message::Close(_) => break,
                other => panic!("{other:?}"),
            }
            if !end.is_empty() && shown.contains(end) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, all).await.expect("it comes");
    shown
}

async fn attached(docker: &Docker, path: &str) {
    let name = unique("websocket");
    let mut body = busybox(&["sh", "-c", "echo ready; read word; echo got $word >&2; exit 3"]);
    body.open_stdin = Some(true);
    create(docker, &name, body).await;
    let query = "stream=1&stdin=1&stdout=1&stderr=1";
    let url = format!("ws://docker/v1.44/containers/{name}/attach/ws?{query}");
    let stream = UnixStream::connect(path).await.expect("the socket");
    let (mut socket, _) = client_async(url, stream).await.expect("it upgrades");
    // Attached before it runs: nothing of its output is lost.
    docker.start_container(&name, None).await.expect("it starts");
    assert_eq!(read(&mut socket, "ready\n").await, "ready\n");
    socket.send(Message::text("typed\n")).await.expect("it is taken");
    assert_eq!(read(&mut socket, "").await, "got typed\n");
    let options = WaitContainerOptionsBuilder::default().build();
    let ended = docker.wait_container(&name, Some(options)).try_collect::<Vec<_>>().await;
    assert!(matches!(ended, Err(bollard::errors::Error::DockerContainerWaitError { code: 3, .. })));
    remove(docker, &name).await;
}
