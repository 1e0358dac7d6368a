//! Debian's `docker-registry` as a process of a test, and `skopeo` beside it: what other people's
//! programs make of the same images.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::needs::is_installed;

/// Who may use a guarded registry.
pub const USER: &str = "user";
/// The password of [`USER`].
pub const PASSWORD: &str = "secret";
/// bcrypt of the password, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
/// A machine that builds meanwhile is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a registry is to be.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// Where it listens, on a free port.
    pub address: &'a str,
    /// With a certificate for this name or address, by an authority of its own ([`Process::ca`]).
    pub tls: Option<&'a str>,
    /// For [`USER`] with [`PASSWORD`] only.
    pub guarded: bool,
}

/// On the loopback, for everybody.
impl Default for Setup<'_> {
    fn default() -> Self {
        Self { address: "127.0.0.1", tls: None, guarded: false }
    }
}

/// A registry process with an empty store. It ends with the value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// `address:port`.
    pub authority: String,
    folder: TempDir,
    guarded: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts one. None, and a reason on standard error, where the program is not installed.
    ///
    /// # Panics
    /// When it is installed and does not begin to listen.
    #[must_use]
    pub fn start(setup: Setup<'_>) -> Option<Self> {
        if !is_installed("docker-registry") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let config = configuration(setup).replace("FOLDER", &folder.path().to_string_lossy());
        fs::write(at("config.yml"), config).expect("a file");
        if let Some(name) = setup.tls {
            certify(folder.path(), name);
        }
        if setup.guarded {
            fs::write(at("htpasswd"), HTPASSWD).expect("a file");
        }
        let log = fs::File::create(at("log")).expect("a file");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("docker-registry");
        let authority = listening(&mut child, &at("log"));
        Some(Self { child, authority, folder, guarded: setup.guarded })
    }

    /// The port of [`Self::authority`].
    #[must_use]
    pub fn port(&self) -> &str {
        self.authority.rsplit(':').next().unwrap_or_default()
    }

    /// The certificate of its authority, PEM.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it wrote since it began: also each request.
    ///
    /// # Panics
    /// When somebody took the file away.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("its log")
    }

    /// How often it was asked this, as in `GET /v2/app/manifests/1 HTTP`.
    #[must_use]
    pub fn asked(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Changes a byte of what it has under this digest (`sha256:...`).
    ///
    /// # Panics
    /// When it does not have it.
    pub fn damage(&self, digest: &str) {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blobs = self.folder.path().join("store/docker/registry/v2/blobs/sha256");
        let path = blobs.join(&hex[..2]).join(hex).join("data");
        let mut bytes = fs::read(&path).expect("the blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("the blob");
    }

    /// Has skopeo copy an image to it, and gives the digest of the manifest that it made.
    ///
    /// # Panics
    /// When skopeo fails.
    #[must_use]
    pub fn fill(&self, name: &str, from: &str) -> String {
        let to = format!("docker://{}/{name}", self.authority);
        let credentials = format!("{USER}:{PASSWORD}");
        let mut args = vec!["copy", "--dest-tls-verify=false"];
        if self.guarded {
            args.extend(["--dest-creds", &credentials]);
        }
        skopeo(&[&args[..], &[from, &to]].concat());
        self.digest(name)
    }

    /// The digest of the manifest that it has under this name, as skopeo sees it.
    ///
    /// # Panics
    /// When skopeo fails.
    #[must_use]
    pub fn digest(&self, name: &str) -> String {
        let name = format!("docker://{}/{name}", self.authority);
        let credentials = format!("{USER}:{PASSWORD}");
        let mut args = vec!["inspect", "--tls-verify=false", "--format", "{{.Digest}}"];
        if self.guarded {
            args.extend(["--creds", &credentials]);
        }
        skopeo(&[&args[..], &[&name]].concat())
    }
}

/// Runs skopeo, and gives what it printed.
///
/// # Panics
/// When it fails.
pub fn skopeo(args: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let done = Command::new("skopeo")
        .args(["--insecure-policy", "--tmpdir"])
        .arg(folder.path())
        .args(args)
        .output()
        .expect("skopeo");
    assert!(done.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end_matches('\n').to_owned()
}

fn configuration(setup: Setup<'_>) -> String {
    let mut text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: FOLDER/store\n  delete:\n    \
         enabled: true\nhttp:\n  addr: {}:0\n  secret: test\n",
        setup.address
    );
    if setup.tls.is_some() {
        text += "  tls:\n    certificate: FOLDER/cert.pem\n    key: FOLDER/key.pem\n";
    }
    if setup.guarded {
        text += "auth:\n  htpasswd:\n    realm: test\n    path: FOLDER/htpasswd\n";
    }
    text
}

fn certify(folder: &Path, name: &str) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new([]).expect("no names");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).expect("a certificate").pem();
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new([name.to_owned()]).expect("a name");
    let cert = own.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate").pem();
    for (name, text) in
        [("ca.pem", authority), ("cert.pem", cert), ("key.pem", key.serialize_pem())]
    {
        fs::write(folder.join(name), text).expect("a file");
    }
}

/// The address that the log tells.
fn listening(child: &mut Child, log: &Path) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(log).expect("its log");
        let address = text.split_once("listening on ").and_then(|(_, rest)| {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
            Some(rest[..end].to_owned())
        });
        if let Some(address) = address {
            return address;
        }
        assert!(child.try_wait().expect("a child").is_none() && Instant::now() < end, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
