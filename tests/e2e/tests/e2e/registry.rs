//! Pull and push against Debian's `docker-registry` on the host's loopback, which the machine
//! knows by the same name. How registries are reached is in `registry_ways.rs`, what becomes of
//! transfers that go wrong in `faults_images`.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use linkspan_test_e2e::{Done, Host, finish, target, wait_until};
use linkspan_test_registry::{PASSWORD, Process, Setup, USER};
use tempfile::TempDir;

use crate::{CHECKER, Own, SOON, Shared, unique};

/// `make test` installs it: its absence is a failure, not a skip.
pub(crate) fn registry(setup: Setup<'_>) -> Process {
    Process::start(setup).expect("docker-registry is installed")
}

fn open() -> Process {
    registry(Setup::default())
}

fn guarded() -> Process {
    registry(Setup { guarded: true, ..Setup::default() })
}

/// Loopback is the host's, seen from the machine too.
fn name(registry: &Process, name: &str) -> String {
    format!("localhost:{}/{name}", registry.port())
}

/// Copies the built-in busybox there, compressed, and gives the digest of its manifest.
pub(crate) fn fill(registry: &Process, name: &str) -> String {
    registry.fill(name, &busybox())
}

/// The built-in busybox as skopeo knows it.
pub(crate) fn busybox() -> String {
    format!("oci-archive:{}", target().join("vm-image/images/busybox.tar").display())
}

fn digests(host: &Host, image: &str) -> String {
    host.run(&["inspect", "--type", "image", image]).ok().json()[0]["RepoDigests"].to_string()
}

/// A command with a Docker configuration of its own.
pub(crate) fn run_as(host: &Host, docker: &TempDir, args: &[&str], stdin: &[u8]) -> Done {
    let mut child = in_config(host.command(args), docker).spawn().expect("linkspan starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    // It may end without reading it all.
    let _ = std::io::Write::write_all(&mut pipe, stdin);
    drop(pipe);
    finish(child, args)
}

fn in_config(mut command: Command, docker: &TempDir) -> Command {
    command.env("DOCKER_CONFIG", docker.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_pulled_image_runs_and_has_its_digest", |host| {
        let registry = open();
        let digest = fill(&registry, "busybox:1");
        let name = name(&registry, "busybox:1");
        let told = host.run(&["pull", &name]).ok().text();
        assert!(told.contains(&format!("Digest: {digest}")), "{told}");
        assert!(told.contains("Downloaded newer image"), "{told}");
        assert_eq!(host.run(&["run", "--rm", &name, "echo", "pulled"]).ok().text(), "pulled");
        assert!(digests(host, &name).contains(&digest));
        // What is there is asked for by its name only.
        let blobs = || registry.asked("GET /v2/busybox/blobs/");
        let manifests = || registry.asked("GET /v2/busybox/manifests/1 HTTP");
        let before = (blobs(), manifests());
        let told = host.run(&["pull", &name]).ok().text();
        assert!(told.contains("Image is up to date"), "{told}");
        assert_eq!((blobs(), manifests()), (before.0, before.1 + 1));
        let _ = host.run(&["rmi", &name]).ok();
        // By its digest it has no tag.
        let by_digest = format!("{}@{digest}", name.strip_suffix(":1").expect("its tag"));
        let _ = host.run(&["pull", "-q", &by_digest]).ok();
        assert_eq!(host.run(&["run", "--rm", &by_digest, "echo", "it"]).ok().text(), "it");
        let _ = host.run(&["rmi", &by_digest]).ok();
    }),
    ("what_is_not_there_is_pulled_before_it_runs", |host| {
        let registry = open();
        let repository = unique("box");
        let _ = fill(&registry, &repository);
        let image = name(&registry, &repository);
        let done = host.run(&["run", "--rm", &image, "echo", "pulled"]).ok();
        assert_eq!(done.text(), "pulled");
        let said = format!("Unable to find image '{image}:latest' locally\n");
        assert!(done.err.contains(&said), "{}", done.err);
        assert!(done.err.contains("Status: Downloaded newer image for"), "{}", done.err);
        let again = host.run(&["pull", &image]).ok().text();
        assert!(again.ends_with(&format!("\n{image}:latest")), "{again}");
        let _ = host.run(&["rmi", &image]).ok();
        host.run(&["run", "--rm", "--pull", "never", &image, "true"]).fails(125, &[&image]);
        host.run(&["pull", &name(&registry, "nothing:1")]).fails(1, &["manifest unknown"]);
    }),
    ("all_tags_of_a_repository_come_and_go", |host| {
        let registry = open();
        let repository = name(&registry, "several");
        for tag in ["1", "2", "three"] {
            let tagged = format!("{repository}:{tag}");
            let _ = host.run(&["tag", CHECKER, &tagged]).ok();
        }
        let _ = host.run(&["push", "-q", "-a", &repository]).ok();
        assert_eq!(registry.digest("several:1"), registry.digest("several:three"));
        let all = ["1", "2", "three"].map(|tag| format!("{repository}:{tag}"));
        let remove = || {
            for image in &all {
                let _ = host.run(&["rmi", image]).ok();
            }
        };
        remove();
        let _ = host.run(&["pull", "-q", "-a", &repository]).ok();
        remove();
        host.run(&["pull", "-a", &all[0]]).fails(1, &["--all-tags"]);
    }),
    // A built-in image is here with an uncompressed layer already: the same image by another
    // manifest.
    ("what_was_pulled_is_pushed_under_the_same_digest", |host| {
        let _ = host.run(&["run", "--rm", "busybox", "true"]).ok();
        let registry = open();
        let digest = fill(&registry, "busybox:1");
        let (image, copy) = (name(&registry, "busybox:1"), name(&registry, "copy:2"));
        let _ = host.run(&["pull", "-q", &image]).ok();
        let _ = host.run(&["tag", &image, &copy]).ok();
        let told = host.run(&["push", &copy]).ok().text();
        assert!(told.contains(&format!("2: digest: {digest} size: ")), "{told}");
        assert_eq!(registry.digest("copy:2"), digest);
        // The registry has the layer: nothing but its name is sent.
        assert_eq!(registry.asked("PATCH /v2/copy/blobs/uploads/"), 0);
        for image in [&image, &copy] {
            let _ = host.run(&["rmi", image]).ok();
        }
        let _ = host.run(&["pull", "-q", &copy]).ok();
        assert_eq!(host.run(&["run", "--rm", &copy, "echo", "back"]).ok().text(), "back");
        let _ = host.run(&["rmi", &copy]).ok();
    }),
    ("an_image_made_here_has_one_digest_however_often_it_is_pushed", |host| {
        let registry = open();
        let (one, two) = (name(&registry, "made:1"), name(&registry, "other:2"));
        for name in [&one, &two] {
            let _ = host.run(&["tag", CHECKER, name]).ok();
        }
        let first = host.run(&["push", &one]).ok().text();
        assert!(first.contains("Pushed"), "{first}");
        let second = host.run(&["push", &two]).ok().text();
        assert!(second.contains("Mounted from made"), "{second}");
        assert_eq!(registry.digest("made:1"), registry.digest("other:2"));
        for name in [&one, &two] {
            let _ = host.run(&["rmi", name]).ok();
        }
        let _ = host.run(&["pull", "-q", &one]).ok();
        let report = host.run(&["run", "--rm", &one]).ok().json();
        assert_eq!(report["pid"], 1);
        let _ = host.run(&["rmi", &one]).ok();
    }),
    ("a_container_that_was_committed_and_pushed_comes_back", |host| {
        let registry = open();
        let (name, container) = (name(&registry, "committed:1"), unique("pushed"));
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
    ("a_login_opens_a_guarded_registry_until_the_logout", |host| {
        let registry = guarded();
        let server = registry.authority.as_str();
        let image = format!("{server}/private:1");
        let _ = fill(&registry, "private:1");
        let docker = tempfile::tempdir().unwrap();
        let pull = |docker: &TempDir| run_as(host, docker, &["pull", "-q", &image], b"");
        pull(&docker).fails(1, &["auth"]);
        let login = ["login", "-u", USER, "--password-stdin", server];
        run_as(host, &docker, &login, b"wrong").fails(1, &["unauthorized"]);
        assert!(!docker.path().join("config.json").exists(), "a wrong password is not kept");
        let done = run_as(host, &docker, &login, PASSWORD.as_bytes()).ok();
        assert_eq!(done.text(), "Login Succeeded");
        let _ = pull(&docker).ok();
        let _ = host.run(&["run", "--rm", &image, "true"]).ok();
        let pushed = format!("{server}/private:again");
        let _ = host.run(&["tag", &image, &pushed]).ok();
        host.run(&["push", &pushed]).fails(1, &["auth"]);
        let _ = run_as(host, &docker, &["push", &pushed], b"").ok();
        let _ = host.run(&["rmi", &image, &pushed]).ok();
        let _ = run_as(host, &docker, &["run", "--rm", &pushed, "true"], b"").ok();
        let _ = host.run(&["rmi", &pushed]).ok();
        let _ = run_as(host, &docker, &["logout", server], b"").ok();
        pull(&docker).fails(1, &["auth"]);
    }),
];

pub(crate) const OWN: &[Own] = &[("credentials_are_never_written_in_the_guest", || {
    let host = Host::new();
    let registry = guarded();
    let _ = fill(&registry, "box:1");
    let docker = tempfile::tempdir().unwrap();
    let login = ["login", "-u", USER, "--password-stdin", registry.authority.as_str()];
    let _ = run_as(&host, &docker, &login, PASSWORD.as_bytes()).ok();
    let image = format!("{}/box:1", registry.authority);
    let _ = run_as(&host, &docker, &["pull", "-q", &image], b"").ok();
    let _ = host.run(&["machine", "stop"]).ok();
    // `user:secret` as HTTP sends it, and as a configuration has it.
    let secret = b"dXNlcjpzZWNyZXQ";
    for name in ["machines/default/data.img", "machines/default/serial.log", "linkspand.log"] {
        let path = host.home().join(name);
        assert!(!contains(&path, secret), "{} has the password", path.display());
    }
    assert!(contains(&docker.path().join("config.json"), secret), "the search finds it");
    host.leaves_nothing();
})];

/// Whether a file has some bytes in it. The holes of a sparse file read as nothing.
fn contains(path: &Path, wanted: &[u8]) -> bool {
    use std::io::Read as _;
    let mut file =
        std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut window = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut chunk).unwrap();
        if count == 0 {
            return false;
        }
        if chunk[..count].iter().all(|byte| *byte == 0) {
            window.clear();
            continue;
        }
        window.extend_from_slice(&chunk[..count]);
        if window.windows(wanted.len()).any(|bytes| bytes == wanted) {
            return true;
        }
        let kept = window.len().saturating_sub(wanted.len());
        window.drain(..kept);
    }
}
