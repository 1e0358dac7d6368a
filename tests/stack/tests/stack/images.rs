//! Images: brought over the byte stream socket, listed, named and removed.

use linkspan_client::{Client, Failure, failure};
use linkspan_proto::{
    error::ErrorCode,
    v1::{
        ImageSummary, InspectImageRequest, ListImagesRequest, RemoveImageRequest,
        RemoveImageResponse, TagImageRequest,
    },
};

use crate::{
    archives,
    calls::{config, import, load, run, running},
    host::{Stack, bounded},
};

async fn list(client: &Client) -> Vec<ImageSummary> {
    let answer = client.images(None).list(ListImagesRequest::default()).await.expect("a list");
    answer.into_inner().images
}

async fn remove(client: &Client, image: &str, force: bool) -> Result<RemoveImageResponse, Failure> {
    let request =
        RemoveImageRequest { image: image.into(), force, no_prune: false, ..Default::default() };
    let answer = client.images(None).remove(request).await;
    answer.map(tonic::Response::into_inner).map_err(failure)
}

#[tokio::test]
async fn an_imported_root_file_system_is_an_image() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let id = import(&client, "mine:1", archives::rootfs()).await.expect("it is imported");
        let images = list(&client).await;
        assert_eq!(images.len(), 1);
        assert_eq!((&images[0].id, images[0].tags.as_slice()), (&id, &["mine:1".to_owned()][..]));
        assert!(images[0].size_bytes >= 20_000, "{}", images[0].size_bytes);
        let request = InspectImageRequest { image: "mine:1".into() };
        let answer = client.images(None).inspect(request).await.expect("it is there");
        let detail = answer.into_inner().image.expect("always");
        assert_eq!((detail.command, detail.diff_ids.len()), (vec!["sh".to_owned()], 1));
        assert_eq!(detail.history[0].comment, "by a test");
    })
    .await;
}

#[tokio::test]
async fn a_loaded_archive_brings_its_name_and_configuration() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let loaded = load(&client, archives::oci("demo:2")).await.expect("it is loaded");
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].tags, ["demo:2"]);
        let own = linkspan_proto::v1::ContainerConfig { image: "demo:2".into(), ..config(&[]) };
        let outcome = run(&client, own).await.expect("it runs");
        assert_eq!(outcome.stdout, b"from the image\n", "the image's command");
    })
    .await;
}

#[tokio::test]
async fn a_broken_archive_is_refused_and_leaves_nothing() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let mut archive = archives::oci("demo:2");
        // In the first blob: its digest no longer fits.
        archive[3000] ^= 1;
        let failure = load(&client, archive).await.expect_err("it is broken");
        assert_eq!(failure.code, ErrorCode::DataCorrupt, "{failure}");
        let failure = load(&client, vec![7; 100_000]).await.expect_err("no archive");
        assert!(
            matches!(failure.code, ErrorCode::DataCorrupt | ErrorCode::Unsupported),
            "{failure:?}"
        );
        assert!(list(&client).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_image_has_several_names_and_goes_with_the_last() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let request = TagImageRequest { source: "busybox".into(), target: "other:3".into() };
        client.images(None).tag(request).await.expect("it is named");
        let images = list(&client).await;
        assert_eq!(images.len(), 1);
        let mut tags = images[0].tags.clone();
        tags.sort();
        assert_eq!(tags, ["busybox:latest", "other:3"]);
        let first = remove(&client, "busybox", false).await.expect("it has another name");
        assert_eq!((first.untagged.len(), first.deleted.len()), (1, 0));
        let last = remove(&client, "other:3", false).await.expect("nobody uses it");
        assert!(!last.deleted.is_empty());
        assert!(list(&client).await.is_empty());
        let gone = remove(&client, "other:3", false).await.expect_err("it is gone");
        assert_eq!(gone.code, ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn an_image_in_use_loses_its_name_by_force_and_nothing_else() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let _session = running(&client, "box", &["sleep", "600"]).await;
        let image = list(&client).await.remove(0);
        assert_eq!(image.containers, 1);
        // By name without force, by id never: Docker's rules.
        for (name, force) in [("busybox", false), (&image.id, false), (&image.id, true)] {
            let refused = remove(&client, name, force).await.expect_err("it is in use");
            assert_eq!(refused.code, ErrorCode::InUse);
            assert!(refused.message.contains("box") && refused.hint.is_some(), "{refused:?}");
        }
        let untagged = remove(&client, "busybox", true).await.expect("only its name goes");
        assert_eq!((untagged.untagged.len(), untagged.deleted.len()), (1, 0));
        let request = InspectImageRequest { image: image.id };
        client.images(None).inspect(request).await.expect("it is still there");
    })
    .await;
}
