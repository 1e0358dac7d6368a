//! Pull and push against Debian's `docker-registry` on the host's loopback, which the machine
//! knows by the same name.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use linkspan_test_e2e::{Host, target, wait_until};

use crate::{CHECKER, SOON, Shared, unique};

/// A registry, ended with the test. `make test` installs it: its absence is a failure.
struct Registry {
    child: Child,
    authority: String,
    folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n",
            folder.path().join("store").display()
        );
        std::fs::write(&config, text).unwrap();
        let log = folder.path().join("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("docker-registry");
        let mut registry = Self { child, authority: String::new(), folder };
        assert!(wait_until(SOON, || {
            registry.authority = listening(&log).unwrap_or_default();
            !registry.authority.is_empty()
        }));
        registry
    }

    /// `localhost:PORT/NAME`: loopback is the host's, seen from the machine too.
    fn name(&self, name: &str) -> String {
        let port = self.authority.rsplit(':').next().unwrap_or_default();
        format!("localhost:{port}/{name}")
    }

    /// Copies the built-in busybox there, compressed. Gives the digest of its manifest.
    fn fill(&self, name: &str) -> String {
        let from =
            format!("oci-archive:{}", target().join("vm-image/images/busybox.tar").display());
        skopeo(&[
            "copy",
            "--dest-tls-verify=false",
            &from,
            &format!("docker://{}", self.name(name)),
        ]);
        self.digest(name)
    }

    fn digest(&self, name: &str) -> String {
        let name = format!("docker://{}", self.name(name));
        skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name])
    }

    /// How often this was asked of it.
    fn asked(&self, words: &str) -> usize {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap().matches(words).count()
    }
}

/// The address that the log tells.
fn listening(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let (_, rest) = text.split_once("listening on ")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    Some(rest[..end].to_owned())
}

fn skopeo(args: &[&str]) -> String {
    let done = Command::new("skopeo").arg("--insecure-policy").args(args).output().expect("skopeo");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn digests(host: &Host, image: &str) -> String {
    host.run(&["inspect", "--type", "image", image]).ok().json()[0]["RepoDigests"].to_string()
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_pulled_image_runs_and_has_its_digest", |host| {
        let registry = Registry::start();
        let digest = registry.fill("busybox:1");
        let name = registry.name("busybox:1");
        let told = host.run(&["pull", &name]).ok().text();
        assert!(told.contains(&format!("Digest: {digest}")), "{told}");
        assert!(told.contains("Downloaded newer image"), "{told}");
        assert_eq!(host.run(&["run", "--rm", &name, "echo", "pulled"]).ok().text(), "pulled");
        assert!(digests(host, &name).contains(&digest));
        let told = host.run(&["pull", &name]).ok().text();
        assert!(told.contains("Image is up to date"), "{told}");
        assert_eq!(registry.asked("GET /v2/busybox/manifests/1 HTTP"), 2);
        let _ = host.run(&["rmi", &name]).ok();
    }),
    ("what_was_pulled_is_pushed_under_the_same_digest", |host| {
        let registry = Registry::start();
        let digest = registry.fill("busybox:1");
        let (name, copy) = (registry.name("busybox:1"), registry.name("copy:2"));
        let _ = host.run(&["pull", "-q", &name]).ok();
        let _ = host.run(&["tag", &name, &copy]).ok();
        let told = host.run(&["push", &copy]).ok().text();
        assert!(told.contains(&format!("2: digest: {digest} size: ")), "{told}");
        assert_eq!(registry.digest("copy:2"), digest);
        for image in [&name, &copy] {
            let _ = host.run(&["rmi", image]).ok();
        }
        let _ = host.run(&["pull", "-q", &copy]).ok();
        assert_eq!(host.run(&["run", "--rm", &copy, "echo", "back"]).ok().text(), "back");
        let _ = host.run(&["rmi", &copy]).ok();
    }),
    ("an_image_made_here_has_one_digest_however_often_it_is_pushed", |host| {
        let registry = Registry::start();
        let (one, two) = (registry.name("made:1"), registry.name("made:2"));
        for name in [&one, &two] {
            let _ = host.run(&["tag", CHECKER, name]).ok();
            let _ = host.run(&["push", "-q", name]).ok();
        }
        assert_eq!(registry.digest("made:1"), registry.digest("made:2"));
        for name in [&one, &two] {
            let _ = host.run(&["rmi", name]).ok();
        }
        let _ = host.run(&["pull", "-q", &one]).ok();
        let report = host.run(&["run", "--rm", &one]).ok().json();
        assert_eq!(report["pid"], 1);
        let _ = host.run(&["rmi", &one]).ok();
    }),
    ("a_container_that_was_committed_and_pushed_comes_back", |host| {
        let registry = Registry::start();
        let (name, container) = (registry.name("committed:1"), unique("pushed"));
        let script = "echo kept > /tmp/word";
        let _ = host.run(&["run", "--name", &container, CHECKER, "sh", "-c", script]).ok();
        let _ = host.run(&["commit", &container, &name]).ok();
        let _ = host.run(&["push", "-q", &name]).ok();
        let _ = host.run(&["rm", &container]).ok();
        let _ = host.run(&["rmi", &name]).ok();
        let _ = host.run(&["pull", "-q", &name]).ok();
        assert_eq!(host.run(&["run", "--rm", &name, "cat", "/tmp/word"]).ok().text(), "kept");
        let _ = host.run(&["rmi", &name]).ok();
    }),
    ("a_pull_that_is_given_up_leaves_nothing", |host| {
        // A registry that answers the first request never.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut pull = host.spawn(&["pull", &format!("localhost:{port}/nothing:1")]);
        let (mut connection, _) = listener.accept().unwrap();
        pull.kill().unwrap();
        let _ = pull.wait();
        // The machine gives the connection up with the call.
        connection.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let gone = wait_until(SOON, || {
            use std::io::Read as _;
            matches!(connection.read(&mut [0; 4096]), Ok(0))
        });
        assert!(gone, "the machine still waits for the registry");
        // Other tests load images meanwhile.
        let left = ["machine", "shell", "--", "ls", "/var/lib/linkspan/images/tmp"];
        assert!(wait_until(SOON, || host.run(&left).ok().text().is_empty()));
    }),
];
