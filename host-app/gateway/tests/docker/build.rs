//! `/build`.

use std::time::Duration;

use base64::Engine as _;
use http::Request;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        BuildInstruction, BuildOpen, BuildOutput, BuildRecord, BuildResponse, BuildStepState,
        BuildUsageResponse, BuiltImage, CommandFailed, DiskUsageResponse, ImagesWanted,
        PruneBuildsRequest, PruneBuildsResponse, WantedImage, build_response::Kind,
    },
};
use serde_json::{Value, json};

use crate::common::Docker;

fn told(kind: Kind) -> BuildResponse {
    BuildResponse { kind: Some(kind) }
}

fn instruction(number: u32, text: &str, state: BuildStepState, id: &str) -> BuildResponse {
    told(Kind::Instruction(BuildInstruction {
        number,
        total: 2,
        text: text.into(),
        state: state.into(),
        id: id.into(),
    }))
}

/// Waits for a condition, within reason.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it comes to be");
}

fn stream(text: &str) -> Value {
    json!({ "stream": text })
}

#[tokio::test]
async fn a_build_is_a_context_in_and_the_classic_builders_words_out() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let id = "sha256:0123456789abcdef".to_owned();
    guest.answer_with(
        "Build.Build",
        &[
            instruction(1, "FROM scratch", BuildStepState::Running, ""),
            instruction(1, "FROM scratch", BuildStepState::Done, ""),
            instruction(2, "RUN x", BuildStepState::Running, ""),
            instruction(2, "RUN x", BuildStepState::Running, "c0ffee"),
            told(Kind::Output(BuildOutput { data: "out\n".into(), ..BuildOutput::default() })),
            instruction(2, "RUN x", BuildStepState::Done, "sha256:1"),
            told(Kind::Built(BuiltImage {
                id: id.clone(),
                tags: vec!["a:latest".into()],
                ..BuiltImage::default()
            })),
        ],
    );
    let path = "/build?t=a&t=b:1&dockerfile=sub/F&buildargs={\"A\":\"1\",\"B\":null}&labels={\"l\":\"m\"}\
        &nocache=1&pull=true&target=one&networkmode=host&extrahosts=h:1.2.3.4&shmsize=64&memory=100\
        &memswap=-1&cpushares=7&cpusetcpus=0&ulimits=[{\"Name\":\"core\",\"Soft\":-1,\"Hard\":2}]\
        &platform=linux/amd64&rm=0&forcerm=1&cachefrom=[]&version=1";
    let path = path.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let got = docker.call("POST", &path, "the context").await;
    assert_eq!(
        got.is(200).lines(),
        [
            stream("Step 1/2 : FROM scratch\n"),
            stream(" ---> \n"),
            stream("Step 2/2 : RUN x\n"),
            stream(" ---> Running in c0ffee\n"),
            stream("out\n"),
            stream(" ---> Removed intermediate container c0ffee\n"),
            stream(" ---> 0123456789ab\n"),
            json!({"aux": {"ID": id}}),
            stream("Successfully built 0123456789ab\n"),
            stream("Successfully tagged a:latest\n"),
        ]
    );
    assert_eq!(*guest.content(), b"the context");
    let asked: BuildOpen = guest.asked("Build.Build").remove(0);
    assert_eq!(asked.tags, ["a", "b:1"]);
    assert_eq!((asked.dockerfile_name.as_str(), asked.target.as_str()), ("sub/F", "one"));
    assert_eq!((asked.build_args.len(), asked.build_args["A"].as_str()), (1, "1"));
    assert_eq!(asked.labels["l"], "m");
    assert!(asked.no_cache && asked.pull && asked.instructions);
    assert_eq!((asked.network.as_str(), asked.allow), ("host", vec!["network.host".to_owned()]));
    assert_eq!((asked.extra_hosts, asked.shm_size), (vec!["h:1.2.3.4".to_owned()], 64));
    let (limit, resources) = (&asked.ulimits[0], asked.resources.unwrap());
    assert_eq!((limit.name.as_str(), limit.soft, limit.hard), ("core", u64::MAX, 2));
    assert_eq!((resources.memory_bytes, resources.memory_swap_bytes), (100, -1));
    assert_eq!((resources.cpu_shares, resources.cpuset_cpus.as_str()), (7, "0"));
}

#[tokio::test]
async fn a_command_that_fails_is_the_last_line_with_its_code() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let failed = CommandFailed { command: "/bin/sh -c false".into(), exit_code: 3 };
    let begins = instruction(1, "RUN false", BuildStepState::Running, "");
    guest.answer_with("Build.Build", &[begins, told(Kind::CommandFailed(failed))]);
    let why = "The command '/bin/sh -c false' returned a non-zero code: 3";
    let last = json!({"errorDetail": {"code": 3, "message": why}, "error": why});
    let got = docker.call("POST", "/build", "tar").await;
    assert_eq!(got.is(200).lines(), [stream("Step 1/2 : RUN false\n"), last.clone()]);
    // Quiet: what was not said is said then.
    let got = docker.call("POST", "/build?q=1", "tar").await;
    assert_eq!(got.is(200).lines(), [stream("Step 1/2 : RUN false\n"), last]);
    // What fails before the first line has a status.
    guest.refuse("Build.Build", Failure::new(ErrorCode::InvalidArgument, "no such stage"));
    docker.call("POST", "/build", "tar").await.refuses(400, "no such stage");
}

#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let docker = Docker::start();
    for (query, status, word) in [
        ("version=2", 501, "BuildKit"),
        ("version=3", 400, "invalid version 3"),
        ("squash=1", 400, "squash"),
        ("isolation=hyperv", 400, "hyperv"),
        ("securityopt=[%22a%22]", 400, "security options"),
        ("outputs=[%7B%7D]", 501, "outputs"),
        ("cgroupparent=/x", 501, "cgroupparent"),
        ("remote=https://example.com/a.git%23main", 501, "git"),
        ("remote=ftp://example.com/a", 400, "could not be recognized as URL"),
        ("buildargs=[]", 400, "error reading build args"),
        ("memory=much", 400, "memory"),
    ] {
        let got = docker.call("POST", &format!("/build?{query}"), "").await;
        let message = got.is(status).json()["message"].to_string();
        assert!(message.contains(word), "{query}: {message}");
    }
}

#[tokio::test]
async fn images_come_with_the_credentials_of_their_registry() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let image = WantedImage { reference: "h:5000/a:latest".into(), platform: "linux/amd64".into() };
    guest.answer_with(
        "Build.Build",
        &[
            told(Kind::ImagesWanted(ImagesWanted { images: vec![image] })),
            told(Kind::Built(BuiltImage::default())),
        ],
    );
    guest.answer_with::<linkspan_proto::v1::PullImageResponse>("Registry.Pull", &[]);
    let config = json!({"https://h:5000": {"username": "me", "password": "hush"}, "other": {}});
    let config = base64::engine::general_purpose::URL_SAFE.encode(config.to_string());
    let request = Request::builder()
        .method("POST")
        .uri("/build")
        .header("host", "docker")
        .header("x-registry-config", config)
        .body(http_body_util::Full::from("tar"))
        .unwrap();
    docker.whole(request).await.is(200);
    let asked: linkspan_proto::v1::PullImageRequest = guest.asked("Registry.Pull").remove(0);
    assert_eq!(asked.reference, "h:5000/a:latest");
    assert_eq!(asked.credentials.unwrap().username, "me");
}

#[tokio::test]
async fn a_build_ends_with_its_client_and_by_its_id() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.hold("Build.Build");
    let before = guest.cancelled();
    let asked = |count| guest.asked::<BuildOpen>("Build.Build").len() == count;
    let cancelled = |count| guest.cancelled() == before + count;
    tokio::select! {
        got = docker.call("POST", "/build", "tar") => panic!("{got:?}"),
        () = until(|| asked(1)) => {}
    }
    until(|| cancelled(1)).await;
    let build = docker.call("POST", "/build?buildid=mine", "tar");
    let cancel = async {
        until(|| asked(2)).await;
        docker.post("/build/cancel?id=other", "").await.is(200);
        docker.post("/build/cancel?id=mine", "").await.is(200);
    };
    let (got, ()) = tokio::join!(build, cancel);
    got.refuses(500, "build cancelled");
    until(|| cancelled(2)).await;
    docker.post("/build/cancel", "").await.refuses(400, "build ID not provided");
}

#[tokio::test]
async fn the_cache_is_shown_and_pruned() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let record = BuildRecord { id: "1a".into(), size_bytes: 5, ..BuildRecord::default() };
    guest.answer("Build.Usage", &BuildUsageResponse { records: vec![record] });
    guest.answer("System.DiskUsage", &DiskUsageResponse::default());
    let df = docker.get("/v1.43/system/df?type=build-cache").await.is(200).json();
    assert_eq!(df["BuildCache"][0]["ID"], "1a");
    let removed = vec!["1a".to_owned()];
    guest.answer("Build.Prune", &PruneBuildsResponse { removed, reclaimed_bytes: 5 });
    let path = "/build/prune?all=1&keep-storage=7&filters=%7B%22unused-for%22:[%221h%22]%7D";
    assert_eq!(
        docker.post(path, "").await.is(200).json(),
        json!({"CachesDeleted": ["1a"], "SpaceReclaimed": 5})
    );
    let asked: PruneBuildsRequest = guest.asked("Build.Prune").remove(0);
    assert_eq!((asked.all, asked.keep_bytes), (true, 7));
    assert_eq!(asked.filters, ["until=1h"]);
    docker.post("/build/prune?keep-storage=much", "").await.is(400);
}
