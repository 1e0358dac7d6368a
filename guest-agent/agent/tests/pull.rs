//! Pulling from a real registry into a real store.

mod common;

use common::{Guest, at, gzip, plain, publish, recorder, registry, words};
use linkspan_images::Digest;
use linkspan_registry::Credentials;
use linkspan_test_registry::noise;

#[tokio::test]
async fn a_pulled_image_is_whole_and_keeps_what_came() {
    let Some(server) = registry() else { return };
    let reference = at(&server, "app:1");
    let layers = [gzip(&[("etc/motd", b"hello\n")]), plain(&[("bin/app", b"#!")])];
    let made = publish(&reference, &layers).await;
    let guest = Guest::new();
    let (pulled, told) = guest.pull(&reference).await;
    assert_eq!((pulled.digest, pulled.up_to_date), (made.manifest, false));
    assert_eq!(pulled.id, made.config.to_string());

    let image = guest.store.resolve(&reference.familiar()).unwrap();
    assert_eq!(image.id.0, made.config);
    let text = std::fs::read_to_string(image.layers[0].join("etc/motd")).unwrap();
    assert_eq!(text, "hello\n");
    let summary = guest.store.inspect(&pulled.id).unwrap().summary;
    let by_digest = format!("{}@{}", reference.familiar_name(), made.manifest);
    assert_eq!(summary.digests, [by_digest]);
    assert!(guest.has_blob(&made.layers[0]) && guest.has_blob(&made.manifest));
    assert!(!guest.on_disk().iter().any(|name| name.starts_with("tmp/")));

    let said = words(&told, &made.layers[0]);
    assert_eq!(said.first().map(String::as_str), Some("Pulling fs layer"), "{said:?}");
    let end = ["Verifying Checksum", "Download complete", "Extracting", "Pull complete"];
    assert!(said.ends_with(&end.map(str::to_owned)), "{said:?}");
    let last = |n: usize| told[told.len() - n].status.clone();
    assert_eq!(last(2), format!("Digest: {}", made.manifest));
    let name = reference.familiar();
    assert_eq!(last(1), format!("Status: Downloaded newer image for {name}"));

    let (again, told) = guest.pull(&reference).await;
    assert!(again.up_to_date);
    assert_eq!(told.last().unwrap().status, format!("Status: Image is up to date for {name}"));
}

#[tokio::test]
async fn a_layer_that_is_there_is_not_fetched() {
    let Some(server) = registry() else { return };
    let shared = gzip(&[("base", &noise(1, 50_000))]);
    let first = publish(&at(&server, "app:1"), std::slice::from_ref(&shared)).await;
    let second = [shared, gzip(&[("top", b"2")])];
    let second = publish(&at(&server, "app:2"), &second).await;
    let guest = Guest::new();
    guest.pull(&at(&server, "app:1")).await;
    let (_, told) = guest.pull(&at(&server, "app:2")).await;
    assert_eq!(words(&told, &first.layers[0]), ["Pulling fs layer", "Already exists"]);
    let fetched = format!("GET /v2/app/blobs/{}", first.layers[0]);
    assert_eq!(server.asked(&fetched), 1);
    let all = second.layers.iter().all(|layer| guest.has_blob(layer));
    assert!(all);
}

#[tokio::test]
async fn two_pulls_at_once_fetch_each_layer_once() {
    let Some(server) = registry() else { return };
    let reference = at(&server, "app:1");
    let layers: Vec<_> =
        (0..4_u8).map(|i| gzip(&[(&format!("{i}"), &noise(7 + u64::from(i), 300_000))])).collect();
    let made = publish(&reference, &layers).await;
    let guest = Guest::new();
    let (one, two) = tokio::join!(guest.pull(&reference), guest.pull(&reference));
    assert_eq!(one.0.id, two.0.id);
    let log = server.log();
    for layer in &made.layers {
        // Each request is two lines of the log: one of the application, one of the server.
        let access = format!("\"GET /v2/app/blobs/{layer} HTTP");
        assert_eq!(log.matches(&access).count(), 1, "{layer}");
    }
}

#[tokio::test]
async fn a_damaged_layer_fails_the_pull_and_leaves_nothing() {
    let Some(server) = registry() else { return };
    let reference = at(&server, "app:1");
    let layers = [gzip(&[("a", b"a")]), gzip(&[("b", &noise(3, 400_000))])];
    let made = publish(&reference, &layers).await;
    server.damage(&made.layers[1].to_string());
    let guest = Guest::new();
    let (_, lines) = recorder();
    let pull = guest.registries.pull(&reference, None, Credentials::Anonymous, &lines).await;
    let error = pull.unwrap_err().to_string();
    assert!(error.contains("corrupt") || error.contains("keep blob"), "{error}");
    // Threads that were unpacking when it failed end by themselves.
    until(|| guest.on_disk().is_empty()).await;
    server.damage(&made.layers[1].to_string());
    guest.pull(&reference).await;
    assert!(guest.has_blob(&made.layers[1]));
}

#[tokio::test]
async fn a_pull_that_is_dropped_leaves_nothing() {
    let Some(server) = registry() else { return };
    let reference = at(&server, "app:1");
    publish(&reference, &[gzip(&[("a", &noise(5, 2_000_000))])]).await;
    let guest = Guest::new();
    let (kept, lines) = recorder();
    {
        let pull = guest.registries.pull(&reference, None, Credentials::Anonymous, &lines);
        let begun = until(|| kept.lock().iter().any(|line| line.status == "Downloading"));
        tokio::select! {
            _ = pull => {}
            () = begun => {}
        }
    }
    let whole = guest.store.resolve(&reference.familiar()).is_ok();
    if !whole {
        until(|| guest.on_disk().is_empty()).await;
    }
    // And nothing stands in the way of the next one.
    guest.pull(&reference).await;
}

#[tokio::test]
async fn an_image_of_another_platform_is_refused_when_one_is_asked_for() {
    let Some(server) = registry() else { return };
    let reference = at(&server, "app:1");
    publish(&reference, &[gzip(&[("a", b"a")])]).await;
    let guest = Guest::new();
    let wanted = linkspan_registry::parse_platform("linux/s390x").unwrap();
    let (_, lines) = recorder();
    let pull =
        guest.registries.pull(&reference, Some(&wanted), Credentials::Anonymous, &lines).await;
    let error = pull.unwrap_err().to_string();
    assert!(error.contains("does not match the specified platform (linux/s390x)"), "{error}");
    assert_eq!(guest.on_disk(), Vec::<String>::new());
}

#[tokio::test]
async fn by_digest_the_image_has_no_tag() {
    let Some(server) = registry() else { return };
    let made = publish(&at(&server, "app:1"), &[gzip(&[("a", b"a")])]).await;
    let reference = at(&server, "app").at(made.manifest);
    let guest = Guest::new();
    let (pulled, _) = guest.pull(&reference).await;
    let image = guest.store.resolve(&reference.familiar()).unwrap();
    assert_eq!((image.id.to_string(), image.tags), (pulled.id, Vec::<String>::new()));
    assert_eq!(image.diff_ids, [Digest::of(&plain(&[("a", b"a")]).blob)]);
    assert!(guest.pull(&reference).await.0.up_to_date);
}

/// Waits for a condition.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(300), wait).await.expect("it comes true");
}
