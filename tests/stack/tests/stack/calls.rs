//! Calls as a client makes them, in short.

use futures::StreamExt as _;
use linkspan_client::{Client, failure, new_stream_id};
use linkspan_proto::{
    error::Failure,
    v1::{
        AttachOpen, AttachRequest, CloseStdin, ContainerConfig, ContainerDetail,
        CreateContainerRequest, ExecOpen, ExecRequest, ImportImageRequest, InspectContainerRequest,
        ListContainersRequest, LoadImageRequest, LoadedImage, ProcessExited, StdioInput,
        StdioOutput, WaitCondition, WaitContainerRequest, WaitContainerResponse, attach_request,
        exec_request, load_image_response, stdio_input::Kind as Input,
        stdio_output::Kind as Output,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Of the image `busybox` with this command.
pub(crate) fn config(command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        image: "busybox".into(),
        command: command.iter().map(ToString::to_string).collect(),
        ..ContainerConfig::default()
    }
}

/// With standard input, which ends with the first client that leaves.
pub(crate) fn with_stdin(config: ContainerConfig) -> ContainerConfig {
    ContainerConfig { open_stdin: true, stdin_once: true, ..config }
}

/// Makes a container; its id.
pub(crate) async fn create(
    client: &Client,
    name: &str,
    config: ContainerConfig,
) -> Result<String, Failure> {
    let request =
        CreateContainerRequest { name: name.into(), config: Some(config), ..Default::default() };
    let created = client.containers(None).create(request).await.map_err(failure)?;
    Ok(created.into_inner().id)
}

/// Standard streams of a process, from a client's side.
pub(crate) struct Session {
    input: mpsc::Sender<StdioInput>,
    output: Streaming<StdioOutput>,
}

/// All that came out of a process.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exit: ProcessExited,
}

impl Session {
    pub(crate) async fn send(&self, kind: Input) {
        self.input.send(StdioInput { kind: Some(kind) }).await.expect("the call is under way");
    }

    pub(crate) async fn write(&self, text: &str) {
        self.send(Input::Stdin(text.as_bytes().to_vec().into())).await;
    }

    pub(crate) async fn close_stdin(&self) {
        self.send(Input::CloseStdin(CloseStdin {})).await;
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Output>, Failure> {
        let message = self.output.message().await.map_err(failure)?;
        Ok(message.map(|message| message.kind.expect("no empty message")))
    }

    /// Reads until standard output has brought `text`.
    pub(crate) async fn until_stdout(&mut self, text: &str) {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            match self.next().await.expect("no failure") {
                Some(Output::Stdout(bytes)) => seen.extend_from_slice(&bytes),
                Some(Output::Started(_)) => {}
                other => panic!("{other:?} came before `{text}`, after {seen:?}"),
            }
        }
    }

    /// Reads to the end: after the exit comes nothing.
    pub(crate) async fn outcome(mut self) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let mut ended = false;
        while let Some(output) = self.next().await? {
            assert!(!ended, "{output:?} came after the exit");
            match output {
                Output::Started(_) => {}
                Output::Stdout(bytes) => outcome.stdout.extend_from_slice(&bytes),
                Output::Stderr(bytes) => outcome.stderr.extend_from_slice(&bytes),
                Output::Exited(exit) => (outcome.exit, ended) = (exit, true),
            }
        }
        assert!(ended, "the stream ended before the process: {outcome:?}");
        Ok(outcome)
    }
}

/// All streams of a container, which is started when it does not run.
pub(crate) fn all_streams(container: &str) -> AttachOpen {
    AttachOpen {
        container: container.into(),
        stdin: true,
        stdout: true,
        stderr: true,
        start: true,
        ..AttachOpen::default()
    }
}

pub(crate) async fn attach(client: &Client, open: AttachOpen) -> Result<Session, Failure> {
    let (input, inputs) = mpsc::channel(4);
    let first = AttachRequest { kind: Some(attach_request::Kind::Open(open)) };
    let rest = ReceiverStream::new(inputs)
        .map(|input| AttachRequest { kind: Some(attach_request::Kind::Input(input)) });
    let requests = futures::stream::iter([first]).chain(rest);
    let output = client.containers(None).attach(requests).await.map_err(failure)?.into_inner();
    Ok(Session { input, output })
}

pub(crate) async fn exec(client: &Client, open: ExecOpen) -> Result<Session, Failure> {
    let (input, inputs) = mpsc::channel(4);
    let first = ExecRequest { kind: Some(exec_request::Kind::Open(open)) };
    let rest = ReceiverStream::new(inputs)
        .map(|input| ExecRequest { kind: Some(exec_request::Kind::Input(input)) });
    let requests = futures::stream::iter([first]).chain(rest);
    let output = client.containers(None).exec(requests).await.map_err(failure)?.into_inner();
    Ok(Session { input, output })
}

/// What `linkspan run` does: create, then one attach that starts.
pub(crate) async fn run(client: &Client, config: ContainerConfig) -> Result<Outcome, Failure> {
    let id = create(client, "", config).await?;
    attach(client, all_streams(&id)).await?.outcome().await
}

/// A container that runs: `command` has to print `ready`, or nothing is waited for.
pub(crate) async fn running(client: &Client, name: &str, command: &[&str]) -> Session {
    create(client, name, config(command)).await.expect("it is made");
    let mut session = attach(client, all_streams(name)).await.expect("it starts");
    let first = session.next().await.expect("no failure");
    assert!(matches!(first, Some(Output::Started(_))), "{first:?}");
    if matches!(command[0], "sigwait" | "stubborn") {
        session.until_stdout("ready").await;
    }
    session
}

pub(crate) async fn wait(
    client: &Client,
    name: &str,
    condition: WaitCondition,
) -> Result<WaitContainerResponse, Failure> {
    let request = WaitContainerRequest { container: name.into(), condition: condition.into() };
    client.containers(None).wait(request).await.map(tonic::Response::into_inner).map_err(failure)
}

pub(crate) async fn inspect(client: &Client, name: &str) -> Result<ContainerDetail, Failure> {
    let request = InspectContainerRequest { container: name.into(), size: false };
    let answer = client.containers(None).inspect(request).await.map_err(failure)?;
    Ok(answer.into_inner().container.expect("it is always there"))
}

/// The names of all containers.
pub(crate) async fn names(client: &Client) -> Vec<String> {
    let request = ListContainersRequest { all: true, ..ListContainersRequest::default() };
    let answer = client.containers(None).list(request).await.expect("a list");
    answer.into_inner().containers.into_iter().map(|container| container.name).collect()
}

/// Uploads a root file system; the image's id.
pub(crate) async fn import(
    client: &Client,
    reference: &str,
    archive: Vec<u8>,
) -> Result<String, Failure> {
    let id = new_stream_id();
    let request = ImportImageRequest {
        stream_id: id.to_string(),
        reference: reference.into(),
        message: "by a test".into(),
        changes: vec!["CMD [\"sh\"]".into()],
        ..Default::default()
    };
    let mut images = client.images(None);
    let (imported, _) =
        tokio::join!(images.import(request), client.upload(None, id, archive.as_slice()));
    Ok(imported.map_err(failure)?.into_inner().id)
}

/// Uploads an image archive.
pub(crate) async fn load(client: &Client, archive: Vec<u8>) -> Result<Vec<LoadedImage>, Failure> {
    let id = new_stream_id();
    let call = async {
        let request = LoadImageRequest { stream_id: id.to_string(), ..Default::default() };
        let mut answers = client.images(None).load(request).await.map_err(failure)?.into_inner();
        let mut loaded = Vec::new();
        while let Some(answer) = answers.message().await.map_err(failure)? {
            if let Some(load_image_response::Kind::Loaded(image)) = answer.kind {
                loaded.push(image);
            }
        }
        Ok(loaded)
    };
    tokio::join!(call, client.upload(None, id, archive.as_slice())).0
}
