//! Commands in containers: made, started, looked at.

use linkspan_proto::v1::{ContainerConfig, ContainerState, ExecRequest, exec_request};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::Docker;

fn running() -> Docker {
    Docker::start().with_container(ContainerState::Running, ContainerConfig::default())
}

async fn create(docker: &Docker, body: serde_json::Value) -> String {
    let made = docker.post("/containers/c/exec", &body.to_string()).await;
    made.is(201).json()["Id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_command_runs_once_and_leaves_its_exit_code() {
    let docker = running();
    let cmd = json!({"Cmd": ["cat"], "AttachStdin": true, "AttachStdout": true});
    let id = create(&docker, cmd).await;
    let before = docker.get(&format!("/exec/{id}/json")).await;
    assert_eq!(
        (&before.is(200).json()["Running"], &before.json()["ExitCode"]),
        (&json!(false), &json!(null))
    );
    assert_eq!(before.json()["ContainerID"], "c0ffee");

    let request = format!("POST /exec/{id}/start UPGRADE");
    let (head, mut stream) = docker.hijack(&request, r#"{"Detach":false}"#).await;
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED"), "{head}");
    stream.write_all(b"in").await.unwrap();
    let mut frame = [0; 10];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame[8..], b"in");
    assert_eq!(docker.get(&format!("/exec/{id}/json")).await.json()["Running"], true);
    docker.post(&format!("/exec/{id}/resize?h=10&w=20"), "").await.is(200);
    let again = docker.post(&format!("/exec/{id}/start"), "{}").await;
    again.refuses(409, &format!("Error: Exec command {id} has already run"));
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let after = docker.get(&format!("/exec/{id}/json")).await.json();
    assert_eq!((&after["Running"], &after["ExitCode"]), (&json!(false), &json!(0)));
    docker.post(&format!("/exec/{id}/resize?h=10&w=20"), "").await.is(409);
}

#[tokio::test]
async fn only_what_was_asked_for_is_shown_framed_as_the_starter_says() {
    let docker = running();
    let all = async |body: serde_json::Value, start: &str| {
        let id = create(&docker, body).await;
        let (head, mut stream) =
            docker.hijack(&format!("POST /exec/{id}/start UPGRADE"), start).await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let raw = "content-type: application/vnd.docker.raw-stream";
        (head.contains(raw), all)
    };
    let (raw, shown) = all(json!({"Cmd": ["flood", "10"], "AttachStdout": true}), "{}").await;
    assert!(!raw && shown.starts_with(b"\x01\0\0\0\0\0\0\x0a"), "{shown:?}");
    let (_, shown) = all(json!({"Cmd": ["flood", "10"], "AttachStderr": true}), "{}").await;
    assert!(shown.is_empty(), "{shown:?}");
    let body = json!({"Cmd": ["flood", "10"], "AttachStdout": true, "Tty": true});
    let (raw, shown) = all(body.clone(), r#"{"Tty":true}"#).await;
    assert_eq!((raw, shown.len()), (true, 10));
    let (raw, shown) = all(body, r#"{"Tty":false}"#).await;
    assert_eq!((raw, shown.len()), (false, 18));
}

#[tokio::test]
async fn a_terminals_size_is_of_those_who_can_say_it() {
    let docker = running();
    let sized = async |version: &str, tty: bool| {
        let body = json!({"Cmd": ["flood", "1"], "Tty": true, "ConsoleSize": [1, 2]}).to_string();
        let made = docker.post(&format!("/{version}/containers/c/exec"), &body).await;
        let id = made.is(201).json()["Id"].as_str().unwrap().to_owned();
        let start = json!({"Detach": true, "Tty": tty, "ConsoleSize": [3, 4]}).to_string();
        docker.post(&format!("/{version}/exec/{id}/start"), &start).await.is(200);
        let asked: Vec<ExecRequest> = docker.engine.guest.asked("Container.Exec");
        let Some(exec_request::Kind::Open(open)) = asked.last().unwrap().kind.clone() else {
            panic!("{asked:?}")
        };
        open.size.map(|size| size.rows)
    };
    assert_eq!(sized("v1.41", true).await, None);
    assert_eq!(sized("v1.42", false).await, Some(1));
    assert_eq!(sized("v1.42", true).await, Some(3));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_in_the_stream() {
    let docker = running();
    let id = create(&docker, json!({"Cmd": ["nonsense"], "AttachStdout": true})).await;
    let (_, mut stream) = docker.hijack(&format!("POST /exec/{id}/start UPGRADE"), "{}").await;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert!(String::from_utf8_lossy(&all).contains("`nonsense` was not found"));
    let after = docker.get(&format!("/exec/{id}/json")).await;
    assert_eq!(after.json()["ExitCode"], 127);
}

#[tokio::test]
async fn a_detached_command_runs_on_by_itself() {
    let docker = running();
    let id = create(&docker, json!({"Cmd": ["flood", "100000"]})).await;
    docker.post(&format!("/exec/{id}/start"), r#"{"Detach":true}"#).await.is(200);
    let ended = async {
        while docker.get(&format!("/exec/{id}/json")).await.json()["ExitCode"] != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it ends");
}

#[tokio::test]
async fn what_does_not_run_takes_no_commands() {
    let docker = Docker::start().with_container(ContainerState::Exited, ContainerConfig::default());
    let body = r#"{"Cmd":["ls"]}"#;
    let got = docker.post("/containers/c/exec", body).await;
    got.refuses(409, "container c0ffee is not running");
    let got = running().post("/containers/c/exec", "{}").await;
    got.refuses(400, "No exec command specified");
    docker.get("/exec/x/json").await.refuses(404, "No such exec instance: x");
    docker.post("/exec/x/start", "{}").await.refuses(404, "No such exec instance: x");
}
