//! What all requests have in common.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::Docker;

#[tokio::test]
async fn ping_answers_without_a_machine() {
    let docker = Docker::start();
    let got = docker.get("/_ping").await;
    assert_eq!(got.is(200).body, "OK");
    for (name, value) in [
        ("docker-experimental", "false"),
        ("ostype", "linux"),
        ("builder-version", "1"),
        ("swarm", "inactive"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("content-type", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert!(got.header("api-version").starts_with("1."));
    let head = docker.call("HEAD", "/_ping", "").await;
    assert_eq!((head.is(200).body.len(), head.header("builder-version")), (0, "1"));
    assert_eq!(docker.engine.boots(), 0);
}

#[tokio::test]
async fn the_first_real_request_boots_the_machine() {
    let docker = Docker::start();
    let got = docker.get("/version").await;
    assert_eq!(got.is(200).json()["Os"], "linux");
    assert_eq!(docker.engine.boots(), 1);
}

#[tokio::test]
async fn versions_that_are_not_served_are_refused_in_dockers_words() {
    let docker = Docker::start();
    let newest = docker.get("/_ping").await.header("api-version").to_owned();
    docker.get("/v1.24/_ping").await.is(200);
    docker.get(&format!("/v{newest}/_ping")).await.is(200);
    docker.get("/v1.23/_ping").await.refuses(
        400,
        "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
    );
    let message =
        format!("client version 1.999 is too new. Maximum supported API version is {newest}");
    docker.get("/v1.999/_ping").await.refuses(400, &message);
}

#[tokio::test]
async fn what_nobody_serves_is_not_found_in_dockers_words() {
    let docker = Docker::start();
    for path in ["/", "/nothing", "/v1.43/nothing", "/containers", "/v1.43"] {
        docker.get(path).await.refuses(404, "page not found");
    }
    docker.post("/containers/json", "").await.refuses(404, "page not found");
    assert_eq!(docker.engine.boots(), 0);
}

#[tokio::test]
async fn an_engine_that_is_in_no_swarm_says_so() {
    let docker = Docker::start();
    for path in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs", "/services/x"] {
        let got = docker.get(path).await;
        let message = got.is(503).json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("This node is not a swarm manager."), "{path}: {message}");
    }
    docker.post("/swarm/leave", "").await.refuses(503, "This node is not part of a swarm");
    assert_eq!(docker.get("/plugins").await.is(200).json(), serde_json::json!([]));
    docker.get("/plugins/x/json").await.refuses(404, "plugin \"x\" not found");
    docker.post("/session", "").await.is(501);
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let docker = Docker::start();
    let got = docker.post("/containers/create", "{").await;
    assert!(got.is(400).json()["message"].as_str().unwrap().starts_with("invalid JSON"));
    let got = docker.post("/networks/create", "").await;
    got.refuses(400, "invalid JSON: got EOF while reading request body");
    let request = http::Request::post("/networks/create").header("content-type", "text/plain");
    let body = http_body_util::Full::new("{}".into());
    assert_eq!(docker.send(request.body(body).unwrap()).await.status(), 400);
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let docker = Docker::start();
    let mut stream = docker.raw().await;
    for _ in 0..3 {
        stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nOK") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let text = String::from_utf8(answer).unwrap();
        // As Go writes them: there are clients that look for these very letters.
        assert!(text.contains("\r\nApi-Version: 1."), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_http_ends_the_connection() {
    let docker = Docker::start();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /auth HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: gzip\r\n\r\n",
    ] {
        let mut stream = docker.raw().await;
        stream.write_all(nonsense).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
    }
}
