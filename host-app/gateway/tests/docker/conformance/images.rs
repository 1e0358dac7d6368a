//! `/images`, `/build` and `/distribution`.

use bollard_stubs::models as schema;
use linkspan_proto::v1::{
    self as wire, pull_image_response::Kind as Pull, push_image_response::Kind as Push,
};

use super::{
    check::{Case, conform, lines, nothing, one},
    guest::{IMAGE, docker},
};

const fn get<T: serde::de::DeserializeOwned>(
    request: &'static str,
    older: &'static [(&'static str, u16)],
    nulls: &'static [&'static str],
) -> Case {
    Case { request, body: "", status: 200, read: one::<T>, older, nulls }
}

const VIRTUAL: &[(&str, u16)] = &[("*.VirtualSize", 43)];

const OLD_IMAGE: &[(&str, u16)] = &[
    ("Config.AttachStderr", 49),
    ("Config.AttachStdin", 49),
    ("Config.AttachStdout", 49),
    ("Config.Domainname", 49),
    ("Config.Hostname", 49),
    ("Config.Image", 49),
    ("Config.OpenStdin", 49),
    ("Config.StdinOnce", 49),
    ("Config.Tty", 49),
    ("DockerVersion", 51),
    ("Parent", 51),
    ("VirtualSize", 43),
];

#[tokio::test]
async fn images_are_shown_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    let found = wire::FoundImage { name: "busybox".into(), stars: 3, ..Default::default() };
    guest.answer("Registry.Search", &wire::SearchImagesResponse { images: vec![found] });
    guest.answer(
        "Registry.Distribution",
        &wire::DistributionResponse {
            media_type: "application/vnd.oci.image.index.v1+json".into(),
            digest: IMAGE.into(),
            size: 9,
            platforms: vec!["linux/amd64".into(), "linux/arm/v7".into()],
        },
    );
    conform(
        &docker,
        &[
            get::<Vec<schema::ImageSummary>>("GET /images/json?all=1", VIRTUAL, &[]),
            get::<Vec<schema::ImageSummary>>("GET /images/json?shared-size=1", VIRTUAL, &[]),
            get::<schema::ImageInspect>("GET /images/busybox/json", OLD_IMAGE, &[]),
            get::<Vec<schema::ImageHistoryResponseItem>>("GET /images/busybox/history", &[], &[]),
            get::<Vec<schema::ImageSearchResponseItem>>("GET /images/search?term=b", &[], &[]),
            get::<schema::DistributionInspect>("GET /distribution/busybox/json", &[], &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_done_with_images_is_answered_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    let step = |id: &str, status: &str, current, total| wire::TransferProgress {
        id: id.into(),
        status: status.into(),
        current,
        total,
    };
    let pull = |kind| wire::PullImageResponse { kind: Some(kind) };
    guest.answer_with(
        "Registry.Pull",
        &[
            pull(Pull::Progress(step("latest", "Pulling from library/busybox", 0, 0))),
            pull(Pull::Progress(step("0123456789ab", "Downloading", 5, 10))),
            pull(Pull::Progress(step("", "Status: Downloaded newer image for busybox", 0, 0))),
        ],
    );
    let push = |kind| wire::PushImageResponse { kind: Some(kind) };
    let pushed = wire::PushedImage { tag: "latest".into(), digest: IMAGE.into(), size: 7 };
    guest.answer_with(
        "Registry.Push",
        &[push(Push::Progress(step("0123456789ab", "Pushing", 5, 10))), push(Push::Pushed(pushed))],
    );
    guest.answer_with("Image.Tag", &[wire::TagImageResponse {}]);
    guest.answer(
        "Image.Remove",
        &wire::RemoveImageResponse {
            untagged: vec!["busybox:latest".into()],
            deleted: vec![IMAGE.into()],
        },
    );
    guest.answer("Image.Import", &wire::ImportImageResponse { id: IMAGE.into() });
    guest.answer_with(
        "Image.Prune",
        &[wire::PruneImagesResponse { reclaimed_bytes: 3, ..Default::default() }],
    );
    let post =
        |request, body, read| Case { request, body, status: 200, read, older: &[], nulls: &[] };
    conform(
        &docker,
        &[
            // The bar for a terminal, which clients still read.
            Case {
                older: &[("progress", 54)],
                ..post(
                    "POST /images/create?fromImage=busybox&tag=latest",
                    "",
                    lines::<schema::CreateImageInfo>,
                )
            },
            post("POST /images/create?fromSrc=-&repo=a", "tar", lines::<schema::CreateImageInfo>),
            post("POST /images/load", "mine:latest\n", lines::<schema::BuildInfo>),
            // The layer, and the digest of what was pushed: Docker Engine has always sent both.
            Case {
                request: "POST /images/busybox/push?tag=latest",
                body: "",
                status: 200,
                read: lines::<schema::PushImageInfo>,
                older: &[("aux", 54), ("id", 54), ("progress", 54)],
                nulls: &[],
            },
            Case {
                request: "POST /images/busybox/tag?repo=a&tag=b",
                body: "",
                status: 201,
                read: nothing,
                older: &[],
                nulls: &[],
            },
            post("DELETE /images/busybox", "", one::<Vec<schema::ImageDeleteResponseItem>>),
            Case {
                request: "POST /images/prune",
                body: "",
                status: 200,
                read: one::<schema::ImagePruneResponse>,
                older: &[],
                nulls: &["ImagesDeleted"],
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn a_build_is_told_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    let built =
        wire::BuiltImage { id: IMAGE.into(), tags: vec!["a:b".into()], ..Default::default() };
    let built = wire::build_response::Kind::Built(built);
    guest.answer("Build.Build", &wire::BuildResponse { kind: Some(built) });
    guest.answer(
        "Build.Prune",
        &wire::PruneBuildsResponse { reclaimed_bytes: 7, ..Default::default() },
    );
    conform(
        &docker,
        &[
            Case {
                request: "POST /build?t=a:b&buildid=1",
                body: "a tar",
                status: 200,
                read: lines::<schema::BuildInfo>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "POST /build/prune",
                body: "",
                status: 200,
                read: one::<schema::BuildPruneResponse>,
                older: &[],
                nulls: &["CachesDeleted"],
            },
            Case {
                request: "POST /build/cancel?id=1",
                body: "",
                status: 200,
                read: nothing,
                older: &[],
                nulls: &[],
            },
        ],
    )
    .await;
}
