//! Raw streams, waits, logs, statistics.

use std::time::Duration;

use http_body_util::BodyExt as _;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    ContainerConfig, ContainerLogsRequest, ContainerLogsResponse, ContainerState, ContainerStats,
    ContainerStatsResponse, LogRecord, LogStream, WaitContainerRequest, WaitContainerResponse,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::Docker;

fn running(tty: bool) -> Docker {
    let config = ContainerConfig { tty, open_stdin: true, ..ContainerConfig::default() };
    Docker::start().with_container(ContainerState::Running, config)
}

const ATTACH: &str = "POST /containers/c/attach?stream=1&stdin=1&stdout=1&stderr=1";

#[tokio::test]
async fn attach_upgrades_frames_the_output_and_knows_a_half_close() {
    let docker = running(false);
    let (head, mut stream) = docker.hijack(&format!("{ATTACH} UPGRADE"), "").await;
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    for line in [
        "content-type: application/vnd.docker.multiplexed-stream",
        "connection: Upgrade",
        "upgrade: tcp",
    ] {
        assert!(head.contains(line), "{head}");
    }
    stream.write_all(b"hello").await.unwrap();
    let mut frame = [0; 13];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x01\0\0\0\0\0\0\x05hello");
    // The end of the input: the fake's `cat` ends.
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn an_old_client_gets_a_200_and_the_same_stream() {
    let docker = running(true);
    let (head, mut stream) = docker.hijack(ATTACH, "").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/vnd.docker.raw-stream"), "{head}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut text = [0; 5];
    stream.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"hello");
}

#[tokio::test]
async fn before_1_42_all_streams_were_called_raw() {
    let docker = running(false);
    let request = format!("{} UPGRADE", ATTACH.replace("/containers", "/v1.41/containers"));
    let (head, _stream) = docker.hijack(&request, "").await;
    assert!(head.contains("content-type: application/vnd.docker.raw-stream"), "{head}");
}

#[tokio::test]
async fn the_keys_to_detach_end_a_terminals_stream() {
    let docker = running(true);
    let request = format!("{ATTACH}&detachKeys=ctrl-a,b UPGRADE");
    let (_, mut stream) = docker.hijack(&request, "").await;
    stream.write_all(b"x\x01b").await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert!(all.is_empty() || all == b"x", "{all:?}");
}

#[tokio::test]
async fn the_begin_of_those_keys_is_input_when_no_more_comes() {
    let docker = running(true);
    let (_, mut stream) = docker.hijack(&format!("{ATTACH} UPGRADE"), "").await;
    stream.write_all(b"x\x10").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"x\x10");
}

#[tokio::test]
async fn what_a_client_sends_ahead_is_not_lost() {
    let docker = running(true);
    let mut stream = docker.raw().await;
    // In one piece with the request.
    let head =
        format!("{ATTACH} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"early") {
        all.push(stream.read_u8().await.unwrap());
    }
}

#[tokio::test]
async fn a_paused_container_is_not_attached_to() {
    let docker = Docker::start().with_container(ContainerState::Paused, ContainerConfig::default());
    let why = Failure::new(ErrorCode::WrongState, "cannot attach to container `c`: it is paused");
    docker.engine.guest.refuse("Container.Attach", why);
    let got = docker.post("/containers/c/attach?stream=1&stdout=1", "").await;
    got.refuses(409, "container c0ffee is paused, unpause the container before attach");
}

#[tokio::test]
async fn the_head_of_a_wait_comes_before_its_end() {
    let docker = running(false);
    let guest = &docker.engine.guest;
    let ended = WaitContainerResponse { exit_code: 7, ..WaitContainerResponse::default() };
    guest.answer("Container.AwaitExit", &ended);
    let got = docker.post("/containers/c/wait?condition=removed", "").await;
    assert_eq!(got.is(200).json(), json!({"StatusCode": 7}));
    let asked: WaitContainerRequest = guest.asked("Container.AwaitExit").remove(0);
    assert_eq!(asked.condition, 2);
    docker.post("/containers/c/wait?condition=x", "").await.is(400);

    guest.hold("Container.AwaitExit");
    let request = http::Request::post("/containers/c/wait").body(Default::default()).unwrap();
    let response = docker.send(request).await;
    assert_eq!(response.status(), 200);
    // A client that hangs up is not waited for.
    drop(response);
    let gone = async {
        while guest.cancelled() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the call is cancelled");
}

fn logs() -> ContainerLogsResponse {
    let record = |stream: LogStream, line: &'static str, nanos| LogRecord {
        unix_nanos: nanos,
        stream: stream.into(),
        line: line.into(),
        attributes: [("b".into(), "x y".into()), ("a".into(), "1".into())].into(),
    };
    let records = vec![
        record(LogStream::Stdout, "one\n", 1_767_225_600_000_000_005),
        record(LogStream::Stderr, "two\n", 0),
    ];
    ContainerLogsResponse { records, lost_files: 0 }
}

#[tokio::test]
async fn logs_are_framed_and_say_when_and_what() {
    let docker = running(false);
    let guest = &docker.engine.guest;
    guest.answer("Container.Logs", &logs());
    let got = docker.get("/containers/c/logs?stdout=1&stderr=1&tail=5&since=10.5").await;
    assert_eq!(got.is(200).header("content-type"), "application/vnd.docker.multiplexed-stream");
    assert_eq!(got.body, &b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n"[..]);
    let asked: ContainerLogsRequest = guest.asked("Container.Logs").remove(0);
    assert_eq!(
        (asked.tail, asked.since_unix_nanos, asked.follow),
        (Some(5), 10_500_000_000, false)
    );

    let path = "/v1.43/containers/c/logs?stdout=1&timestamps=1&details=1&tail=all";
    let got = docker.get(path).await;
    let text = String::from_utf8_lossy(&got.body).into_owned();
    assert!(text.contains("2026-01-01T00:00:00.000000005Z a=1,b=x+y one\n"), "{text}");
    assert_eq!(guest.asked::<ContainerLogsRequest>("Container.Logs")[1].tail, None);
    let none = "Bad parameters: you must choose at least one stream";
    docker.get("/containers/c/logs").await.refuses(400, none);
}

#[tokio::test]
async fn a_terminals_log_is_raw() {
    let docker = running(true);
    docker.engine.guest.answer("Container.Logs", &logs());
    let got = docker.get("/containers/c/logs?stdout=1").await;
    assert_eq!(got.is(200).header("content-type"), "application/vnd.docker.raw-stream");
    assert_eq!(got.body, "one\ntwo\n");
}

#[tokio::test]
async fn who_reads_a_log_too_slowly_is_told_what_was_lost() {
    let docker = running(false);
    let lost = ContainerLogsResponse { lost_files: 2, ..ContainerLogsResponse::default() };
    docker.engine.guest.answer_with("Container.Logs", &[lost, logs()]);
    let got = docker.get("/containers/c/logs?stdout=1").await.body;
    let told = b"linkspan: files of the log that were rotated away before they were read: 2\n";
    assert_eq!((&got[..8], &got[8..8 + told.len()]), (&b"\x02\0\0\0\0\0\0\x4b"[..], &told[..]));
    assert!(got.ends_with(b"two\n"));
}

#[tokio::test]
async fn statistics_stream_or_come_once() {
    let docker = running(false);
    let sample = |nanos| ContainerStatsResponse {
        containers: vec![ContainerStats {
            id: "c0ffee".into(),
            unix_nanos: nanos,
            usage: Some(Default::default()),
            ..ContainerStats::default()
        }],
    };
    docker
        .engine
        .guest
        .answer_with("Container.Stats", &[sample(1_000_000_000), sample(2_000_000_000)]);
    let stream = docker.get("/containers/c/stats").await;
    let lines = stream.is(200).lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["preread"], lines[0]["read"]);
    let once = docker.get("/containers/c/stats?stream=0").await;
    assert_eq!(once.is(200).json()["read"], lines[1]["read"]);
    let first = docker.get("/containers/c/stats?stream=false&one-shot=true").await;
    assert_eq!(first.is(200).json()["preread"], "0001-01-01T00:00:00Z");
    // Removed before the first sample, or between the two.
    for samples in [&[][..], &[ContainerStatsResponse::default()], &[sample(1_000_000_000)]] {
        docker.engine.guest.answer_with("Container.Stats", samples);
        let gone = docker.get("/containers/c/stats?stream=0").await;
        gone.refuses(404, "No such container: c");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_cut_and_not_ended() {
    let docker = running(false);
    docker.engine.guest.hold("Container.Logs");
    let request = http::Request::get("/containers/c/logs?stdout=1&follow=1");
    let response = docker.send(request.body(Default::default()).unwrap()).await;
    assert_eq!(response.status(), 200);
    docker.engine.guest.break_connections();
    assert!(response.into_body().collect().await.is_err());
}
