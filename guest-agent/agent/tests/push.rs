//! Pushing to a real registry, and what comes back from there.

mod common;

use common::{Guest, at, gzip, plain, publish, recorder, registry, words};
use linkspan_agent::registries::{Error, Line, Pushed};
use linkspan_images::{Digest, ImportOptions, Reference};
use linkspan_registry::Credentials;
use linkspan_test_registry::{Image, is_installed, noise, skopeo};

async fn push(guest: &Guest, reference: &Reference) -> (Pushed, Vec<Line>) {
    let (kept, lines) = recorder();
    let pushed = guest.registries.push(reference, None, Credentials::Anonymous, &lines).await;
    let told = kept.lock().clone();
    (pushed.unwrap(), told)
}

fn name(guest: &Guest, from: &Reference, to: &Reference) {
    guest.store.tag(&from.familiar(), &to.familiar()).unwrap();
}

fn diff_ids(guest: &Guest, reference: &Reference) -> Vec<Digest> {
    guest.store.resolve(&reference.familiar()).unwrap().diff_ids
}

#[tokio::test]
async fn a_pulled_image_is_pushed_under_its_own_digest() {
    let (Some(one), Some(two)) = (registry(), registry()) else { return };
    let layers = [gzip(&[("a", &noise(1, 100_000))]), plain(&[("b", &noise(2, 5_000))])];
    let made = publish(&at(&one, "app:1"), &layers).await;
    let guest = Guest::new();
    guest.pull(&at(&one, "app:1")).await;
    let there = at(&two, "other/app:2");
    name(&guest, &at(&one, "app:1"), &there);
    let (pushed, told) = push(&guest, &there).await;
    assert_eq!((pushed.digest, pushed.tag.as_str()), (made.manifest, "2"));
    let first = diff_ids(&guest, &there)[0];
    let said = words(&told, &first);
    assert_eq!(said.first().map(String::as_str), Some("Preparing"), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("Pushed"), "{said:?}");
    let last = told.last().unwrap();
    assert_eq!(
        (last.id.as_str(), last.status.clone()),
        ("2", format!("digest: {} size: {}", pushed.digest, pushed.size))
    );
    // All of it is there.
    let other = Guest::new();
    assert_eq!(other.pull(&there).await.0.digest, made.manifest);
    assert_eq!(diff_ids(&other, &there), diff_ids(&guest, &there));
    // And a second push sends nothing.
    let (again, told) = push(&guest, &there).await;
    assert_eq!(again.digest, pushed.digest);
    assert_eq!(words(&told, &first).last().unwrap(), "Layer already exists");
}

#[tokio::test]
async fn layers_are_mounted_from_the_repository_that_has_them() {
    let Some(server) = registry() else { return };
    let layers = [gzip(&[("a", &noise(1, 100_000))])];
    let made = publish(&at(&server, "base/app:1"), &layers).await;
    let guest = Guest::new();
    guest.pull(&at(&server, "base/app:1")).await;
    let there = at(&server, "copy:1");
    name(&guest, &at(&server, "base/app:1"), &there);
    let (pushed, told) = push(&guest, &there).await;
    assert_eq!(pushed.digest, made.manifest);
    let said = words(&told, &diff_ids(&guest, &there)[0]);
    assert_eq!(said.last().map(String::as_str), Some("Mounted from base/app"), "{said:?}");
}

#[tokio::test]
async fn what_came_from_a_registry_keeps_its_digest_there_though_it_was_here_before() {
    let Some(server) = registry() else { return };
    let (word, noise) = (b"hello\n".repeat(100), noise(1, 10_000));
    let files: [(&str, &[u8]); 2] = [("word", &word), ("noise", &noise)];
    let from = at(&server, "base/app:1");
    let made = publish(&from, &[gzip(&files)]).await;
    let guest = Guest::new();
    // The same image, and another manifest: its layer is not compressed.
    let archive = Image::new(vec![plain(&files)], &["sh"]).archive("docker.io/library/app:1");
    assert_eq!(guest.store.load(&archive[..], |_| {}).unwrap()[0].id.0, made.config);
    let (_, told) = guest.pull(&from).await;
    assert_eq!(words(&told, &made.layers[0]).last().unwrap(), "Already exists");
    let there = at(&server, "copy:1");
    name(&guest, &from, &there);
    assert_eq!(push(&guest, &there).await.0.digest, made.manifest);
    // Where the registry has it no more, what is here goes.
    let Some(empty) = registry() else { return };
    let elsewhere = at(&empty, "copy:1");
    name(&guest, &from, &elsewhere);
    assert_ne!(push(&guest, &elsewhere).await.0.digest, made.manifest);
    assert_eq!(Guest::new().pull(&elsewhere).await.0.id, made.config.to_string());
}

#[tokio::test]
async fn an_image_made_here_has_one_digest_however_often_it_is_pushed() {
    let (Some(one), Some(two)) = (registry(), registry()) else { return };
    let guest = Guest::new();
    let root =
        plain(&[("etc/motd", &b"hello\n".repeat(10_000)), ("bin/x", &noise(3, 30_000))]).blob;
    let (here, there) = (at(&one, "made:1"), at(&two, "made:1"));
    let options = ImportOptions { reference: Some(here.familiar()), ..ImportOptions::default() };
    guest.store.import(&root[..], &options, |_| {}).unwrap();
    let (first, _) = push(&guest, &here).await;
    let (again, told) = push(&guest, &here).await;
    assert_eq!(first, again);
    let diff_id = diff_ids(&guest, &here)[0];
    assert_eq!(words(&told, &diff_id).last().unwrap(), "Layer already exists");
    // Another registry lacks the layer: it is made again.
    name(&guest, &here, &there);
    let (elsewhere, told) = push(&guest, &there).await;
    assert_eq!(elsewhere.digest, first.digest);
    assert_eq!(words(&told, &diff_id).last().unwrap(), "Pushed");
    let other = Guest::new();
    other.pull(&there).await;
    assert_eq!(diff_ids(&other, &there), [Digest::of(&root)]);
    let digests = guest.store.inspect(&here.familiar()).unwrap().summary.digests;
    assert_eq!(digests.len(), 2, "{digests:?}");
    assert!(!guest.on_disk().iter().any(|name| name.starts_with("tmp/")));
}

#[tokio::test]
async fn what_skopeo_copies_comes_back_with_the_same_digests() {
    let Some(server) = registry() else { return };
    if !is_installed("skopeo") {
        return;
    }
    let guest = Guest::new();
    let root = plain(&[("etc/motd", b"hello\n")]).blob;
    let here = at(&server, "made:1");
    let options = ImportOptions { reference: Some(here.familiar()), ..ImportOptions::default() };
    guest.store.import(&root[..], &options, |_| {}).unwrap();
    let (pushed, _) = push(&guest, &here).await;
    let copied = at(&server, "copied:1");
    let url = |name: &Reference| format!("docker://{}", name.familiar());
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    skopeo(&["copy", insecure[0], insecure[1], &url(&here), &url(&copied)]);
    let other = Guest::new();
    assert_eq!(other.pull(&copied).await.0.digest, pushed.digest);
}

#[tokio::test]
async fn what_is_not_here_cannot_be_pushed() {
    let guest = Guest::new();
    let reference = Reference::parse("localhost:1/nothing:1").unwrap();
    let (_, lines) = recorder();
    let pushed = guest.registries.push(&reference, None, Credentials::Anonymous, &lines).await;
    assert!(matches!(pushed, Err(Error::Missing(_))), "{pushed:?}");
    let tags = guest.registries.local_tags(&Reference::parse("localhost:1/nothing").unwrap()).await;
    assert!(matches!(tags, Err(Error::Missing(_))), "{tags:?}");
}
