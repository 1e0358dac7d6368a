//! Clients that are broken, hostile or gone. Whatever they do: the right status, no panic, and
//! nothing that is left of them.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{ContainerConfig, ContainerState, InspectContainerRequest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Handle,
};

use crate::common::Docker;

const SOON: Duration = Duration::from_secs(60);

fn running(tty: bool) -> Docker {
    let config = ContainerConfig { tty, open_stdin: true, ..ContainerConfig::default() };
    Docker::start().with_container(ContainerState::Running, config)
}

/// Sends bytes as they are and gives back all that comes until the server ends the connection.
async fn exchange(docker: &Docker, sent: &[u8]) -> String {
    let mut stream = docker.raw().await;
    // The server may have hung up before it had everything.
    let _ = stream.write_all(sent).await;
    let mut answer = Vec::new();
    // The end, or a reset: the server need not have read everything.
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(SOON, read).await.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// How many tasks live when nobody is connected: those of the agent's channel and of the server.
async fn at_rest(docker: &Docker) -> usize {
    exchange(docker, b"GET /version HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").await;
    Handle::current().metrics().num_alive_tasks()
}

/// Until no more live than at rest. A few may come and go: who calls this made many more.
async fn settles(rest: usize) {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let settled = async {
        while alive() > rest + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let settled = tokio::time::timeout(SOON, settled).await;
    assert!(settled.is_ok(), "{} tasks live, and {rest} at rest", alive());
}

#[tokio::test]
async fn a_body_that_is_no_json_of_docker_is_told_so() {
    let docker = running(false);
    let deep = "[".repeat(100_000);
    for path in [
        "/containers/create",
        "/containers/c/exec",
        "/containers/c/update",
        "/networks/create",
        "/networks/n/connect",
        "/volumes/create",
        "/auth",
        "/commit?container=c",
    ] {
        let bodies = ["{", "[]", "nul", "\"text\"", "1e999", "{\"Name\":}", "{}{}", "\u{0}", &deep];
        for body in bodies.map(str::as_bytes).into_iter().chain([&b"{\"\xff\":1}"[..]]) {
            let got = docker.call("POST", path, body.to_vec()).await;
            let message = got.is(400).json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(!message.is_empty(), "{path}: {body:?}");
        }
    }
}

#[tokio::test]
async fn what_a_body_has_beside_dockers_fields_is_ignored() {
    let docker = running(false);
    docker.engine.guest.add_image("busybox");
    let body = r#"{"Image":"busybox","New":{"a":[1]},"HostConfig":{"Newer":true},"image":"other"}"#;
    docker.post("/containers/create?name=aa&new=1&all[]=2", body).await.is(201);
    docker.post("/containers/c/exec", r#"{"Cmd":["ls"],"New":null}"#).await.is(201);
}

#[tokio::test]
async fn a_body_is_bounded() {
    let docker = running(false);
    let rest = at_rest(&docker).await;
    for head in ["Content-Length: 99999999999", "Transfer-Encoding: chunked"] {
        let mut stream = docker.raw().await;
        let head = format!(
            "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let endless = async {
            // Either a chunk or just a part of the body.
            let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
            while write.write_all(&chunk).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        let mut answer = [0; 12];
        tokio::select! {
            read = read.read_exact(&mut answer) => { read.unwrap(); }
            () = endless => {}
        }
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    settles(rest).await;
}

#[tokio::test]
async fn who_is_slow_holds_up_nobody_and_leaves_nothing() {
    let docker = running(false);
    let rest = at_rest(&docker).await;
    let head = "POST /auth HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-";
    let begun = format!("{head}Length: 9\r\n\r\n{{");
    let chunked = begun.replace("Content-Length: 9", "Transfer-Encoding: chunked");
    let mut slow = Vec::new();
    for _ in 0..30 {
        for sent in ["", head, &begun, &chunked] {
            let mut stream = docker.raw().await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            slow.push(stream);
        }
    }
    docker.get("/_ping").await.is(200);
    drop(slow);
    settles(rest).await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing() {
    let docker = running(false);
    let id = {
        let made = docker.post("/containers/c/exec", r#"{"Cmd":["cat"]}"#).await;
        made.is(201).json()["Id"].as_str().unwrap().to_owned()
    };
    let guest = &docker.engine.guest;
    guest.hold("Event.Events");
    guest.hold("Container.AwaitExit");
    guest.hold("Container.Logs");
    let rest = at_rest(&docker).await;
    let mut gone = Vec::new();
    for _ in 0..20 {
        for request in [
            // With and without its input, upgraded or in the old way.
            "POST /containers/c/attach?stream=1&stdin=1&stdout=1 UPGRADE",
            "POST /containers/c/attach?stream=1&stdout=1 UPGRADE",
            "POST /containers/c/attach?stream=1&stdout=1",
            "GET /events",
            "POST /containers/c/wait",
            "GET /containers/c/logs?stdout=1&follow=1",
        ] {
            gone.push(docker.hijack(request, "").await);
        }
    }
    gone.push(docker.hijack(&format!("POST /exec/{id}/start UPGRADE"), "{}").await);
    assert!(Handle::current().metrics().num_alive_tasks() > rest + 100);
    drop(gone);
    settles(rest + 4).await;
    // The process runs on: nobody has ended it.
    assert_eq!(docker.get(&format!("/exec/{id}/json")).await.json()["Running"], true);
}

/// As the docker CLI does: it writes the head, then the body, and reads its answer then.
#[tokio::test]
async fn who_is_refused_early_hears_why_and_not_of_a_broken_pipe() {
    let docker = Docker::start();
    let rest = at_rest(&docker).await;
    let bytes = 2_000_000;
    for path in ["/services/create", "/images/load?platform=nonsense"] {
        let mut stream = docker.raw().await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The answer is on its way before the body is.
        let first = stream.read_u8().await.unwrap();
        stream.write_all(&vec![b'x'; bytes]).await.expect("it is still read");
        let next = "GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
        stream.write_all(next.as_bytes()).await.expect("the connection is still good");
        let mut answer = vec![first];
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        read.expect("it ends").unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(["503", "400"].contains(&status(&answer)), "{answer}");
        assert!(answer.ends_with("OK"), "{answer}");
    }
    settles(rest).await;
}

#[tokio::test]
async fn a_client_that_only_listens_may_close_its_own_half() {
    // More than is on its way at any moment.
    const BYTES: usize = 30_000_000;
    let docker = running(false);
    let body = format!(r#"{{"Cmd":["flood","{BYTES}"],"AttachStdout":true,"Tty":true}}"#);
    let made = docker.post("/containers/c/exec", &body).await.is(201).json();
    let request = format!("POST /exec/{}/start UPGRADE", made["Id"].as_str().unwrap());
    let (_, mut stream) = docker.hijack(&request, r#"{"Tty":true}"#).await;
    // As the docker CLI does without `-i`.
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut all)).await;
    read.expect("the output ends").unwrap();
    assert_eq!(all.len(), BYTES, "the output ended with the input");
}

#[tokio::test]
async fn two_hundred_listen_at_once_and_leave_together() {
    let docker = Docker::start();
    docker.engine.guest.hold("Event.Events");
    let listeners = async || docker.get("/info").await.is(200).json()["NEventsListener"].clone();
    let rest = at_rest(&docker).await;
    let mut heads = Vec::new();
    for _ in 0..200 {
        let request = Request::get("/events").body(Full::default()).unwrap();
        heads.push(docker.send(request).await);
    }
    assert!(heads.iter().all(|head| head.status() == 200));
    assert_eq!(listeners().await, 200);
    drop(heads);
    let alone = async {
        while listeners().await != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, alone).await.expect("all are gone");
    assert_eq!(docker.engine.guest.cancelled(), 200);
    settles(rest).await;
}

/// Bytes that two readers could divide into requests in two ways.
#[tokio::test]
async fn a_request_has_one_end() {
    let docker = Docker::start();
    let hidden = "GET /swarm HTTP/1.1\r\nHost: d\r\n\r\n";
    for head in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: 0x3",
        "Content-Length: -1",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
    ] {
        let sent = format!("POST /auth HTTP/1.1\r\nHost: d\r\n{head}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = exchange(&docker, sent.as_bytes()).await;
        assert_eq!((status(&answer), answer.contains("503")), ("400", false), "{head}: {answer}");
    }
    // RFC 9112, 6.1: chunks count, and the connection ends with the answer.
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let sent = format!("POST /auth HTTP/1.1\r\nHost: d\r\n{head}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = exchange(&docker, sent.as_bytes()).await;
        assert_eq!((status(&answer), answer.contains("503")), ("400", false), "{head}: {answer}");
    }
    // A chunk that is no chunk ends the connection too.
    let sent = format!(
        "POST /auth HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}"
    );
    let answer = exchange(&docker, sent.as_bytes()).await;
    assert!(!answer.contains("503"), "{answer}");
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let docker = Docker::start();
    let sent = "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n\
                POST /auth HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}\
                GET /nothing HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
    let answer = exchange(&docker, sent.as_bytes()).await;
    let all: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|part| &part[..3]).collect();
    // The second says that it is no JSON.
    assert_eq!(all, ["200", "400", "404"], "{answer}");
}

#[tokio::test]
async fn bytes_behind_an_upgrade_are_input_and_no_request() {
    let docker = running(true);
    let made = docker
        .post("/containers/c/exec", r#"{"Cmd":["cat"],"AttachStdin":true,"AttachStdout":true}"#);
    let id = made.await.json()["Id"].as_str().unwrap().to_owned();
    let hidden = "GET /swarm HTTP/1.1\r\nHost: d\r\n\r\n";
    let sent = format!(
        "POST /exec/{id}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{{}}{hidden}"
    );
    let mut stream = docker.raw().await;
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(hidden.as_bytes()) {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 UPGRADED"), "{answer}");
    assert!(!answer.contains("503"), "{answer}");
}

#[tokio::test]
async fn a_path_is_decoded_once_and_never_walked() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let nothing = || Failure::new(ErrorCode::NotFound, "no such container");
    guest.refuse("Container.Inspect", nothing());
    for (path, name) in [
        ("/containers/%2e%2e/json", ".."),
        ("/containers/../json", ".."),
        ("/containers/%2e%2e%2f%2e%2e%2fetc/json", "../../etc"),
        ("/containers/a%00b/json", "a\0b"),
        ("/containers/a%2Fb/json", "a/b"),
        ("/containers/a%252fb/json", "a%2fb"),
        ("/containers/%zz/json", "%zz"),
        ("/containers/%/json", "%"),
        ("/containers/%0d%0aX:%20y/json", "\r\nX: y"),
        ("/containers/%F0%9F%90%B3/json", "\u{1f433}"),
    ] {
        let got = docker.get(path).await;
        got.refuses(404, &format!("No such container: {name}"));
        let asked = guest.asked::<InspectContainerRequest>("Container.Inspect").pop().unwrap();
        assert_eq!(asked.container, name, "{path}");
    }
    for path in
        ["/containers/%ff/json", "/%2e%2e/containers/json", "//containers/json", "/.", "/%00"]
    {
        docker.get(path).await.refuses(404, "page not found");
    }
    // What a name says of itself stays in its line.
    assert_eq!(docker.get("/containers/%0d%0aX:%20y/json").await.header("x"), "");
}

#[tokio::test]
async fn a_version_is_two_numbers() {
    let docker = Docker::start();
    for version in ["1", "1.", ".1", "1..24", "1.24.1", "1.99999999999999999999", "0.0", "2.0", "."]
    {
        let got = docker.get(&format!("/v{version}/_ping")).await;
        assert!(got.is(400).json()["message"].is_string(), "{version}");
    }
    for path in
        ["/v/_ping", "/v1.x/_ping", "/v-1.24/_ping", "/V1.24/_ping", "/v1.24", "/v1.24/v1.24/_ping"]
    {
        docker.get(path).await.refuses(404, "page not found");
    }
    assert_eq!(docker.engine.boots(), 0);
}

#[tokio::test]
async fn a_head_is_bounded() {
    let docker = Docker::start();
    let rest = at_rest(&docker).await;
    let large = format!("GET /_ping HTTP/1.1\r\nHost: d\r\nX: {}\r\n\r\n", "x".repeat(2 << 20));
    assert_eq!(status(&exchange(&docker, large.as_bytes()).await), "431");
    let lines: String = (0..1000).map(|number| format!("X-{number}: y\r\n")).collect();
    let many = format!("GET /_ping HTTP/1.1\r\nHost: d\r\n{lines}\r\n");
    assert_eq!(status(&exchange(&docker, many.as_bytes()).await), "431");
    let long = format!("GET /{} HTTP/1.1\r\nHost: d\r\n\r\n", "x".repeat(100_000));
    assert_eq!(status(&exchange(&docker, long.as_bytes()).await), "414");
    settles(rest).await;
}

#[tokio::test]
async fn other_versions_of_http_have_an_end() {
    let docker = Docker::start();
    docker.engine.guest.answer_with::<linkspan_proto::v1::EventsResponse>("Event.Events", &[]);
    // Without a length and without chunks: the end of the connection is the end of the body.
    let old = exchange(&docker, b"GET /_ping HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("\r\n\r\nOK"), "{old}");
    let old = exchange(&docker, b"GET /events HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200") && !old.to_lowercase().contains("chunked"), "{old}");
    for sent in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"GET /_ping HTTP/3.0\r\n\r\n",
        b"GET /_ping\r\n\r\n",
        b"GET  /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
        b"G\0T /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
    ] {
        let answer = exchange(&docker, sent).await;
        assert!(matches!(status(&answer), "" | "400" | "505"), "{answer}");
    }
    // All the URL, as proxies send it; a star; a tunnel.
    let whole = b"GET http://docker/_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&exchange(&docker, whole).await), "200");
    for sent in ["OPTIONS * HTTP/1.1", "CONNECT docker:80 HTTP/1.1", "TRACE /_ping HTTP/1.1"] {
        let sent = format!("{sent}\r\nHost: d\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&exchange(&docker, sent.as_bytes()).await), "404", "{sent}");
    }
}
