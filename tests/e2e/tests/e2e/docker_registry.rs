//! Docker's command line, a real machine and a real registry on the host's loopback.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use linkspan_test_e2e::{Host, wait_until};
use tempfile::TempDir;

use crate::{
    SOON, Shared,
    docker::{docker, there_is_one, with_stdin},
    unique,
};

/// Debian's `docker-registry`, until it is dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// None, and a reason, where there is none to start.
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        // Free a moment ago; a registry that finds it taken ends, and then the test says so.
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("it has one")
            .port();
        let config = format!(
            "version: 0.1\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            folder.path().display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).expect("a file");
        let mut registry = Command::new("docker-registry");
        registry
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(child) = registry.spawn() else {
            println!("skipped: there is no docker-registry here (`.ci/install test` installs it)");
            return None;
        };
        let registry = Self { child, port, _folder: folder };
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_until(SOON, listens), "the registry does not listen");
        Some(registry)
    }
}

fn push_and_pull(host: &Host) {
    if !there_is_one() {
        return;
    }
    let Some(registry) = Registry::start() else { return };
    let name = unique("docker-pushed");
    let image = format!("localhost:{}/some/{name}:v1", registry.port);
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
    let absent = format!("localhost:{}/some/nothing:v1", registry.port);
    docker(host, &["pull", &absent]).fails(1, &["Error"]);
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
