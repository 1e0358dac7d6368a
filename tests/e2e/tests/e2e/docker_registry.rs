//! Docker's command line, a real machine and a real registry on the host's loopback.

use linkspan_test_e2e::Host;
use linkspan_test_registry::Setup;

use crate::{
    Shared,
    docker::{docker, there_is_one, with_stdin},
    registry::registry,
    unique,
};

fn push_and_pull(host: &Host) {
    if !there_is_one() {
        return;
    }
    let registry = registry(Setup::default());
    let name = unique("docker-pushed");
    let image = format!("localhost:{}/some/{name}:v1", registry.port());
    // busybox is there once something has run of it.
    let _ = docker(host, &["create", "--name", &name, "busybox", "true"]).ok();
    let _ = docker(host, &["commit", "-c", "CMD [\"echo\", \"carried\"]", &name, &image]).ok();
    let _ = docker(host, &["rm", &name]).ok();

    let pushed = docker(host, &["push", &image]).ok().text();
    let digest = pushed.split("digest: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let digest = digest.unwrap_or_else(|| panic!("no digest: {pushed}")).to_owned();
    let again = docker(host, &["push", &image]).ok().text();
    assert!(again.contains("Layer already exists") && again.contains(&digest), "{again}");

    let _ = docker(host, &["rmi", &image]).ok();
    docker(host, &["image", "inspect", &image]).fails(1, &["No such image"]);
    let pulled = docker(host, &["pull", &image]).ok().text();
    assert!(pulled.contains("Pull complete") || pulled.contains("Already exists"), "{pulled}");
    assert!(
        pulled.contains(&digest) && pulled.contains("Status: Downloaded newer image"),
        "{pulled}"
    );
    assert_eq!(docker(host, &["run", "--rm", &image]).ok().text(), "carried");
    let digests = docker(host, &["inspect", "-f", "{{.RepoDigests}}", &image]).ok().text();
    assert!(digests.contains(&digest), "{digests}");
    assert!(docker(host, &["pull", &image]).ok().text().contains("Image is up to date"));

    // `run` pulls what is missing.
    let _ = docker(host, &["rmi", &image]).ok();
    assert_eq!(docker(host, &["run", "--rm", &image]).ok().text(), "carried");
    let absent = format!("localhost:{}/some/nothing:v1", registry.port());
    let missing = "not found: manifest unknown: manifest unknown";
    docker(host, &["pull", &absent])
        .fails(1, &["Error response from daemon: manifest for", missing]);
    docker(host, &["run", "--rm", &absent]).fails(125, &["Unable to find image"]);

    // What is saved is what is loaded.
    let id = docker(host, &["inspect", "-f", "{{.Id}}", &image]).ok().text();
    let saved = docker(host, &["save", &image]).ok().out;
    let _ = docker(host, &["rmi", &image]).ok();
    let loaded = with_stdin(host, &["load"], &saved).ok().text();
    assert_eq!(loaded, format!("Loaded image: {image}"));
    assert_eq!(docker(host, &["inspect", "-f", "{{.Id}}", &image]).ok().text(), id);
    let _ = docker(host, &["rmi", &image]).ok();
}

pub(crate) const TESTS: &[Shared] =
    &[("images_keep_their_digest_through_a_registry", push_and_pull)];
