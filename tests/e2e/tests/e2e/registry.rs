//! Registries: Debian's `docker-registry` on this computer, reached from the VM. With a password,
//! as a mirror, and with TLS.

use std::{
    net::{IpAddr, UdpSocket},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Done, Host, target};
use tempfile::TempDir;

use crate::{Own, Shared, unique};

const LOOPBACK: &str = "127.0.0.1";
const USER: &str = "user";
const PASSWORD: &str = "secret";
/// bcrypt of the password, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A registry process, ended with the test.
struct Registry {
    child: Child,
    /// `address:port`.
    authority: String,
    folder: TempDir,
    guarded: bool,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn open() -> Self {
        Self::start(LOOPBACK, "", false)
    }

    fn guarded() -> Self {
        Self::start(LOOPBACK, "", true)
    }

    /// With a certificate for `address` by an authority whose certificate is `ca.pem` in its folder.
    fn with_tls(address: &str) -> Self {
        let tls = "  tls:\n    certificate: FOLDER/cert.pem\n    key: FOLDER/key.pem\n";
        Self::start(address, tls, false)
    }

    fn start(address: &str, tls: &str, guarded: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: FOLDER/store\n\
             http:\n  addr: {address}:0\n  secret: test\n{tls}"
        );
        if !tls.is_empty() {
            certify(folder.path(), address);
        }
        if guarded {
            std::fs::write(at("htpasswd"), HTPASSWD).unwrap();
            config += "auth:\n  htpasswd:\n    realm: test\n    path: FOLDER/htpasswd\n";
        }
        let config = config.replace("FOLDER", folder.path().to_str().unwrap());
        std::fs::write(at("config.yml"), config).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        // `make test` installs it: its absence is a failure, not a skip.
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry");
        let authority = listening(&mut child, &at("log"));
        Self { child, authority, folder, guarded }
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.authority)
    }

    fn ca(&self) -> String {
        self.folder.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// Puts the built-in busybox there.
    fn seed(&self, name: &str) {
        let from =
            format!("oci-archive:{}", target().join("vm-image/images/busybox.tar").display());
        let mut command = Command::new("skopeo");
        command.args(["copy", "--insecure-policy", "--dest-tls-verify=false"]);
        if self.guarded {
            command.args(["--dest-creds", &format!("{USER}:{PASSWORD}")]);
        }
        let done = command
            .args([from, format!("docker://{}", self.image(name))])
            .output()
            .expect("skopeo");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// The address that the log tells.
fn listening(child: &mut Child, log: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        let address = text.split_once("listening on ").and_then(|(_, rest)| {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
            Some(rest[..end].to_owned())
        });
        if let Some(address) = address {
            return address;
        }
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < end, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn certify(folder: &Path, address: &str) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new([address.to_owned()]).unwrap();
    let cert = own.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// An address of this computer that is not its loopback. Nothing is sent.
fn address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (address.is_ipv4() && !address.is_loopback() && address != IpAddr::from([0, 0, 0, 0]))
        .then(|| address.to_string())
}

/// A command with a Docker configuration of its own.
fn run_as(host: &Host, docker: &TempDir, args: &[&str], stdin: &[u8]) -> Done {
    let mut child = host
        .command(args)
        .env("DOCKER_CONFIG", docker.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("linkspan starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    // It may end without reading it all.
    let _ = std::io::Write::write_all(&mut pipe, stdin);
    drop(pipe);
    linkspan_test_e2e::finish(child, args)
}

pub(crate) const TESTS: &[Shared] = &[
    ("what_is_not_there_is_pulled_before_it_runs", |host| {
        let registry = Registry::open();
        let image = registry.image(&unique("box"));
        registry.seed(image.split_once('/').unwrap().1);
        let done = host.run(&["run", "--rm", &image, "echo", "pulled"]).ok();
        assert_eq!(done.text(), "pulled");
        let said = format!("Unable to find image '{image}:latest' locally\n");
        assert!(done.err.contains(&said), "{}", done.err);
        assert!(done.err.contains("Status: Downloaded newer image for"), "{}", done.err);
        let again = host.run(&["pull", &image]).ok().text();
        assert!(again.contains("Status: Image is up to date for"), "{again}");
        assert!(again.ends_with(&format!("\n{image}:latest")), "{again}");
        let _ = host.run(&["rmi", &image]).ok();
        host.run(&["run", "--rm", "--pull", "never", &image, "true"]).fails(125, &[&image]);
        host.run(&["pull", &registry.image("nothing:1")]).fails(1, &["manifest unknown"]);
    }),
    ("a_login_opens_a_guarded_registry_until_the_logout", |host| {
        let registry = Registry::guarded();
        let image = registry.image(&unique("private"));
        registry.seed(image.split_once('/').unwrap().1);
        let docker = tempfile::tempdir().unwrap();
        let server = registry.authority.as_str();
        let pull = |docker: &TempDir| run_as(host, docker, &["pull", "-q", &image], b"");
        pull(&docker).fails(1, &["auth"]);
        let login = ["login", "-u", USER, "--password-stdin", server];
        run_as(host, &docker, &login, b"wrong").fails(1, &["unauthorized"]);
        assert!(!docker.path().join("config.json").exists(), "a wrong password is not kept");
        let done = run_as(host, &docker, &login, PASSWORD.as_bytes()).ok();
        assert_eq!(done.text(), "Login Succeeded");
        let _ = pull(&docker).ok();
        let _ = host.run(&["run", "--rm", &image, "true"]).ok();
        let pushed = format!("{image}:again");
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

pub(crate) const OWN: &[Own] = &[
    ("settings_count_from_the_next_command_on", || {
        let host = Host::new();
        // An authoritative mirror's word is final: the Hub is not asked, which would fail otherwise.
        let mirror = Registry::open();
        mirror.seed("library/linkspan-mirrored:1");
        let url = format!("http://{}", mirror.authority);
        let set = |args: &[&str]| {
            let args: Vec<&str> = ["registry", "set"].iter().chain(args).copied().collect();
            let _ = host.run(&args).ok();
        };
        set(&["--mirror", &format!("{url},authoritative")]);
        let pulled = host.run(&["pull", "linkspan-mirrored:1"]).ok().text();
        assert!(pulled.ends_with("\ndocker.io/library/linkspan-mirrored:1"), "{pulled}");
        host.run(&["pull", "linkspan-absent:1"]).fails(1, &["not found"]);
        set(&["--no-mirror", &url]);

        let Some(address) = address() else {
            println!(
                "skipped: TLS and insecure registries: this computer has no address but its loopback"
            );
            return;
        };
        let registry = Registry::with_tls(&address);
        registry.seed("box:1");
        let image = registry.image("box:1");
        host.run(&["pull", &image]).fails(1, &["cannot trust registry"]);
        set(&["--ca", &registry.ca()]);
        let _ = host.run(&["pull", &image]).ok();
        set(&["--no-ca", &registry.ca()]);
        host.run(&["pull", &image]).fails(1, &["cannot trust registry"]);
        set(&["--insecure", &registry.authority]);
        let _ = host.run(&["pull", &image]).ok();
        host.leaves_nothing();
    }),
    ("credentials_are_never_written_in_the_guest", || {
        let host = Host::new();
        let registry = Registry::guarded();
        registry.seed("box:1");
        let docker = tempfile::tempdir().unwrap();
        let login = ["login", "-u", USER, "--password-stdin", registry.authority.as_str()];
        let _ = run_as(&host, &docker, &login, PASSWORD.as_bytes()).ok();
        let image = registry.image("box:1");
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
    }),
];

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
