//! bollard: containers, their streams, networks and volumes.

use std::time::Duration;

use bollard::{
    Docker,
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, StartExecResults},
    models::{ContainerCreateBody, HostConfig, NetworkCreateRequest, VolumeCreateRequest},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder,
        DownloadFromContainerOptionsBuilder, EventsOptionsBuilder, InspectNetworkOptions,
        LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
        StatsOptionsBuilder, UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
    },
};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use linkspan_test_e2e::Host;
use tokio::io::AsyncWriteExt as _;

use crate::{api_socket::own_socket, unique};

/// Long enough for anything that works, as a deadline for all of it.
const DEADLINE: Duration = Duration::from_secs(100);

pub(super) fn run(host: &Host) {
    with_engine(host, async |docker| {
        life(&docker).await;
        streams(&docker).await;
        files(&docker).await;
        networks_and_volumes(&docker).await;
        errors(&docker).await;
    });
}

/// Runs something on a connection to the machine's engine.
pub(super) fn with_engine(host: &Host, act: impl AsyncFnOnce(Docker)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let address = format!("unix://{}", own_socket(host));
        let docker = Docker::connect_with_host(&address).expect("an address");
        let docker = docker.negotiate_version().await.expect("the engine answers");
        tokio::time::timeout(DEADLINE, act(docker)).await.expect("done in time");
    });
}

/// A container of busybox that is not started.
pub(super) async fn create(docker: &Docker, name: &str, body: ContainerCreateBody) -> String {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    docker.create_container(Some(options), body).await.expect("it can be made").id
}

pub(super) fn busybox(command: &[&str]) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox".into()),
        cmd: Some(command.iter().copied().map(Into::into).collect()),
        ..ContainerCreateBody::default()
    }
}

async fn start(docker: &Docker, name: &str, body: ContainerCreateBody) {
    create(docker, name, body).await;
    docker.start_container(name, None).await.expect("it starts");
}

pub(super) async fn remove(docker: &Docker, name: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    docker.remove_container(name, Some(options)).await.expect("it goes");
}

async fn status(docker: &Docker, name: &str) -> String {
    let seen = docker.inspect_container(name, None).await.expect("it is there");
    seen.state.and_then(|state| state.status).expect("it has a status").to_string()
}

/// Standard output and standard error.
async fn both(stream: impl Stream<Item = Result<LogOutput, Error>>) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stream = std::pin::pin!(stream);
    while let Some(part) = stream.next().await {
        match part.expect("the stream is whole") {
            LogOutput::StdErr { message } => err.extend(message),
            other => out.extend(other.into_bytes()),
        }
    }
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (text(out), text(err))
}

/// The status and words of the engine's refusal.
#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String) {
    match result {
        Err(Error::DockerResponseServerError { status_code, message }) => (status_code, message),
        other => panic!("no refusal: {other:?}"),
    }
}

async fn life(docker: &Docker) {
    let name = unique("bollard-life");
    let events = EventsOptionsBuilder::default()
        .filters(&[("container", vec![name.clone()]), ("type", vec!["container".into()])].into())
        .since("0")
        .build();
    create(docker, &name, busybox(&["sleep", "1000"])).await;
    assert_eq!(status(docker, &name).await, "created");
    docker.start_container(&name, None).await.expect("it starts");
    docker.pause_container(&name).await.expect("it pauses");
    assert_eq!(status(docker, &name).await, "paused");
    docker.unpause_container(&name).await.expect("it goes on");
    let top = docker.top_processes(&name, None).await.expect("they are listed");
    assert!(format!("{top:?}").contains("sleep 1000"), "{top:?}");
    let options = StatsOptionsBuilder::default().stream(false).build();
    let samples: Vec<_> = docker.stats(&name, Some(options)).try_collect().await.expect("told");
    let usage = samples[0].memory_stats.as_ref().and_then(|memory| memory.usage);
    assert!(samples.len() == 1 && usage > Some(0), "{samples:?}");
    docker.kill_container(&name, None).await.expect("it is killed");
    let wait = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let ended = docker.wait_container(&name, Some(wait)).next().await.expect("an answer");
    match ended {
        Err(Error::DockerContainerWaitError { code: 137, .. }) => {}
        other => panic!("{other:?}"),
    }
    let mut told = std::pin::pin!(docker.events(Some(events)));
    let mut actions = Vec::new();
    while actions.last().is_none_or(|action| action != "die") {
        let event = told.next().await.expect("it goes on").expect("an event");
        actions.extend(event.action.filter(|action| action != "top"));
    }
    assert_eq!(actions, ["create", "start", "pause", "unpause", "kill", "die"]);
    remove(docker, &name).await;
    let (status, words) = refused(docker.inspect_container(&name, None).await);
    assert_eq!((status, words), (404, format!("No such container: {name}")));
}

async fn streams(docker: &Docker) {
    let name = unique("bollard-streams");
    let mut body = busybox(&["cat"]);
    (body.open_stdin, body.stdin_once) = (Some(true), Some(true));
    create(docker, &name, body).await;
    let wish = AttachContainerOptionsBuilder::default();
    let wish = wish.stream(true).stdin(true).stdout(true).stderr(true).build();
    let mut attached = docker.attach_container(&name, Some(wish)).await.expect("attached");
    docker.start_container(&name, None).await.expect("it starts");
    attached.input.write_all(b"there and back\n").await.expect("written");
    attached.input.shutdown().await.expect("its end too");
    assert_eq!(both(attached.output).await, ("there and back\n".into(), String::new()));
    remove(docker, &name).await;

    let script = "echo out; echo err >&2; while true; do echo again; sleep 0.1; done";
    start(docker, &name, busybox(&["sh", "-c", script])).await;
    let follow = || LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).build();
    let first: Vec<_> =
        docker.logs(&name, Some(follow())).take(3).try_collect().await.expect("read");
    let (out, err) = both(futures::stream::iter(first.into_iter().map(Ok))).await;
    assert!(out.starts_with("out\n") && err == "err\n", "{out} {err}");
    // The stream was dropped in the middle; the container and the engine do not mind.
    assert_eq!(status(docker, &name).await, "running");

    let command = vec!["sh", "-c", "cat; echo err >&2; exit 3"];
    let options = CreateExecOptions {
        cmd: Some(command),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(&name, options).await.expect("made").id;
    match docker.start_exec(&exec, None).await.expect("started") {
        StartExecResults::Attached { output, mut input } => {
            input.write_all(b"typed\n").await.expect("written");
            input.shutdown().await.expect("its end too");
            assert_eq!(both(output).await, ("typed\n".into(), "err\n".into()));
        }
        StartExecResults::Detached => panic!("nobody asked for that"),
    }
    assert_eq!(docker.inspect_exec(&exec).await.expect("known").exit_code, Some(3));
    remove(docker, &name).await;
}

async fn files(docker: &Docker) {
    let name = unique("bollard-files");
    start(docker, &name, busybox(&["sleep", "1000"])).await;
    let options = UploadToContainerOptionsBuilder::default().path("/tmp").build();
    let body = bollard::body_full(tar_of("word", b"packed").into());
    docker.upload_to_container(&name, Some(options), body).await.expect("it goes in");
    let options = DownloadFromContainerOptionsBuilder::default().path("/tmp/word").build();
    let parts: Vec<_> = docker
        .download_from_container(&name, Some(options))
        .try_collect()
        .await
        .expect("it comes out");
    let bytes = parts.concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut entry = archive.entries().expect("a tar").next().expect("one").expect("whole");
    let mut content = String::new();
    std::io::Read::read_to_string(&mut entry, &mut content).expect("text");
    assert_eq!(content, "packed");
    remove(docker, &name).await;
}

pub(super) fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).expect("a tar in memory");
    builder.into_inner().expect("a tar in memory")
}

async fn networks_and_volumes(docker: &Docker) {
    let [network, volume, name] = ["net", "vol", "both"].map(|it| unique(&format!("bollard-{it}")));
    let request = NetworkCreateRequest { name: network.clone(), ..Default::default() };
    let made = docker.create_network(request).await.expect("made").id;
    let request = VolumeCreateRequest { name: Some(volume.clone()), ..Default::default() };
    docker.create_volume(request).await.expect("made");
    let mut body = busybox(&["sleep", "1000"]);
    body.host_config = Some(HostConfig {
        binds: Some(vec![format!("{volume}:/data")]),
        network_mode: Some(network.clone()),
        ..HostConfig::default()
    });
    start(docker, &name, body).await;
    let options = None::<InspectNetworkOptions>;
    let seen = docker.inspect_network(&network, options.clone()).await.expect("there");
    assert_eq!(seen.id, Some(made));
    assert_eq!(seen.containers.map(|all| all.len()), Some(1));
    let _ = refused(docker.remove_network(&network).await);
    assert_eq!(refused(docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await).0, 409);
    remove(docker, &name).await;
    docker.remove_network(&network).await.expect("it goes");
    docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await.expect("it goes");
    assert_eq!(refused(docker.inspect_network(&network, options).await).0, 404);
    assert_eq!(refused(docker.inspect_volume(&volume).await).0, 404);
}

async fn errors(docker: &Docker) {
    assert_eq!(docker.ping().await.expect("it answers"), "OK");
    let name = unique("bollard-taken");
    create(docker, &name, busybox(&["true"])).await;
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let (status, words) = refused(docker.create_container(Some(options), busybox(&[])).await);
    assert!(status == 409 && words.contains("is already in use by container"), "{status} {words}");
    remove(docker, &name).await;
    create(docker, &name, busybox(&["nosuch"])).await;
    let (status, words) = refused(docker.start_container(&name, None).await);
    assert!(status == 400 && words.contains("executable file not found"), "{status} {words}");
    remove(docker, &name).await;
    let (status, words) = refused(docker.list_nodes(None).await);
    assert!(status == 503 && words.contains("not a swarm manager"), "{status} {words}");
}
