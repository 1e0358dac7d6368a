//! `/containers`.

use linkspan_proto::v1::{StartContainerRequest, TopContainerRequest};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        CommitContainerRequest, CommitContainerResponse, ContainerConfig, ContainerState,
        ContainerSummary, CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse,
        ExportContainerResponse, KillContainerRequest, KillContainerResponse,
        ListContainersRequest, ListContainersResponse, PathStat, PauseContainerResponse,
        RemoveContainerRequest, RemoveContainerResponse, RenameContainerRequest,
        RenameContainerResponse, RestartContainerRequest, RestartContainerResponse,
        StartContainerResponse, StatPathResponse, StopContainerRequest, StopContainerResponse,
        TopContainerResponse, TopRow, UpdateContainerRequest, UpdateContainerResponse,
    },
};
use serde_json::json;

use crate::common::Docker;

fn running() -> Docker {
    Docker::start().with_container(ContainerState::Running, ContainerConfig::default())
}

fn ended() -> Docker {
    Docker::start().with_container(ContainerState::Exited, ContainerConfig::default())
}

fn nowhere() -> Docker {
    let docker = Docker::start();
    let failure = Failure::new(ErrorCode::NotFound, "no such container: `x`");
    for method in [
        "Container.Inspect",
        "Container.Start",
        "Container.Stop",
        "Container.Restart",
        "Container.Kill",
        "Container.Resize",
        "Container.Remove",
        "Container.Rename",
        "Container.Top",
    ] {
        docker.engine.guest.refuse(method, failure.clone());
    }
    docker
}

#[tokio::test]
async fn a_list_asks_for_what_the_query_says() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let one = ContainerSummary {
        id: "c0ffee".into(),
        name: "c".into(),
        state: ContainerState::Running.into(),
        ..ContainerSummary::default()
    };
    let answer = ListContainersResponse { containers: vec![one], ..Default::default() };
    guest.answer("Container.List", &answer);
    let filters = "%7B%22label%22%3A%5B%22a%3Db%22%5D%2C%22name%22%3A%5B%22%5E%2Fc%24%22%2C%22d%22%5D%2C%22status%22%3A%7B%22running%22%3Atrue%7D%7D";
    let path = format!("/v1.43/containers/json?all=1&limit=3&size=true&filters={filters}");
    let got = docker.get(&path).await;
    let shown = got.is(200).json();
    assert_eq!((&shown[0]["Id"], &shown[0]["Names"]), (&json!("c0ffee"), &json!(["/c"])));
    let asked: ListContainersRequest = guest.asked("Container.List").remove(0);
    assert_eq!((asked.all, asked.last, asked.size), (true, 3, true));
    assert_eq!(asked.filters, ["label=a=b", "name=^c$", "name=d", "status=running"]);
    docker.get("/containers/json?filters=nonsense").await.is(400);
}

#[tokio::test]
async fn a_list_that_did_not_change_is_asked_for_and_not_sent_again() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let one = |name: &str| ContainerSummary { name: name.into(), ..ContainerSummary::default() };
    let list = |name: &str, revision| ListContainersResponse {
        containers: vec![one(name)],
        revision,
        ..ListContainersResponse::default()
    };
    let unchanged = ListContainersResponse {
        revision: 7,
        unchanged: true,
        ..ListContainersResponse::default()
    };
    let shown = async || docker.get("/containers/json").await.is(200).json()[0]["Names"][0].clone();
    for (answer, name) in
        [(&list("old", 7), "/old"), (&unchanged, "/old"), (&list("new", 8), "/new")]
    {
        guest.answer("Container.List", answer);
        assert_eq!(shown().await, name);
    }
    // Another question has no list yet.
    guest.answer("Container.List", &list("new", 8));
    docker.get("/containers/json?all=1").await.is(200);
    // Where the guest does not count, each list is new.
    for name in ["one", "two"] {
        guest.answer("Container.List", &list(name, 0));
        assert_eq!(shown().await, format!("/{name}"));
    }
    let asked: Vec<ListContainersRequest> = guest.asked("Container.List");
    let known: Vec<u64> = asked.iter().map(|one| one.known_revision).collect();
    assert_eq!(known, [0, 7, 7, 0, 8, 0]);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_dockers_words() {
    let docker = nowhere();
    let message = "No such container: x";
    docker.get("/containers/x/json").await.refuses(404, message);
    docker.get("/containers/x/top").await.refuses(404, message);
    docker.get("/containers/x/logs?stdout=1").await.refuses(404, message);
    for verb in ["start", "stop", "restart", "resize?h=1&w=1"] {
        docker.post(&format!("/containers/x/{verb}"), "").await.refuses(404, message);
    }
    let kill = format!("cannot kill container: x: {message}");
    docker.post("/containers/x/kill", "").await.refuses(404, &kill);
    docker.post("/containers/x/rename?name=y", "").await.refuses(404, message);
    docker.post("/containers/x/exec", r#"{"Cmd":["ls"]}"#).await.refuses(404, message);
    docker.call("DELETE", "/containers/x", "").await.refuses(404, message);
}

#[tokio::test]
async fn a_missing_image_has_the_words_on_which_clients_pull() {
    let docker = Docker::start();
    let body = json!({"Image": "busybox", "Cmd": ["true"]}).to_string();
    docker
        .post("/containers/create?name=cc", &body)
        .await
        .refuses(404, "No such image: busybox:latest");
    docker.engine.guest.add_image("busybox");
    let made = docker.post("/containers/create?name=/cc", &body).await;
    assert_eq!(made.is(201).json(), json!({"Id": "id-of-cc", "Warnings": []}));
}

#[tokio::test]
async fn starting_and_stopping_what_is_so_already_changes_nothing() {
    let docker = running();
    let guest = &docker.engine.guest;
    guest.answer("Container.Stop", &StopContainerResponse { already: false });
    guest.answer("Container.Start", &StartContainerResponse { already: true });
    assert_eq!(docker.post("/containers/c/start", "").await.is(304).body, "");
    docker.post("/containers/c/stop?t=7&signal=INT", "").await.is(204);
    let asked: StopContainerRequest = docker.engine.guest.asked("Container.Stop").remove(0);
    assert_eq!((asked.timeout_seconds, asked.signal.as_str()), (Some(7), "INT"));

    let docker = ended();
    let guest = &docker.engine.guest;
    guest.answer("Container.Stop", &StopContainerResponse { already: true });
    guest.answer("Container.Start", &StartContainerResponse { already: false });
    docker.post("/containers/c/stop", "").await.is(304);
    docker.post("/containers/c/start", "").await.is(204);
    docker.post("/containers/c/start", "{}").await.is(204);
    docker.post("/containers/c/start", r#"{"Privileged":true}"#).await.is(400);
    docker.post("/containers/c/start?checkpoint=x", "").await.is(501);
    docker.post("/containers/c/start?checkpoint-dir=/x", "").await.is(501);
    assert_eq!(guest.asked::<StartContainerRequest>("Container.Start").len(), 2);
    let why = Failure::new(ErrorCode::WrongState, "cannot kill container `c`: it is not running");
    guest.refuse("Container.Kill", why);
    let conflict = "cannot kill container: c: container c0ffee is not running";
    docker.post("/containers/c/kill", "").await.refuses(409, conflict);
}

#[tokio::test]
async fn a_command_that_cannot_run_has_the_words_for_exit_code_127() {
    let docker = ended();
    let why = "exec: \"x\": executable file not found in $PATH";
    docker.engine.guest.refuse("Container.Start", Failure::new(ErrorCode::CommandNotFound, why));
    let got = docker.post("/containers/c/start", "").await;
    got.refuses(400, &format!("failed to create task for container: {why}: unknown"));
}

#[tokio::test]
async fn verbs_reach_the_guest_with_their_parameters() {
    let docker = running();
    let guest = &docker.engine.guest;
    guest.answer_with("Container.Kill", &[KillContainerResponse {}]);
    guest.answer_with("Container.Restart", &[RestartContainerResponse {}]);
    guest.answer_with("Container.Rename", &[RenameContainerResponse {}]);
    guest.answer_with("Container.Pause", &[PauseContainerResponse {}]);
    guest.answer_with("Container.Remove", &[RemoveContainerResponse::default()]);
    guest.answer_with("Container.Update", &[UpdateContainerResponse::default()]);
    docker.post("/containers/c/kill?signal=HUP", "").await.is(204);
    docker.post("/containers/c/restart?t=-1&signal=INT", "").await.is(204);
    docker.post("/containers/c/rename?name=/d", "").await.is(204);
    docker.post("/containers/c/pause", "").await.is(204);
    docker.call("DELETE", "/containers/c?force=1&v=1", "").await.is(204);
    let got = docker.post("/containers/c/update", r#"{"Memory":8388608}"#).await;
    assert_eq!(got.is(200).json(), json!({"Warnings": null}));
    assert_eq!(guest.asked::<KillContainerRequest>("Container.Kill")[0].signal, "HUP");
    let restart = &guest.asked::<RestartContainerRequest>("Container.Restart")[0];
    assert_eq!((restart.timeout_seconds, restart.signal.as_str()), (Some(u32::MAX), "INT"));
    assert_eq!(guest.asked::<RenameContainerRequest>("Container.Rename")[0].name, "d");
    let same = "NEW_NAME: renaming a container with the same name as its current name";
    guest.refuse("Container.Rename", Failure::new(ErrorCode::InvalidArgument, same));
    let refused = "Renaming a container with the same name as its current name";
    docker.post("/containers/c/rename?name=c", "").await.refuses(400, refused);
    let remove = &guest.asked::<RemoveContainerRequest>("Container.Remove")[0];
    assert!(remove.force && remove.volumes);
    let update = &guest.asked::<UpdateContainerRequest>("Container.Update")[0];
    assert_eq!(update.memory_bytes, Some(8 << 20));
    docker.post("/containers/c/stop?t=soon", "").await.is(400);
}

#[tokio::test]
async fn top_has_titles_and_rows() {
    let docker = running();
    let top = TopContainerResponse {
        titles: vec!["PID".into()],
        processes: vec![TopRow { values: vec!["1".into()] }],
    };
    docker.engine.guest.answer("Container.Top", &top);
    let got = docker.get("/containers/c/top?ps_args=-ef").await;
    assert_eq!(got.is(200).json(), json!({"Titles": ["PID"], "Processes": [["1"]]}));
    let asked: TopContainerRequest = docker.engine.guest.asked("Container.Top").remove(0);
    assert_eq!(asked.ps_args, ["-ef"]);
}

fn folder() -> StatPathResponse {
    let stat = PathStat { name: "etc".into(), mode: 0o040_755, ..PathStat::default() };
    StatPathResponse { stat: Some(stat) }
}

#[tokio::test]
async fn archives_go_both_ways_with_what_is_at_the_path() {
    let docker = running();
    let guest = &docker.engine.guest;
    guest.answer("File.Stat", &folder());
    guest.answer_with("File.CopyOut", &[CopyOutResponse {}]);
    guest.answer_with("File.CopyIn", &[CopyInResponse {}]);
    let archive = vec![b'a'; 700_000];
    *guest.content() = archive.clone();

    let head = docker.call("HEAD", "/containers/c/archive?path=/etc", "").await;
    assert!(!head.is(200).header("x-docker-container-path-stat").is_empty());
    let got = docker.get("/containers/c/archive?path=/etc").await;
    assert_eq!(got.is(200).header("content-type"), "application/x-tar");
    assert_eq!(
        got.header("x-docker-container-path-stat"),
        head.header("x-docker-container-path-stat")
    );
    assert!(got.body == archive);
    assert_eq!(guest.asked::<CopyOutRequest>("File.CopyOut")[0].name, "etc");
    docker.get("/containers/c/archive?path=/etc/.").await.is(200);
    assert_eq!(guest.asked::<CopyOutRequest>("File.CopyOut")[1].name, ".");

    let upload = vec![b'b'; 900_000];
    docker
        .call("PUT", "/containers/c/archive?path=/etc&copyUIDGID=1", upload.clone())
        .await
        .is(200);
    assert!(*guest.content() == upload);
    let path = "/containers/c/archive?path=/etc&noOverwriteDirNonDir=true";
    docker.call("PUT", path, upload.clone()).await.is(200);
    let asked: Vec<CopyInRequest> = guest.asked("File.CopyIn");
    assert_eq!((asked[0].keep_owner, asked[0].replace_kinds), (true, true));
    assert_eq!((asked[1].keep_owner, asked[1].replace_kinds), (false, false));

    docker.get("/containers/c/archive").await.refuses(400, "bad parameter: path cannot be empty");
    guest.answer_with("File.Stat", &[StatPathResponse::default()]);
    let absent = docker.get("/containers/c/archive?path=/x").await;
    absent.refuses(404, "Could not find the file /x in container c");
}

#[tokio::test]
async fn an_archive_that_fails_at_once_has_a_status_of_its_own() {
    let docker = running();
    let guest = &docker.engine.guest;
    guest.answer("File.Stat", &folder());
    guest.refuse("File.CopyOut", Failure::new(ErrorCode::InvalidArgument, "not that one"));
    docker.get("/containers/c/archive?path=/etc").await.refuses(400, "not that one");
    guest.refuse("File.CopyIn", Failure::new(ErrorCode::NoSpace, "the disk is full"));
    let got = docker.call("PUT", "/containers/c/archive?path=/etc", "x").await;
    got.refuses(500, "the disk is full");
}

#[tokio::test]
async fn an_export_is_the_archive_of_the_whole() {
    let docker = running();
    let guest = &docker.engine.guest;
    guest.answer_with("File.Export", &[ExportContainerResponse {}]);
    *guest.content() = b"tar".to_vec();
    assert_eq!(docker.get("/containers/c/export").await.is(200).body, "tar");
}

#[tokio::test]
async fn a_commit_says_what_the_image_is() {
    let docker = running();
    let guest = &docker.engine.guest;
    guest.answer("File.Commit", &CommitContainerResponse { id: "sha256:1".into() });
    let path =
        "/commit?container=c&repo=a/b&tag=v1&comment=m&author=me&pause=0&changes=CMD+a%0AUSER+b";
    let got = docker.post(path, r#"{"WorkingDir":"/w"}"#).await;
    assert_eq!(got.is(201).json(), json!({"Id": "sha256:1"}));
    let asked: CommitContainerRequest = guest.asked("File.Commit").remove(0);
    assert_eq!((asked.reference.as_str(), asked.no_pause), ("a/b:v1", true));
    assert_eq!((asked.message.as_str(), asked.author.as_str()), ("m", "me"));
    assert_eq!(asked.changes, ["CMD a", "USER b"]);
    assert_eq!(asked.config.unwrap().working_dir, "/w");
}
