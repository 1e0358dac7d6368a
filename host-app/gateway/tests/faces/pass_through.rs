//! `linkspan.v1` through the daemon's face is what it is at the agent.

use std::time::{Duration, Instant};

use crate::common::{Daemon, until};
use linkspan_proto::{
    MACHINE_KEY, REQUEST_ID_KEY,
    error::{ErrorCode, Failure},
    v1::{
        AgentLogsRequest, CloseStdin, ContainerConfig, CreateContainerRequest, ExecOpen,
        ExecRequest, InspectContainerRequest, LoadImageRequest, PingRequest, StdioInput,
        WaitContainerRequest, agent_service_client::AgentServiceClient,
        container_service_client::ContainerServiceClient, exec_request,
        image_service_client::ImageServiceClient, load_image_response, stdio_input, stdio_output,
    },
};
use tokio::{io::AsyncWriteExt as _, sync::mpsc};
use tonic::Request;

fn open(args: &[&str]) -> ExecRequest {
    let args = args.iter().map(|&arg| arg.into()).collect();
    let open = ExecOpen { args, container: "c".into(), ..ExecOpen::default() };
    ExecRequest { kind: Some(exec_request::Kind::Open(open)) }
}

fn input(kind: stdio_input::Kind) -> ExecRequest {
    ExecRequest { kind: Some(exec_request::Kind::Input(StdioInput { kind: Some(kind) })) }
}

fn create(name: &str, image: &str) -> CreateContainerRequest {
    let config = ContainerConfig { image: image.into(), ..ContainerConfig::default() };
    CreateContainerRequest { name: name.into(), config: Some(config), ..Default::default() }
}

/// The requests as a stream that ends (half-closes) when the sender is dropped.
fn requests() -> (mpsc::Sender<ExecRequest>, tokio_stream::wrappers::ReceiverStream<ExecRequest>) {
    let (send, receive) = mpsc::channel(8);
    (send, tokio_stream::wrappers::ReceiverStream::new(receive))
}

#[tokio::test]
async fn a_unary_call_keeps_payload_and_metadata_both_ways() {
    let daemon = Daemon::start();
    let mut agent = AgentServiceClient::new(daemon.client().await);
    let payload = vec![7; 3 << 20];
    let mut request = Request::new(PingRequest { payload: payload.clone().into() });
    request.metadata_mut().insert(REQUEST_ID_KEY, "my-request".parse().unwrap());
    request.metadata_mut().insert("x-mine", "kept".parse().unwrap());
    let response = agent.ping(request).await.unwrap();
    assert_eq!(response.metadata().get(REQUEST_ID_KEY).unwrap(), "my-request");
    assert_eq!(response.into_inner().payload, payload);
    assert_eq!(daemon.engine.guest.calls("Ping")[0]["x-mine"], "kept");
}

#[tokio::test]
async fn a_call_without_a_request_id_gets_one() {
    let daemon = Daemon::start();
    let mut agent = AgentServiceClient::new(daemon.client().await);
    agent.ping(PingRequest::default()).await.unwrap();
    agent.ping(PingRequest::default()).await.unwrap();
    let calls = daemon.engine.guest.calls("Ping");
    assert_eq!(calls[0][REQUEST_ID_KEY].len(), 32);
    assert_ne!(calls[0][REQUEST_ID_KEY], calls[1][REQUEST_ID_KEY]);
}

#[tokio::test]
async fn the_first_call_boots_the_machine_and_the_next_ones_do_not() {
    let daemon = Daemon::start();
    let channel = daemon.client().await;
    assert_eq!(daemon.engine.boots(), 0);
    let calls = (0..16).map(|_| {
        let mut agent = AgentServiceClient::new(channel.clone());
        async move { agent.ping(PingRequest::default()).await }
    });
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!((daemon.engine.boots(), daemon.engine.guest.hellos()), (1, 1));
}

#[tokio::test]
async fn a_machine_that_does_not_exist_is_named_in_the_refusal() {
    let daemon = Daemon::start();
    let mut agent = AgentServiceClient::new(daemon.client().await);
    let mut request = Request::new(PingRequest::default());
    request.metadata_mut().insert(MACHINE_KEY, "nowhere".parse().unwrap());
    let failure = Failure::from(agent.ping(request).await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert!(failure.message.contains("nowhere"), "{failure}");
    assert!(failure.hint.is_some());
}

#[tokio::test]
async fn a_bidirectional_stream_passes_input_and_the_half_close() {
    let daemon = Daemon::start();
    let mut containers = ContainerServiceClient::new(daemon.client().await);
    for (end, expected) in [(Some(stdio_input::Kind::CloseStdin(CloseStdin {})), 0), (None, 7)] {
        let (send, stream) = requests();
        send.send(open(&["cat"])).await.unwrap();
        let mut output = containers.exec(stream).await.unwrap().into_inner();
        let started = output.message().await.unwrap().unwrap();
        assert!(matches!(started.kind, Some(stdio_output::Kind::Started(_))));
        for word in ["one", "two"] {
            // Each answer is awaited before the next question: nothing is held back on the way.
            send.send(input(stdio_input::Kind::Stdin(word.into()))).await.unwrap();
            let echo = output.message().await.unwrap().unwrap();
            assert_eq!(echo.kind, Some(stdio_output::Kind::Stdout(word.into())));
        }
        if let Some(end) = end {
            send.send(input(end)).await.unwrap();
        }
        drop(send);
        let exited = output.message().await.unwrap().unwrap();
        let Some(stdio_output::Kind::Exited(exited)) = exited.kind else { panic!("{exited:?}") };
        assert_eq!(exited.exit_code, expected);
        assert!(output.message().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_error_without_a_body_keeps_its_details() {
    let daemon = Daemon::start();
    let mut containers = ContainerServiceClient::new(daemon.client().await);
    let (send, stream) = requests();
    send.send(open(&["nonsense"])).await.unwrap();
    let failure = Failure::from(containers.exec(stream).await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::CommandNotFound);
    // The details can be larger than HTTP/2's usual limit for headers.
    let request = InspectContainerRequest::default();
    let failure = Failure::from(containers.inspect(request).await.unwrap_err());
    assert_eq!((failure.code, failure.evidence.len()), (ErrorCode::DataCorrupt, 500));
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_in_the_guest() {
    let daemon = Daemon::start();
    let channel = daemon.client().await;
    let guest = daemon.engine.guest.clone();

    let mut containers = ContainerServiceClient::new(channel.clone());
    let waiting =
        tokio::spawn(async move { containers.wait(WaitContainerRequest::default()).await });
    until("the call reaches the guest", || !guest.calls("Wait").is_empty()).await;
    assert_eq!(guest.cancelled(), 0);
    waiting.abort();
    until("the unary call is cancelled", || guest.cancelled() == 1).await;

    let mut agent = AgentServiceClient::new(channel);
    let request = AgentLogsRequest { follow: true, ..AgentLogsRequest::default() };
    let mut records = agent.logs(request).await.unwrap().into_inner();
    assert_eq!(records.message().await.unwrap().unwrap().message, "first");
    drop(records);
    until("the stream is cancelled", || guest.cancelled() == 2).await;
    // The connection to the agent is none the worse for it.
    agent.ping(PingRequest::default()).await.unwrap();
    assert_eq!(guest.hellos(), 1);
}

#[tokio::test]
async fn a_client_that_vanishes_cancels_its_calls() {
    let daemon = Daemon::start();
    let guest = daemon.engine.guest.clone();
    // Its connection lives in this runtime and dies with it.
    let channel_runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let socket = daemon.grpc_socket();
    channel_runtime.spawn(async move {
        let connect = tower::service_fn(move |_: http::Uri| {
            let socket = socket.clone();
            async move {
                let stream = linkspan_transport::local::connect(&socket).await;
                stream.map(hyper_util::rt::TokioIo::new)
            }
        });
        let channel = tonic::transport::Endpoint::from_static("http://daemon")
            .connect_with_connector(connect)
            .await
            .unwrap();
        ContainerServiceClient::new(channel).wait(WaitContainerRequest::default()).await
    });
    until("the call reaches the guest", || !guest.calls("Wait").is_empty()).await;
    channel_runtime.shutdown_background();
    until("the call is cancelled", || guest.cancelled() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standard_output_arrives_whole_and_fast() {
    const BYTES: usize = 64 << 20;
    let daemon = Daemon::start();
    let mut containers = ContainerServiceClient::new(daemon.client().await);
    let (send, stream) = requests();
    send.send(open(&["flood", &BYTES.to_string()])).await.unwrap();
    let started = Instant::now();
    let mut output = containers.exec(stream).await.unwrap().into_inner();
    let mut received = 0;
    while let Some(message) = output.message().await.unwrap() {
        if let Some(stdio_output::Kind::Stdout(bytes)) = message.kind {
            received += bytes.len();
        }
    }
    let took = started.elapsed();
    println!("{:.0} MB/s", received as f64 / 1e6 / took.as_secs_f64());
    assert_eq!(received, BYTES);
    // Debug build, busy machine; a window that is not widened on one of the hops shows anyway.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn a_lost_agent_is_told_in_words_in_the_middle_of_a_stream() {
    let daemon = Daemon::start();
    let mut agent = AgentServiceClient::new(daemon.client().await);
    let request = AgentLogsRequest { follow: true, ..AgentLogsRequest::default() };
    let mut records = agent.logs(request).await.unwrap().into_inner();
    records.message().await.unwrap();
    daemon.engine.guest.break_connections();
    let failure = Failure::from(records.message().await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.message.contains("agent was lost"), "{failure}");
    assert!(failure.hint.is_some());
}

#[tokio::test]
async fn an_image_that_is_built_in_is_loaded_once_for_all_who_want_it() {
    let daemon = Daemon::start().with_builtin("busybox");
    let channel = daemon.client().await;
    let guest = &daemon.engine.guest;
    let calls = (0..4).map(|number| {
        let mut containers = ContainerServiceClient::new(channel.clone());
        async move { containers.create(create(&format!("c{number}"), "busybox")).await }
    });
    for created in futures::future::join_all(calls).await {
        assert!(created.unwrap().into_inner().id.starts_with("id-of-c"));
    }
    assert_eq!(guest.calls("Load").len(), 1);
    let mut containers = ContainerServiceClient::new(channel);
    containers.create(create("later", "busybox")).await.unwrap();
    assert_eq!(guest.calls("Load").len(), 1);
}

#[tokio::test]
async fn what_the_guest_does_not_find_otherwise_is_its_own_answer() {
    let daemon = Daemon::start().with_builtin("busybox");
    let mut containers = ContainerServiceClient::new(daemon.client().await);
    let guest = &daemon.engine.guest;
    let failure = Failure::from(containers.create(create("c", "other")).await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert_eq!(failure.evidence, ["from the guest"]);
    guest.add_image("busybox");
    let absent = containers.create(create("no-such-user", "busybox")).await.unwrap_err();
    assert!(absent.message().contains("nemo"), "{absent}");
    assert_eq!(guest.calls("Load").len(), 0);
}

#[tokio::test]
async fn a_byte_stream_reaches_the_call_that_names_it() {
    use linkspan_proto::preface::{Kind, Preface};
    let daemon = Daemon::start();
    let id = uuid::Uuid::new_v4();
    let socket = daemon.streams_socket();
    let upload = async move {
        let mut stream = linkspan_transport::local::connect(&socket).await.unwrap();
        stream.write_all(b"MACHINE default\n").await.unwrap();
        let preface = Preface { kind: Kind::Upload, id: *id.as_bytes() };
        stream.write_all(&preface.encode()).await.unwrap();
        stream.write_all(b"mine:latest\n").await.unwrap();
        stream.write_all(&vec![0; 5 << 20]).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let mut images = ImageServiceClient::new(daemon.client().await);
    let load = async {
        let request = LoadImageRequest { stream_id: id.to_string(), ..Default::default() };
        let mut answers = images.load(request).await.unwrap().into_inner();
        let progress = answers.message().await.unwrap().unwrap();
        let Some(load_image_response::Kind::Progress(progress)) = progress.kind else { panic!() };
        assert_eq!(progress.bytes, (5 << 20) + 12);
        let loaded = answers.message().await.unwrap().unwrap();
        let Some(load_image_response::Kind::Loaded(loaded)) = loaded.kind else { panic!() };
        assert_eq!(loaded.tags, ["mine:latest"]);
    };
    tokio::join!(upload, load);
}
