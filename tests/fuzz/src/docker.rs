//! The Docker Engine API: whole connections, and what their requests carry as text.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::Timestamp;
use linkspan_docker_types::{
    container::CreateBody, detach::DetachKeys, filters::Filters, header, json, time,
    version::ApiVersion,
};
use linkspan_engine::stub::StubEngine;
use linkspan_gateway::serve_docker_connection;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Runtime,
};

/// For a client that has said all and gets nothing: it hangs up.
const PATIENCE: Duration = Duration::from_millis(2);
/// No connection outlives its client by so much.
const END: Duration = Duration::from_secs(20);

struct Server {
    runtime: Runtime,
    engine: Arc<StubEngine>,
}

impl Server {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let engine = {
            let _inside = runtime.enter();
            StubEngine::new("/nonexistent/vm-image")
        };
        Self { runtime, engine }
    }

    /// All that a client gets which sends `input` and then hangs up.
    async fn answer(&self, input: &[u8]) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (mut read, mut write) = tokio::io::split(client);
        let served = serve_docker_connection(Box::pin(server), self.engine.clone());
        let asked = async {
            let mut answer = Vec::new();
            let said = async {
                // A server that has answered need not read on.
                let _ = write.write_all(input).await;
            };
            tokio::join!(said, async {
                // Its first bytes, or none: what comes later is cut off by the end of the input.
                let _ = tokio::time::timeout(PATIENCE, read.read_buf(&mut answer)).await;
            });
            let _ = write.shutdown().await;
            let _ = read.read_to_end(&mut answer).await;
            answer
        };
        let both = async { tokio::join!(served, asked) };
        tokio::time::timeout(END, both).await.expect("the connection ends with its client").1
    }
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::new);

/// Bytes of a client. A panic of a handler is one of the connection, which runs in this task.
pub(crate) fn request(input: &[u8]) {
    let answer = SERVER.runtime.block_on(SERVER.answer(input));
    let shown = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{shown}");
}

pub(crate) fn requests() -> Vec<Vec<u8>> {
    let with_body = |head: &str, body: &str| {
        let length = body.len();
        format!(
            "{head} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n");
    let filters =
        "%7B%22label%22%3A%5B%22a%3Db%22%5D%2C%22name%22%3A%7B%22%5E%2Fc%24%22%3Atrue%7D%7D";
    let create = r#"{"Image":"busybox","Cmd":["true"],"HostConfig":{"Binds":["/a:/b:ro"],"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}}"#;
    let upgrade = with_body("POST /exec/0123/start", "{}")
        .replace("Host:", "Connection: Upgrade\r\nUpgrade: tcp\r\nHost:");
    [
        get("/_ping"),
        get("/v1.43/info"),
        get(&format!("/v1.24/containers/json?all=1&limit=-1&filters={filters}")),
        get("/images/h:5000/a%2Fb/json"),
        get("/containers/c/archive?path=%2Fetc%2F."),
        get("/containers/c/logs?stdout=1&since=1.5&until=10m&tail=all"),
        get("/events?since=2026-01-01T00:00:00Z"),
        get("/networks/n?scope=local&verbose=true"),
        with_body("POST /v1.43/containers/create?name=/c", create),
        with_body("POST /networks/create", r#"{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/8"}]}}"#),
        with_body("POST /auth", r#"{"username":"a","auth":"YTpi"}"#),
        with_body("POST /containers/c/update", r#"{"Memory":4194304,"RestartPolicy":{"Name":"always"}}"#),
        with_body("POST /containers/c/exec", r#"{"Cmd":["cat"],"DetachKeys":"ctrl-a,b"}"#),
        with_body("POST /commit?container=c&changes=CMD+x", "null"),
        upgrade + "input",
        "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na:b\n\r\n0\r\n\r\n"
            .to_owned(),
        "POST /images/create?fromImage=a&tag=b HTTP/1.1\r\nHost: d\r\nX-Registry-Auth: eyJ1c2VybmFtZSI6ImEifQ==\r\n\r\n"
            .to_owned(),
        "HEAD /_ping HTTP/1.0\r\n\r\n".to_owned() + &get("/version"),
    ]
    .map(String::into_bytes)
    .into()
}

/// One text, read as everything that a request may carry as one.
pub(crate) fn parameter(input: &[u8]) {
    let _ = CreateBody::read(input).map(|body| body.request("name"));
    let _ = json::value(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(mut filters) = Filters::read(text) {
        let _ = filters.take_bool("dangling");
        for filter in filters.list() {
            assert!(filter.contains('='), "`{filter}` has no name");
        }
    }
    let _ = header::registry_auth(text);
    let _ = header::registry_config(text);
    let _ = time::moment(text, Timestamp::UNIX_EPOCH);
    if let Ok(version) = text.parse::<ApiVersion>() {
        assert_eq!(version.to_string().parse::<ApiVersion>(), Ok(version), "`{text}`");
    }
    keys(text, input);
}

/// What was typed comes out again but for the keys, however it was divided.
fn keys(text: &str, typed: &[u8]) {
    let Ok(keys) = text.parse::<DetachKeys>().or_else(|_| "a,b".parse()) else { return };
    let (mut whole, mut parts) = (keys.clone(), keys);
    let mut at_once = whole.filter(typed);
    if !at_once.detached {
        at_once.pass.extend(whole.finish());
        assert_eq!(at_once.pass, typed, "`{text}` swallows input");
    }
    let mut divided = Vec::new();
    let detached = typed.iter().any(|byte| {
        let one = parts.filter(&[*byte]);
        divided.extend(one.pass);
        one.detached
    });
    if !detached {
        divided.extend(parts.finish());
    }
    assert_eq!((divided, detached), (at_once.pass, at_once.detached), "`{text}` depends on pieces");
}

pub(crate) fn parameters() -> Vec<Vec<u8>> {
    [
        r#"{"label":["a=b"],"dangling":["true"],"status":{"running":true}}"#,
        r#"{"Image":"a","Env":["A=b"],"Cmd":"x","ExposedPorts":{"80/tcp":{}},"HostConfig":{"Binds":["/a:/b:ro,z","v:/c"],"PortBindings":{"80-81/udp":[{"HostIp":"::1","HostPort":"8080-8081"}]},"Mounts":[{"Type":"tmpfs","Target":"/t"}],"Ulimits":[{"Name":"core","Hard":-1}]},"NetworkingConfig":{"EndpointsConfig":{"n":null}}}"#,
        "eyJ1c2VybmFtZSI6ImEiLCJwYXNzd29yZCI6ImIifQ==",
        "eyJoOjUwMDAiOnsiYXV0aCI6IllUcGkifX0",
        "2026-01-01T00:00:00.123456789+01:00",
        "1767225600.000000001",
        "1h30m5.5s",
        "ctrl-p,ctrl-q",
        "a,a,b",
        "1.44",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
