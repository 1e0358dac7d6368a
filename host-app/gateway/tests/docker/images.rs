//! Images, where they come from and where they go.

use base64::Engine as _;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        DistributionResponse, FoundImage, ImageDetail, ImageHistory, ImageSummary,
        ImportImageRequest, ImportImageResponse, InspectImageResponse, ListImagesRequest,
        ListImagesResponse, LoadImageRequest, LoginResponse, PruneImagesRequest,
        PruneImagesResponse, PullImageRequest, PullImageResponse, PulledImage, PushImageRequest,
        PushImageResponse, PushedImage, RemoveImageRequest, RemoveImageResponse, SaveImagesRequest,
        SaveImagesResponse, SearchImagesRequest, SearchImagesResponse, TagImageRequest,
        TagImageResponse, TransferProgress, pull_image_response, push_image_response,
    },
};
use serde_json::json;

use crate::common::Docker;

fn summary(tags: &[&str]) -> ImageSummary {
    ImageSummary {
        id: "sha256:1".into(),
        tags: tags.iter().map(|&tag| tag.into()).collect(),
        created_unix_nanos: 5_000_000_000,
        size_bytes: 9,
        ..ImageSummary::default()
    }
}

#[tokio::test]
async fn images_are_listed_inspected_and_have_a_history() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let images = vec![summary(&["a:latest"]), summary(&[])];
    guest.answer("Image.List", &ListImagesResponse { images });
    let all = docker.get("/images/json?all=1").await.is(200).json();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!((&all[0]["RepoTags"], &all[0]["Created"]), (&json!(["a:latest"]), &json!(5)));
    let dangling = "%7B%22dangling%22%3A%5B%22true%22%5D%7D";
    for (version, filters) in
        [("v1.40", &["dangling=true", "reference=a"][..]), ("v1.41", &["dangling=true"])]
    {
        let path = format!("/{version}/images/json?filters={dangling}&filter=a");
        docker.get(&path).await.is(200);
        let asked = guest.asked::<ListImagesRequest>("Image.List").pop().unwrap();
        assert_eq!(
            (asked.all, asked.filters),
            (false, filters.iter().map(|&f| f.into()).collect())
        );
    }

    let step = ImageHistory { created_by: "CMD".into(), ..ImageHistory::default() };
    let image = ImageDetail {
        summary: Some(summary(&["a:latest"])),
        history: vec![step],
        ..ImageDetail::default()
    };
    guest.answer("Image.Inspect", &InspectImageResponse { image: Some(image) });
    assert_eq!(docker.get("/images/a/json").await.is(200).json()["Id"], "sha256:1");
    let history = docker.get("/images/reg:5000/a/b/history").await.is(200).json();
    assert_eq!(
        (&history[0]["CreatedBy"], &history[0]["Tags"]),
        (&json!("CMD"), &json!(["a:latest"]))
    );
    guest.refuse("Image.Inspect", Failure::new(ErrorCode::NotFound, "no such image: `x`"));
    docker.get("/images/x/json").await.refuses(404, "No such image: x:latest");
}

#[tokio::test]
async fn tags_and_removals_reach_the_guest() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.answer_with("Image.Tag", &[TagImageResponse {}]);
    docker.post("/images/a/tag?repo=h:5000/b&tag=v1", "").await.is(201);
    assert_eq!(guest.asked::<TagImageRequest>("Image.Tag")[0].target, "h:5000/b:v1");
    let removed =
        RemoveImageResponse { untagged: vec!["a:latest".into()], deleted: vec!["sha256:1".into()] };
    guest.answer("Image.Remove", &removed);
    let got = docker.call("DELETE", "/images/a?force=1", "").await;
    assert_eq!(got.is(200).json(), json!([{"Untagged": "a:latest"}, {"Deleted": "sha256:1"}]));
    let one = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D";
    let path =
        format!("/images/a?noprune=1&platforms={one}&platforms={}", one.replace("arm", "amd"));
    docker.call("DELETE", &path, "").await.is(200);
    docker.call("DELETE", "/images/a?platforms=linux", "").await.is(400);
    let asked: Vec<RemoveImageRequest> = guest.asked("Image.Remove");
    assert_eq!((asked[0].force, asked[0].no_prune), (true, false));
    assert_eq!((asked[1].force, asked[1].no_prune), (false, true));
    assert_eq!(asked[1].platforms, ["linux/arm64", "linux/amd64"]);
    assert_eq!(asked.len(), 2);
    guest.answer_with(
        "Image.Prune",
        &[PruneImagesResponse { reclaimed_bytes: 3, ..Default::default() }],
    );
    let filters = "%7B%22dangling%22%3A%5B%22false%22%5D%2C%22until%22%3A%5B%221h%22%5D%7D";
    let got = docker.post(&format!("/images/prune?filters={filters}"), "").await;
    assert_eq!(got.is(200).json(), json!({"ImagesDeleted": null, "SpaceReclaimed": 3}));
    let asked: PruneImagesRequest = guest.asked("Image.Prune").remove(0);
    assert_eq!((asked.all, asked.filters), (true, vec!["until=1h".into()]));
}

fn step(id: &str, status: &str, current: u64, total: u64) -> TransferProgress {
    TransferProgress { id: id.into(), status: status.into(), current, total }
}

#[tokio::test]
async fn a_pull_is_a_stream_of_lines_with_the_callers_credentials() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let progress =
        |step| PullImageResponse { kind: Some(pull_image_response::Kind::Progress(step)) };
    let pulled =
        PullImageResponse { kind: Some(pull_image_response::Kind::Pulled(PulledImage::default())) };
    guest.answer_with(
        "Registry.Pull",
        &[
            progress(step("0123456789ab", "Downloading", 5, 10)),
            progress(step("", "Status: Downloaded newer image for a:v1", 0, 0)),
            pulled,
        ],
    );
    let auth =
        base64::engine::general_purpose::URL_SAFE.encode(r#"{"username":"me","password":"pw"}"#);
    let request =
        http::Request::post("/images/create?fromImage=h:5000/a&tag=v1&platform=linux/arm64")
            .header("x-registry-auth", auth)
            .body(Default::default())
            .unwrap();
    let got = docker.whole(request).await;
    let lines = got.is(200).lines();
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(
        (&lines[0]["id"], &lines[0]["progressDetail"]),
        (&json!("0123456789ab"), &json!({"current": 5, "total": 10}))
    );
    assert_eq!(lines[1], json!({"status": "Status: Downloaded newer image for a:v1"}));
    assert_eq!(lines.len(), 2);
    let asked: PullImageRequest = guest.asked("Registry.Pull").remove(0);
    assert_eq!(
        (asked.reference.as_str(), asked.platform.as_str(), asked.all_tags),
        ("h:5000/a:v1", "linux/arm64", false)
    );
    assert_eq!(asked.credentials.unwrap().username, "me");
    docker.post("/images/create?fromImage=a", "").await.is(200);
    assert!(guest.asked::<PullImageRequest>("Registry.Pull")[1].all_tags);

    guest.refuse("Registry.Pull", Failure::new(ErrorCode::NotFound, "manifest unknown"));
    docker.post("/images/create?fromImage=a&tag=b", "").await.refuses(404, "manifest unknown");
    docker.post("/images/create", "").await.is(400);
}

#[tokio::test]
async fn a_push_ends_with_the_digest() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let pushed = PushedImage { tag: "v1".into(), digest: "sha256:2".into(), size: 7 };
    guest.answer(
        "Registry.Push",
        &PushImageResponse { kind: Some(push_image_response::Kind::Pushed(pushed)) },
    );
    let got = docker.post("/images/h:5000/a/push?tag=v1", "").await;
    let last = got.is(200).lines().pop().unwrap();
    assert_eq!(last["aux"], json!({"Tag": "v1", "Digest": "sha256:2", "Size": 7}));
    let asked: PushImageRequest = guest.asked("Registry.Push").remove(0);
    assert_eq!((asked.reference.as_str(), asked.all_tags), ("h:5000/a:v1", false));
}

#[tokio::test]
async fn archives_are_loaded_and_imported_from_the_body() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let got = docker.call("POST", "/images/load?quiet=1", "mine:latest\nand more").await;
    assert_eq!(got.is(200).lines(), [json!({"stream": "Loaded image: mine:latest\n"})]);
    let got = docker.call("POST", "/images/load", "mine:latest\nand more").await;
    let progress =
        json!({"status": "Loading layer", "progressDetail": {"current": 20}, "id": "one"});
    assert_eq!(got.is(200).lines(), [progress, json!({"stream": "Loaded image: mine:latest\n"})]);
    guest.answer("Image.Import", &ImportImageResponse { id: "sha256:3".into() });
    let path = "/images/create?fromSrc=-&repo=r&tag=t&message=m&changes=CMD+x&platform=linux/arm64";
    let got = docker.call("POST", path, "tar").await;
    assert_eq!(got.is(200).lines(), [json!({"status": "sha256:3"})]);
    assert_eq!(*guest.content(), b"tar");
    let asked: ImportImageRequest = guest.asked("Image.Import").remove(0);
    assert_eq!((asked.reference.as_str(), asked.changes), ("r:t", vec!["CMD x".to_owned()]));
    assert_eq!((asked.message.as_str(), asked.platform.as_str()), ("m", "linux/arm64"));
}

#[tokio::test]
async fn the_guest_fetches_what_is_imported_from_a_url() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    for (source, url) in [("https://x/y.tar", "https://x/y.tar"), ("x/y.tar", "http://x/y.tar")] {
        guest.answer("Image.Import", &ImportImageResponse { id: "sha256:3".into() });
        let path = format!("/images/create?fromSrc={source}&repo=r");
        let got = docker.call("POST", &path, "").await;
        let told =
            [json!({"status": format!("Downloading from {url}")}), json!({"status": "sha256:3"})];
        assert_eq!(got.is(200).lines(), told);
        let asked: ImportImageRequest = guest.asked("Image.Import").pop().unwrap();
        assert_eq!((asked.url.as_str(), asked.stream_id.as_str()), (url, ""));
    }
}

/// `{"os":"linux","architecture":"ARCHITECTURE"}`, as a query has it.
fn linux(architecture: &str) -> String {
    format!("%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22{architecture}%22%7D")
}

#[tokio::test]
async fn an_image_of_another_platform_than_the_named_one_is_not_shown_saved_or_loaded() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let image = ImageDetail {
        summary: Some(summary(&["a:latest"])),
        os: "linux".into(),
        architecture: "arm64".into(),
        variant: "v8".into(),
        ..ImageDetail::default()
    };
    guest.answer("Image.Inspect", &InspectImageResponse { image: Some(image) });
    guest.answer_with("Image.Save", &[SaveImagesResponse::default()]);
    for what in ["json", "history"] {
        let path = format!("/images/a/{what}?platform=");
        docker.get(&format!("{path}{}", linux("arm64"))).await.is(200);
        docker.get(&format!("{path}{}", linux("amd64"))).await.refuses(
            404,
            "image with reference a was found but its platform (linux/arm64/v8) does not match the specified platform (linux/amd64)",
        );
        docker.get(&format!("{path}arm64")).await.is(400);
    }
    let two = format!("platform={}&platform={}", linux("arm64"), linux("amd64"));
    let refused = "more than one platform is not supported: linux/arm64, linux/amd64";
    docker.get(&format!("/images/a/get?{two}")).await.refuses(501, refused);
    docker.post(&format!("/images/a/push?tag=b&{two}"), "").await.refuses(501, refused);
    docker.call("POST", &format!("/images/load?{two}"), "mine:latest").await.refuses(501, refused);
    let path = format!("/images/load?platform={}", linux("s390x"));
    docker.call("POST", &path, "mine:latest").await.is(200);
    let asked: Vec<LoadImageRequest> = guest.asked("Image.Load");
    assert_eq!(asked.last().unwrap().platform, "linux/s390x");
}

#[tokio::test]
async fn images_are_saved_as_one_archive() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.answer_with("Image.Save", &[SaveImagesResponse { bytes: 3 }]);
    *guest.content() = b"tar".to_vec();
    let got = docker.get("/images/get?names=a&names=h:5000/b:1").await;
    assert_eq!(
        (got.is(200).header("content-type"), &got.body[..]),
        ("application/x-tar", &b"tar"[..])
    );
    assert_eq!(docker.get("/images/h:5000/b/get").await.is(200).body, "tar");
    let asked: Vec<SaveImagesRequest> = guest.asked("Image.Save");
    assert_eq!(
        (&asked[0].images[..], &asked[1].images[..]),
        (&["a".to_owned(), "h:5000/b:1".into()][..], &["h:5000/b".to_owned()][..])
    );
    guest.refuse("Image.Save", Failure::new(ErrorCode::NotFound, "no such image: `x`"));
    docker.get("/images/x/get").await.refuses(404, "No such image: x:latest");
    docker.get("/images/get").await.is(400);
}

#[tokio::test]
async fn registries_are_asked_through_the_guest() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.answer(
        "Registry.Login",
        &LoginResponse { status: "Login Succeeded".into(), ..Default::default() },
    );
    let got = docker.post("/auth", r#"{"username":"a","password":"b","serveraddress":"h"}"#).await;
    assert_eq!(got.is(200).json(), json!({"Status": "Login Succeeded"}));
    let found = FoundImage { name: "busybox".into(), stars: 3, ..FoundImage::default() };
    guest.answer("Registry.Search", &SearchImagesResponse { images: vec![found] });
    let got = docker.get("/images/search?term=b&limit=5").await;
    assert_eq!(got.is(200).json()[0]["star_count"], 3);
    let asked: SearchImagesRequest = guest.asked("Registry.Search").remove(0);
    assert_eq!((asked.term.as_str(), asked.limit), ("b", 5));
    let answer = DistributionResponse {
        digest: "sha256:4".into(),
        platforms: vec!["linux/amd64".into()],
        ..DistributionResponse::default()
    };
    guest.answer("Registry.Distribution", &answer);
    let got = docker.get("/distribution/h:5000/a/b/json").await;
    assert_eq!(got.is(200).json()["Descriptor"]["digest"], "sha256:4");
}
