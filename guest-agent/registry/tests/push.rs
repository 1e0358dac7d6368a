//! Pushing.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Act, Kept, Server, descriptor, manifest, quick, recorder};
use http::Method;
use linkspan_images::Platform;
use linkspan_registry::{
    BlobSource, Client, Credentials, Error, OCI_INDEX, OCI_MANIFEST, Pushed, Settings, Status,
    silent,
};
use linkspan_test_registry::noise;

fn chunked(chunk: u64) -> Settings {
    Settings { upload_chunk: Some(chunk), ..quick() }
}

fn bytes_at(server: &Server, repository: &str, digest: &str) -> Option<Bytes> {
    server.state.blobs.lock().get(&(repository.to_owned(), digest.to_owned())).cloned()
}

#[tokio::test]
async fn a_pushed_image_is_pulled_with_the_same_digests() {
    let server = Server::start().await;
    let repository = server.repository(quick(), "a/b:v1");
    let (config, layer) = (Bytes::from(common::config()), Bytes::from(noise(1, 100_000)));
    let (config_at, layer_at) = (descriptor("c", &config), descriptor("l", &layer));
    let (events, progress) = recorder();
    for (blob, source) in [(&config_at, &config), (&layer_at, &layer)] {
        let pushed = repository.push_blob(blob, source, None, &progress).await.unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
    }
    let last = events.lock().last().cloned().unwrap();
    assert_eq!((last.status, last.current), (Status::Pushed, 100_000));
    let text = Bytes::from(manifest(&config_at, std::slice::from_ref(&layer_at)));
    let digest = repository.put_manifest(OCI_MANIFEST, text.clone(), false).await.unwrap();
    let index = Bytes::from(common::index(&[(&descriptor(OCI_MANIFEST, &text), "amd64", "")]));
    let child = repository.put_manifest(OCI_MANIFEST, text, true).await.unwrap();
    assert_eq!(child, digest);
    let all = server.repository(quick(), "a/b:all");
    all.put_manifest(OCI_INDEX, index.clone(), false).await.unwrap();
    assert_eq!(all.document().await.unwrap().bytes, index);
    let image = repository.image(&Platform::here()).await.unwrap();
    assert_eq!(image.manifest.digest, digest);
    let kept = Kept::default();
    repository.fetch_blob(&image.layers[0], kept.sink(), &silent()).await.unwrap();
    assert_eq!(kept.bytes(), layer);
    // What is there is not sent again.
    let pushed = repository.push_blob(&layer_at, &layer, None, &progress).await.unwrap();
    assert_eq!(pushed, Pushed::Exists);
    assert_eq!(events.lock().last().unwrap().status, Status::LayerExists);
}

#[tokio::test]
async fn a_blob_of_another_repository_is_mounted_and_else_uploaded() {
    let server = Server::start().await;
    let bytes = Bytes::from(noise(1, 1000));
    let blob = server.blob("from", bytes.clone());
    let repository = server.repository(quick(), "to");
    let pushed = repository.push_blob(&blob, &bytes, Some("from"), &silent()).await.unwrap();
    assert_eq!(pushed, Pushed::Mounted);
    let other = Bytes::from(noise(1, 1001));
    let blob = descriptor("x", &other);
    let pushed = repository.push_blob(&blob, &other, Some("from"), &silent()).await.unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
    assert_eq!(bytes_at(&server, "to", &blob.digest.to_string()), Some(other));
}

#[tokio::test]
async fn a_repository_that_may_not_be_read_is_not_mounted_from_and_the_blob_is_sent() {
    let server =
        Server::with(
            |seen| {
                if seen.query.contains("mount=") { Act::status(403) } else { Act::Serve }
            },
        )
        .await;
    let bytes = Bytes::from(noise(1, 1000));
    let blob = descriptor("x", &bytes);
    let repository = server.repository(quick(), "a");
    let pushed = repository.push_blob(&blob, &bytes, Some("private"), &silent()).await.unwrap();
    assert_eq!(pushed, Pushed::Uploaded);
}

#[tokio::test]
async fn whether_a_blob_was_mounted_is_said_and_a_failure_that_passes_is_waited_for() {
    let server = Server::with(|seen| match seen.nth {
        0 if seen.query.contains("mount=") => Act::status(500),
        _ if seen.query.contains("from=private") => Act::status(403),
        _ => Act::Serve,
    })
    .await;
    let blob = server.blob("from", noise(1, 1000));
    let repository = server.repository(quick(), "to");
    assert!(repository.mount_blob(blob.digest, "from").await.unwrap());
    assert!(bytes_at(&server, "to", &blob.digest.to_string()).is_some());
    for other in ["nothing", "private"] {
        let repository = server.repository(quick(), "other");
        assert!(!repository.mount_blob(blob.digest, other).await.unwrap(), "{other}");
    }
    assert!(bytes_at(&server, "other", &blob.digest.to_string()).is_none());
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_starts_anew() {
    let server = Server::with(|seen| match seen.nth {
        1 if seen.path.ends_with("/u0") && seen.method == Method::PATCH => Act::status(500),
        0 if seen.path.ends_with("/u0") && seen.method == Method::GET => Act::status(404),
        _ => Act::Serve,
    })
    .await;
    let bytes = Bytes::from(noise(1, 1000));
    let blob = descriptor("x", &bytes);
    let repository = server.repository(chunked(300), "a");
    repository.push_blob(&blob, &bytes, None, &silent()).await.unwrap();
    assert_eq!(bytes_at(&server, "a", &blob.digest.to_string()), Some(bytes));
}

#[tokio::test]
async fn an_upload_in_pieces_goes_on_where_the_registry_lost_it() {
    let bytes = Bytes::from(noise(1, 1000));
    for cut in (0..300).step_by(10) {
        let server = Server::with(move |seen| match seen.nth {
            1 if seen.method == Method::PATCH => Act::Cut(cut),
            _ => Act::Serve,
        })
        .await;
        let blob = descriptor("x", &bytes);
        let repository = server.repository(chunked(300), "a");
        let pushed = repository.push_blob(&blob, &bytes, None, &silent()).await.unwrap();
        assert_eq!(pushed, Pushed::Uploaded, "{cut}");
        assert_eq!(bytes_at(&server, "a", &blob.digest.to_string()), Some(bytes.clone()), "{cut}");
        let sent: Vec<_> = server
            .seen()
            .iter()
            .filter_map(|seen| seen.header("content-range").map(str::to_owned))
            .collect();
        assert_eq!(sent[..2], ["0-299", "300-599"]);
        assert_eq!(sent[2], format!("{}-{}", 300 + cut, 599 + cut));
        let starts = server.lines().iter().filter(|line| line.starts_with("POST")).count();
        assert_eq!(starts, 1, "one upload");
    }
}

#[tokio::test]
async fn an_upload_in_one_request_starts_anew_after_a_failure() {
    let server = Server::with(|seen| match seen.method {
        Method::PUT if seen.path.ends_with("/u0") => Act::Cut(100),
        Method::POST if seen.nth == 1 => Act::status(502),
        _ => Act::Serve,
    })
    .await;
    let bytes = Bytes::from(noise(1, 500_000));
    let blob = descriptor("x", &bytes);
    let repository = server.repository(quick(), "a");
    let (events, progress) = recorder();
    repository.push_blob(&blob, &bytes, None, &progress).await.unwrap();
    assert_eq!(bytes_at(&server, "a", &blob.digest.to_string()), Some(bytes));
    let retries = events.lock().iter().filter(|e| matches!(e.status, Status::Retrying(_))).count();
    assert_eq!(retries, 2);
}

struct Short;

impl BlobSource for Short {
    type Reader = std::io::Cursor<Vec<u8>>;

    async fn open(&self, _: u64) -> std::io::Result<Self::Reader> {
        Ok(std::io::Cursor::new(noise(1, 100)))
    }
}

struct Gone;

impl BlobSource for Gone {
    type Reader = std::io::Cursor<Vec<u8>>;

    async fn open(&self, _: u64) -> std::io::Result<Self::Reader> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

#[tokio::test]
async fn a_source_that_fails_is_named_and_nothing_is_pushed() {
    let server = Server::start().await;
    let repository = server.repository(quick(), "a");
    let blob = descriptor("x", &noise(1, 200));
    for error in [
        repository.push_blob(&blob, &Short, None, &silent()).await.unwrap_err(),
        repository.push_blob(&blob, &Gone, None, &silent()).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Source { .. }), "{error:?}");
    }
    assert!(server.state.blobs.lock().is_empty());
}

#[tokio::test]
async fn bytes_that_are_not_the_descriptors_are_refused_by_the_registry() {
    let server = Server::start().await;
    let repository = server.repository(quick(), "a");
    let blob = descriptor("x", b"these");
    let other = Bytes::from_static(b"those");
    let error = repository.push_blob(&blob, &other, None, &silent()).await.unwrap_err();
    assert!(error.to_string().contains("digest invalid"), "{error}");
    assert!(server.state.blobs.lock().is_empty());
}

#[tokio::test]
async fn a_push_goes_to_the_registry_and_not_to_a_mirror() {
    let mirror = Server::start().await;
    let target = Server::start().await;
    let settings = Settings {
        mirrors: vec![linkspan_registry::Mirror {
            url: format!("http://{}", mirror.address),
            authoritative: true,
            credentials: Credentials::Anonymous,
        }],
        ..quick()
    };
    let bytes = Bytes::from_static(b"x");
    let blob = descriptor("x", &bytes);
    let client = Arc::new(Client::new(settings).unwrap());
    let reference = format!("{}/a", target.address).parse().unwrap();
    let repository = client.repository(&reference, Credentials::Anonymous);
    repository.push_blob(&blob, &bytes, None, &silent()).await.unwrap();
    assert!(mirror.seen().is_empty());
}
