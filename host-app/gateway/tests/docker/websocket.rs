//! Attach over a WebSocket, by a real client of the protocol.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use linkspan_proto::v1::{AttachRequest, ContainerConfig, ContainerState, attach_request};
use linkspan_transport::local;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, error::Error},
};

use crate::common::Docker;

type Socket = WebSocketStream<local::Stream>;

const DEADLINE: Duration = Duration::from_secs(20);

fn docker(tty: bool) -> Docker {
    let config = ContainerConfig { tty, open_stdin: true, ..ContainerConfig::default() };
    Docker::start().with_container(ContainerState::Running, config)
}

async fn attach(docker: &Docker, path: &str) -> Socket {
    let request = format!("ws://docker{path}").into_client_request().unwrap();
    let (socket, answer) = client_async(request, docker.raw().await).await.expect("it upgrades");
    assert_eq!(answer.status(), 101);
    socket
}

async fn next(socket: &mut Socket) -> Option<Message> {
    let message = tokio::time::timeout(DEADLINE, socket.next()).await.expect("a message");
    message.map(|message| message.expect("no error"))
}

#[tokio::test]
async fn output_comes_in_binary_messages_without_headers() {
    let docker = docker(false);
    let path = "/v1.44/containers/c/attach/ws?stream=1&stdin=1&stdout=1&stderr=1";
    let mut socket = attach(&docker, path).await;
    socket.send(Message::Binary("hello".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Binary("hello".into())));
    socket.send(Message::text("there")).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Binary("there".into())));
    socket.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("p".into())));
    // The client leaves: its input ends, and with it the fake's `cat`.
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, None | Some(Message::Close(_))));
    let asked: AttachRequest = docker.engine.guest.asked("Container.Attach").remove(0);
    let Some(attach_request::Kind::Open(open)) = asked.kind else { panic!("{asked:?}") };
    assert_eq!((open.stdin, open.stdout, open.stderr, open.logs), (true, true, true, false));
}

#[tokio::test]
async fn before_1_42_every_stream_was_meant() {
    let docker = docker(false);
    let mut socket = attach(&docker, "/v1.41/containers/c/attach/ws?stream=1").await;
    socket.send(Message::Binary("hello".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Binary("hello".into())));
    let asked: AttachRequest = docker.engine.guest.asked("Container.Attach").remove(0);
    let Some(attach_request::Kind::Open(open)) = asked.kind else { panic!("{asked:?}") };
    assert_eq!((open.stdin, open.stdout, open.stderr), (true, true, true));
}

#[tokio::test]
async fn before_1_28_output_was_text() {
    let docker = docker(false);
    let path = "/v1.27/containers/c/attach/ws?stream=1&stdin=1&stdout=1";
    let mut socket = attach(&docker, path).await;
    socket.send(Message::Binary("hello".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("hello")));
}

#[tokio::test]
async fn the_keys_to_detach_close_the_socket() {
    let docker = docker(true);
    let path = "/containers/c/attach/ws?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,b";
    let mut socket = attach(&docker, path).await;
    socket.send(Message::Binary("\x01b".into())).await.unwrap();
    assert!(matches!(next(&mut socket).await, Some(Message::Close(_))));
}

#[tokio::test]
async fn a_client_that_asks_for_no_input_types_in_vain() {
    let docker = docker(false);
    let path = "/containers/c/attach/ws?stream=1&stdout=1";
    let mut socket = attach(&docker, path).await;
    socket.send(Message::Binary("unheard".into())).await.unwrap();
    socket.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::Pong("p".into())));
}

#[tokio::test]
async fn what_cannot_be_attached_to_is_refused_before_the_upgrade() {
    let docker = docker(false);
    let path = "/containers/c/attach/ws?stream=1&stdout=1";
    docker.get(path).await.refuses(
        400,
        "not a WebSocket handshake of version 13: use POST /containers/{name}/attach",
    );
    let mut request = format!("ws://docker{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "a, b".parse().unwrap());
    let refused = client_async(request, docker.raw().await).await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 400));

    let docker = Docker::start();
    let why = linkspan_proto::error::Failure::new(
        linkspan_proto::error::ErrorCode::NotFound,
        "no such container: `c`",
    );
    docker.engine.guest.refuse("Container.Inspect", why);
    let request = format!("ws://docker{path}").into_client_request().unwrap();
    let refused = client_async(request, docker.raw().await).await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 404));
}
