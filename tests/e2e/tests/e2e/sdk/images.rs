//! bollard: images, by archive, by registry and by build.

use bollard::{
    Docker,
    errors::Error,
    models::ContainerConfig,
    query_parameters::{
        BuildImageOptionsBuilder, CommitContainerOptionsBuilder, CreateImageOptionsBuilder,
        ImportImageOptions, PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
        WaitContainerOptions,
    },
};
use futures::{StreamExt as _, TryStreamExt as _};
use linkspan_test_e2e::Host;
use linkspan_test_registry::Setup;

use super::containers::{busybox, create, refused, remove, tar_of, with_engine};
use crate::{registry::registry, unique};

pub(super) fn run(host: &Host) {
    let registry = registry(Setup::default());
    with_engine(host, async |docker| {
        moved(&docker, registry.port()).await;
        built(&docker).await;
    });
}

async fn delete(docker: &Docker, image: &str) {
    let gone = docker.remove_image(image, None::<RemoveImageOptions>, None).await;
    gone.expect("it goes");
}

async fn moved(docker: &Docker, port: &str) {
    let name = unique("bollard-image");
    let repository = format!("localhost:{port}/some/{name}");
    let image = format!("{repository}:v1");
    create(docker, &name, busybox(&["true"])).await;
    let options = CommitContainerOptionsBuilder::default()
        .container(&name)
        .repo(&repository)
        .tag("v1")
        .comment("for a test")
        .build();
    let config = ContainerConfig { cmd: Some(vec!["true".into()]), ..ContainerConfig::default() };
    let id = docker.commit_container(options, config).await.expect("committed").id;
    remove(docker, &name).await;
    let history = docker.image_history(&image).await.expect("it has one");
    assert_eq!(history[0].comment, "for a test");

    let saved: Vec<_> = docker.export_image(&image).try_collect().await.expect("saved");
    delete(docker, &image).await;
    assert_eq!(refused(docker.inspect_image(&image).await).0, 404);
    let parts = futures::stream::iter(saved.into_iter().map(Ok::<_, std::io::Error>));
    let loaded = docker.import_image_stream(ImportImageOptions::default(), parts, None);
    loaded.try_for_each(async |_| Ok(())).await.expect("loaded");
    assert_eq!(docker.inspect_image(&image).await.expect("there").id.as_ref(), Some(&id));

    let options = TagImageOptionsBuilder::default().repo(&repository).tag("v2").build();
    docker.tag_image(&image, Some(options)).await.expect("tagged");
    let options = PushImageOptionsBuilder::default().tag("v2").build();
    let pushed = docker.push_image(&repository, Some(options), None);
    pushed.try_for_each(async |_| Ok(())).await.expect("pushed");
    delete(docker, &image).await;
    delete(docker, &format!("{repository}:v2")).await;
    let pull = |tag: &str| {
        let options = CreateImageOptionsBuilder::default().from_image(&repository).tag(tag).build();
        docker.create_image(Some(options), None, None).try_for_each(async |_| Ok(()))
    };
    pull("v2").await.expect("pulled");
    let there = docker.inspect_image(&format!("{repository}:v2")).await.expect("there");
    assert_eq!(there.id, Some(id));
    assert_eq!(there.repo_digests.map(|all| all.len()), Some(1));
    delete(docker, &format!("{repository}:v2")).await;
    pull("absent").await.expect_err("there is none");
}

async fn built(docker: &Docker) {
    let name = unique("bollard-built");
    let build = |dockerfile: &str| {
        let options = BuildImageOptionsBuilder::default().t(&name).rm(true).build();
        let context = bollard::body_full(tar_of("Dockerfile", dockerfile.as_bytes()).into());
        docker.build_image(options, None, Some(context)).try_collect::<Vec<_>>()
    };
    let lines = build("FROM busybox\nRUN echo built > /word\nCMD [\"test\", \"-s\", \"/word\"]\n");
    let lines = lines.await.expect("built");
    assert!(lines.iter().any(|line| {
        line.stream.as_ref().is_some_and(|text| text.starts_with("Successfully tagged"))
    }));
    let mut body = busybox(&[]);
    (body.image, body.cmd) = (Some(name.clone()), None);
    create(docker, &name, body).await;
    docker.start_container(&name, None).await.expect("it starts");
    let ended = docker.wait_container(&name, None::<WaitContainerOptions>).next().await;
    assert_eq!(ended.expect("an answer").expect("no error").status_code, 0);
    remove(docker, &name).await;
    delete(docker, &name).await;
    match build("FROM busybox\nRUN exit 5\n").await {
        Err(Error::DockerStreamError { error }) => assert!(error.contains("code: 5"), "{error}"),
        other => panic!("{other:?}"),
    }
}
