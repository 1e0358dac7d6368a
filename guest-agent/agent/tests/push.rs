//! Pushing to a real registry, and what comes back from there.

mod common;

use std::process::Command;

use common::{GZIP, Guest, PLAIN, Server, noise, publish, recorder, tar, words};
use linkspan_agent::registries::{Error, Line, Pushed};
use linkspan_images::{Digest, ImportOptions, Reference};
use linkspan_registry::Credentials;

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
    let (Some(one), Some(two)) = (Server::start(), Server::start()) else { return };
    let layers =
        [(GZIP, tar(&[("a", &noise(100_000, 1))])), (PLAIN, tar(&[("b", &noise(5_000, 2))]))];
    let made = publish(&one.reference("app:1"), &layers).await;
    let guest = Guest::new();
    guest.pull(&one.reference("app:1")).await;
    let there = two.reference("other/app:2");
    name(&guest, &one.reference("app:1"), &there);
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
    let Some(server) = Server::start() else { return };
    let layers = [(GZIP, tar(&[("a", &noise(100_000, 1))]))];
    let made = publish(&server.reference("base/app:1"), &layers).await;
    let guest = Guest::new();
    guest.pull(&server.reference("base/app:1")).await;
    let there = server.reference("copy:1");
    name(&guest, &server.reference("base/app:1"), &there);
    let (pushed, told) = push(&guest, &there).await;
    assert_eq!(pushed.digest, made.manifest);
    let said = words(&told, &diff_ids(&guest, &there)[0]);
    assert_eq!(said.last().map(String::as_str), Some("Mounted from base/app"), "{said:?}");
}

#[tokio::test]
async fn an_image_made_here_has_one_digest_however_often_it_is_pushed() {
    let (Some(one), Some(two)) = (Server::start(), Server::start()) else { return };
    let guest = Guest::new();
    let root = tar(&[("etc/motd", &b"hello\n".repeat(10_000)), ("bin/x", &noise(30_000, 3))]);
    let (here, there) = (one.reference("made:1"), two.reference("made:1"));
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
    let Some(server) = Server::start() else { return };
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: there is no skopeo here");
        return;
    }
    let guest = Guest::new();
    let root = tar(&[("etc/motd", b"hello\n")]);
    let here = server.reference("made:1");
    let options = ImportOptions { reference: Some(here.familiar()), ..ImportOptions::default() };
    guest.store.import(&root[..], &options, |_| {}).unwrap();
    let (pushed, _) = push(&guest, &here).await;
    let copied = server.reference("copied:1");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "--tmpdir"])
        .arg(folder.path())
        .args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([format!("docker://{}", here.familiar()), format!("docker://{}", copied.familiar())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
