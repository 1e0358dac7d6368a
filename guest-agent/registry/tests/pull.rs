//! Pulling from a registry that behaves, and from ones that do not.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Act, Kept, Server, descriptor, index, manifest, quick, recorder};
use http::Method;
use linkspan_images::{Platform, Reference};
use linkspan_registry::{
    BlobSink, Client, Content, Credentials, Descriptor, Error, Fetched, OCI_INDEX, OCI_MANIFEST,
    Settings, Status, parse_platform, silent,
};
use linkspan_test_registry::noise;
use tokio::sync::Notify;

const DEADLINE: Duration = Duration::from_secs(120);

async fn fetch(
    settings: Settings,
    server: &Server,
    blob: &Descriptor,
) -> (Kept, Result<Fetched, Error>) {
    let kept = Kept::default();
    let repository = server.repository(settings, "a");
    let result = repository.fetch_blob(blob, kept.sink(), &silent()).await;
    (kept, result)
}

#[tokio::test]
async fn an_image_comes_by_tag_and_by_digest_and_for_the_platform() {
    let server = Server::start().await;
    let here = server.image("a", "one", &[b"first", b"second"]);
    let other = server.image("a", "other", &[b"first"]);
    let text = index(&[(&other, "arm64", "v8"), (&here, "amd64", "")]);
    let all = server.manifest("a", "latest", OCI_INDEX, &text);
    let repository = server.repository(quick(), "a");
    let image = repository.image(&parse_platform("linux/amd64").unwrap()).await.unwrap();
    assert_eq!(image.index.unwrap().digest, all.digest);
    assert_eq!(image.manifest.digest, here.digest);
    assert_eq!(image.layers.len(), 2);
    let config = repository.blob_bytes(&image.config, 1 << 20).await.unwrap();
    assert_eq!(config, common::config());
    let arm = repository.image(&parse_platform("arm64").unwrap()).await.unwrap();
    assert_eq!(arm.manifest.digest, other.digest);
    let error = repository.image(&parse_platform("linux/s390x").unwrap()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/s390x in the manifest list entries (it has linux/arm64/v8, linux/amd64)"
    );
    let by_digest = server.repository(quick(), &format!("a@{}", here.digest));
    let image = by_digest.image(&Platform::here()).await.unwrap();
    assert!(image.index.is_none());
    assert_eq!(image.manifest.bytes.len() as u64, here.size);
    let head = server.repository(quick(), "a:one").head().await.unwrap().unwrap();
    assert_eq!(
        (head.digest, head.size, head.media_type.as_str()),
        (here.digest, here.size, OCI_MANIFEST)
    );
    assert_eq!(server.repository(quick(), "a:none").head().await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_survives_a_cut_at_every_tenth_byte() {
    let bytes = noise(1, 400);
    for cut in (0..400).step_by(10) {
        let server = Server::with(move |seen| match (seen.method.as_str(), seen.nth) {
            ("GET", 0) if seen.path.contains("/blobs/") => Act::Cut(cut),
            _ => Act::Serve,
        })
        .await;
        let blob = server.blob("a", bytes.clone());
        let (kept, result) = fetch(quick(), &server, &blob).await;
        assert_eq!(result.unwrap(), Fetched::Here, "cut after {cut}");
        assert!(kept.is_committed() && kept.bytes() == bytes, "cut after {cut}");
        assert_eq!(kept.0.lock().restarts, 0, "cut after {cut}");
    }
}

#[tokio::test]
async fn a_blob_that_is_cut_again_and_again_comes_in_pieces_and_no_byte_twice() {
    let bytes = noise(1, 300);
    let server =
        Server::with(|seen| if seen.path.contains("/blobs/") { Act::Cut(10) } else { Act::Serve })
            .await;
    let blob = server.blob("a", bytes.clone());
    let (events, progress) = recorder();
    let kept = Kept::default();
    let repository = server.repository(quick(), "a");
    repository.fetch_blob(&blob, kept.sink(), &progress).await.unwrap();
    assert_eq!(kept.bytes(), bytes);
    let ranges: Vec<_> = server
        .seen()
        .iter()
        .filter(|seen| seen.path.contains("/blobs/"))
        .filter_map(|seen| seen.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges.first().map(String::as_str), Some("bytes=10-"));
    assert_eq!(ranges.len(), 29);
    let events = events.lock();
    assert_eq!(events.first().map(|e| e.status.clone()), Some(Status::Waiting));
    assert!(events.iter().any(|e| matches!(e.status, Status::Retrying(_))));
    let last = events.last().unwrap();
    assert_eq!((&last.status, last.current, last.total), (&Status::DownloadComplete, 300, 300));
    assert_eq!(last.id(), blob.digest.hex()[..12]);
    assert!(events.iter().any(|e| e.status == Status::Downloading && e.current == 300));
}

#[tokio::test]
async fn a_registry_without_ranges_sends_the_whole_again_and_only_the_rest_is_kept() {
    let bytes = noise(1, 500);
    let server = Server::with(|seen| match seen.nth {
        0 if seen.path.contains("/blobs/") => Act::Cut(123),
        _ => Act::Whole,
    })
    .await;
    let blob = server.blob("a", bytes.clone());
    let (kept, result) = fetch(quick(), &server, &blob).await;
    result.unwrap();
    assert_eq!(kept.bytes(), bytes);
}

#[tokio::test]
async fn bytes_that_are_not_the_blobs_are_never_committed() {
    let bytes = noise(1, 200);
    let mut flipped = bytes.clone();
    flipped[77] ^= 1;
    for (lie, why) in [
        (flipped, "its digest is sha256:"),
        (bytes[..150].to_vec(), "the registry has 150 bytes, and its descriptor says 200"),
        (noise(1, 201), "the registry has 201 bytes"),
        (Vec::new(), "the registry has 0 bytes"),
    ] {
        let lie = Bytes::from(lie);
        let server = Server::with(move |seen| {
            if seen.path.contains("/blobs/") { Act::Lie(lie.clone()) } else { Act::Serve }
        })
        .await;
        let blob = server.blob("a", bytes.clone());
        let (kept, result) = fetch(quick(), &server, &blob).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. }) && error.to_string().contains(why),
            "{error}"
        );
        assert!(!kept.is_committed() && kept.0.lock().dropped);
        assert_eq!(server.lines().len(), 1, "a lie is not asked for twice");
    }
}

#[tokio::test]
async fn a_blob_of_unknown_length_ends_where_its_descriptor_says() {
    for (length, fits) in [(199, false), (200, true), (201, false), (5_000_000, false)] {
        let lie = Bytes::from(noise(1, length));
        let server = Server::with(move |seen| {
            if seen.path.contains("/blobs/") { Act::LieInChunks(lie.clone()) } else { Act::Serve }
        })
        .await;
        let blob = server.blob("a", noise(1, 200));
        let (kept, result) = fetch(quick(), &server, &blob).await;
        assert_eq!(result.is_ok(), fits, "{length}: {result:?}");
        assert_eq!(kept.is_committed(), fits);
        assert!(kept.bytes().len() <= 200, "no byte too many is kept");
    }
}

#[tokio::test]
async fn all_tags_come_over_several_pages() {
    let server = Server::start().await;
    for tag in ["a", "b", "c", "d", "e"] {
        server.image("x", tag, &[]);
    }
    let tags = server.repository(quick(), "x").tags().await.unwrap();
    assert_eq!(tags, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn a_blob_that_is_cut_off_for_good_is_corrupt_and_not_tried_for_ever() {
    // The first answer promises all and breaks; then the registry has no more than that.
    let bytes = noise(1, 200);
    let short = Bytes::from(noise(1, 200)[..120].to_vec());
    let server = Server::with(move |seen| match seen.nth {
        _ if !seen.path.contains("/blobs/") => Act::Serve,
        0 => Act::Cut(120),
        _ => Act::Lie(short.clone()),
    })
    .await;
    let blob = server.blob("a", bytes);
    let (kept, result) = fetch(quick(), &server, &blob).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("no more than 120 of its 200 bytes"), "{error}");
    assert!(!kept.is_committed());
}

#[tokio::test]
async fn failures_that_pass_are_waited_for_and_others_are_told_at_once() {
    for status in [429, 500, 502, 503, 504] {
        let server = Server::with(move |seen| match seen.nth {
            0 | 1 if seen.path != "/v2/" => Act::status(status),
            _ => Act::Serve,
        })
        .await;
        server.image("a", "latest", &[b"layer"]);
        let repository = server.repository(quick(), "a");
        let image = repository.image(&Platform::here()).await.unwrap();
        let (kept, result) = fetch(quick(), &server, &image.layers[0]).await;
        result.unwrap();
        assert_eq!(kept.bytes(), b"layer");
        assert_eq!(server.lines().len(), 6, "{status}: {:?}", server.lines());
    }
    for status in [400, 403, 404, 405] {
        let server =
            Server::with(
                move |seen| {
                    if seen.path == "/v2/" { Act::Serve } else { Act::status(status) }
                },
            )
            .await;
        assert!(server.repository(quick(), "a").document().await.is_err());
        assert_eq!(server.lines().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_failure_that_does_not_pass_is_told_after_the_tries_of_the_settings() {
    let server =
        Server::with(|seen| if seen.path == "/v2/" { Act::Serve } else { Act::status(500) }).await;
    let error = server.repository(quick(), "a").document().await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 500, .. }), "{error}");
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn a_registry_that_wants_a_long_rest_is_not_waited_for() {
    let server = Server::with(|seen| {
        if seen.path == "/v2/" {
            return Act::Serve;
        }
        let text = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        Act::Answer(http::StatusCode::TOO_MANY_REQUESTS, vec![("retry-after", "3600".into())], text.into())
    })
    .await;
    let error = server.repository(quick(), "a").document().await.unwrap_err();
    assert_eq!(error.to_string(), "toomanyrequests: You have reached your pull rate limit.");
    let Error::TooManyRequests { retry_after, .. } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_left_and_the_rest_comes_on_another_connection() {
    let server = Server::with(|seen| match seen.nth {
        0 if seen.path.contains("/blobs/") => Act::Silence(50),
        _ => Act::Serve,
    })
    .await;
    let bytes = noise(1, 100);
    let blob = server.blob("a", bytes.clone());
    let mut settings = quick();
    settings.timeouts.stall = Duration::from_secs(2);
    let (kept, result) = fetch(settings, &server, &blob).await;
    result.unwrap();
    assert_eq!(kept.bytes(), bytes);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_dockers_words() {
    let server = Server::start().await;
    let repository = server.repository(quick(), "a:none");
    let error = repository.document().await.unwrap_err();
    let name = format!("{}/a:none", server.address);
    assert!(matches!(error, Error::NotFound { .. }));
    assert_eq!(
        error.to_string(),
        format!("manifest for {name} not found: manifest unknown: manifest unknown")
    );
    let blob = descriptor("x", b"absent");
    let error = repository.fetch_blob(&blob, Kept::default().sink(), &silent()).await.unwrap_err();
    assert!(error.to_string().contains("blob unknown to registry"), "{error}");
    assert!(!repository.has_blob(blob.digest).await.unwrap());
}

#[tokio::test]
async fn a_manifest_that_is_not_the_one_asked_for_is_refused() {
    let server = Server::with(|seen| match seen.path.as_str() {
        path if path.contains("/manifests/") && seen.method == Method::GET => {
            Act::Lie(Bytes::from(manifest(&descriptor("x", b"evil"), &[])))
        }
        _ => Act::Serve,
    })
    .await;
    let image = server.image("a", "latest", &[]);
    let repository = server.repository(quick(), &format!("a@{}", image.digest));
    let error = repository.document().await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_that_is_cut_is_asked_for_again() {
    let server = Server::with(|seen| match seen.nth {
        0 if seen.path.contains("/manifests/") => Act::Cut(20),
        _ => Act::Serve,
    })
    .await;
    let image = server.image("a", "latest", &[b"x"]);
    let document = server.repository(quick(), "a").document().await.unwrap();
    assert_eq!(document.digest, image.digest);
    assert!(matches!(document.content, Content::Image { .. }));
}

/// A rule that answers blobs only after the gate has opened, and counts them.
async fn gated() -> (Server, Arc<Notify>) {
    let cut = Arc::new(Notify::new());
    let told = cut.clone();
    let server = Server::with(move |seen| {
        if seen.path.contains("/blobs/") && seen.nth == 0 {
            told.notify_one();
            return Act::Silence(10);
        }
        Act::Serve
    })
    .await;
    (server, cut)
}

#[tokio::test]
async fn two_callers_of_one_blob_cause_one_download() {
    let server = Server::start().await;
    let bytes = noise(1, 3_000_000);
    let blob = server.blob("a", bytes.clone());
    let repository = server.repository(quick(), "a");
    let kept: Vec<Kept> = (0..4).map(|_| Kept::default()).collect();
    let quiet = silent();
    let calls = kept.iter().map(|kept| repository.fetch_blob(&blob, kept.sink(), &quiet));
    let results = futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(results.iter().filter(|result| **result == Fetched::Here).count(), 1);
    let committed: Vec<_> = kept.iter().filter(|kept| kept.is_committed()).collect();
    assert_eq!(committed.len(), 1);
    assert_eq!(committed[0].bytes(), bytes);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn when_the_first_of_two_callers_goes_away_the_second_downloads() {
    let (server, reached) = gated().await;
    let bytes = noise(1, 1000);
    let blob = server.blob("a", bytes.clone());
    let repository = server.repository(quick(), "a");
    let (first, second) = (Kept::default(), Kept::default());
    let call = {
        let (repository, blob, sink) = (repository.clone(), blob.clone(), first.sink());
        tokio::spawn(async move { repository.fetch_blob(&blob, sink, &silent()).await })
    };
    tokio::time::timeout(DEADLINE, reached.notified()).await.unwrap();
    let (events, progress) = recorder();
    let follower = {
        let (repository, blob, sink) = (repository.clone(), blob.clone(), second.sink());
        tokio::spawn(async move { repository.fetch_blob(&blob, sink, &progress).await })
    };
    // The second has told that it waits before it can be part of the first's download.
    let waits = async {
        while events.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waits).await.unwrap();
    call.abort();
    let result = tokio::time::timeout(DEADLINE, follower).await.unwrap().unwrap();
    assert_eq!(result.unwrap(), Fetched::Here);
    assert!(second.is_committed() && second.bytes() == bytes);
    assert!(!first.is_committed() && first.0.lock().dropped);
}

#[tokio::test]
async fn a_name_without_a_registry_is_told_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut settings = quick();
    // If it were tried again, the test would not end in its time.
    settings.retry.first_wait = Duration::from_secs(3600);
    settings.retry.longest_wait = Duration::from_secs(3600);
    let reference = Reference::parse(&format!("{address}/a")).unwrap();
    let repository = Client::new(settings).unwrap().repository(&reference, Credentials::Anonymous);
    let error = tokio::time::timeout(DEADLINE, repository.document()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

/// A sink that goes on only when as many others have got that far, and counts them.
struct Meeting {
    barrier: Arc<tokio::sync::Barrier>,
    /// How many are at it, and how many were at most.
    at_once: Arc<parking_lot::Mutex<(usize, usize)>>,
}

impl BlobSink for Meeting {
    async fn write(&mut self, _: Bytes) -> std::io::Result<()> {
        {
            let mut at_once = self.at_once.lock();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        self.barrier.wait().await;
        Ok(())
    }

    async fn restart(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    async fn commit(self) -> std::io::Result<()> {
        self.at_once.lock().0 -= 1;
        Ok(())
    }
}

#[tokio::test]
async fn as_many_blobs_are_downloaded_at_once_as_the_settings_say() {
    let server = Server::start().await;
    let blobs: Vec<_> = (0..6u8).map(|i| server.blob("a", vec![i])).collect();
    let settings = Settings { parallel_downloads: 3, ..quick() };
    let repository = server.repository(settings, "a");
    let barrier = Arc::new(tokio::sync::Barrier::new(3));
    let at_once = Arc::default();
    let quiet = silent();
    let calls = blobs.iter().map(|blob| {
        let sink = Meeting { barrier: barrier.clone(), at_once: Arc::clone(&at_once) };
        repository.fetch_blob(blob, sink, &quiet)
    });
    let all = futures::future::try_join_all(calls);
    tokio::time::timeout(DEADLINE, all).await.unwrap().unwrap();
    assert_eq!(*at_once.lock(), (0, 3));
}
