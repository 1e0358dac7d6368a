//! Other people's programs: Debian's `docker-registry`, and `skopeo`.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Kept, Server, descriptor, pattern, quick};
use linkspan_images::{Platform, Reference};
use linkspan_registry::{
    Client, Content, Credentials, DOCKER_MANIFEST, Error, OCI_INDEX, OCI_MANIFEST, Pushed,
    Repository, Settings, silent,
};

const USER: &str = "user";
const PASSWORD: &str = "secret";
/// bcrypt of the password, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

fn is_there(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// A registry process, ended with the test.
struct Registry {
    child: Child,
    authority: String,
    who: Credentials,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// With TLS and a password, or with neither.
    fn start(guarded: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n",
            at("store").display()
        );
        if guarded {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(at("cert.pem"), made.cert.pem()).unwrap();
            std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
            std::fs::write(at("htpasswd"), HTPASSWD).unwrap();
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\nauth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                at("cert.pem").display(),
                at("key.pem").display(),
                at("htpasswd").display()
            );
        }
        std::fs::write(at("config.yml"), config).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let authority = listening(&mut child, &at("log"));
        let who = if guarded {
            Credentials::Password { username: USER.into(), password: PASSWORD.into() }
        } else {
            Credentials::Anonymous
        };
        Self { child, authority, who, _folder: folder }
    }
}

/// The address that the log tells.
fn listening(child: &mut Child, log: &Path) -> String {
    const WORDS: &str = "listening on ";
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        let address = text.split_once(WORDS).and_then(|(_, rest)| {
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

fn skopeo(who: &Credentials, arguments: &[&str]) -> String {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").arg(arguments[0]);
    let word = format!("{USER}:{PASSWORD}");
    let guarded = matches!(who, Credentials::Password { .. });
    match arguments[0] {
        "inspect" if guarded => _ = command.args(["--tls-verify=false", "--creds", &word]),
        "inspect" => _ = command.arg("--tls-verify=false"),
        _ => {
            command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]);
            if guarded {
                command.args(["--src-creds", &word, "--dest-creds", &word]);
            }
        }
    }
    let output = command.args(&arguments[1..]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn repository(client: &Client, authority: &str, who: &Credentials, name: &str) -> Repository {
    let reference = Reference::parse(&format!("{authority}/{name}")).unwrap();
    client.repository(&reference, who.clone())
}

/// A manifest and its blobs, pushed; the manifest's bytes.
async fn push(repository: &Repository, layer: &Bytes) -> Bytes {
    let here = Platform::here();
    let at = descriptor("application/vnd.oci.image.layer.v1.tar", layer);
    let config = Bytes::from(format!(
        r#"{{"os":"{}","architecture":"{}","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        here.os, here.architecture, at.digest
    ));
    let config_at = descriptor("application/vnd.oci.image.config.v1+json", &config);
    for (blob, source) in [(&config_at, &config), (&at, layer)] {
        let pushed = repository.push_blob(blob, source, None, &silent()).await.unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
        assert!(repository.has_blob(blob.digest).await.unwrap());
    }
    let manifest = Bytes::from(common::manifest(&config_at, &[at]));
    repository.put_manifest(OCI_MANIFEST, manifest.clone(), false).await.unwrap();
    manifest
}

/// Push, look and copy with skopeo, pull.
async fn round_trip(settings: Settings, authority: &str, who: &Credentials) {
    let client = Client::new(settings).unwrap();
    let at = |name: &str| repository(&client, authority, who, name);
    // Two blocks of zeros are an empty tar; what follows its end is ignored.
    let mut layer = vec![0; 1024];
    layer.extend(pattern(300_000));
    let layer = Bytes::from(layer);
    let source = at("first/app:1");
    let manifest = push(&source, &layer).await;
    let pushed = descriptor(OCI_MANIFEST, &manifest);
    let entry = common::index(&[(&pushed, &Platform::here().architecture, "")]);
    let all = at("first/app:all");
    let index = all.put_manifest(OCI_INDEX, Bytes::from(entry), false).await.unwrap();
    // In no order: the specification asks for one, and this registry has none.
    let mut tags = source.tags().await.unwrap();
    tags.sort_unstable();
    assert_eq!(tags, ["1", "all"]);

    let url = |name: &str| format!("docker://{authority}/{name}");
    let inspected = skopeo(who, &["inspect", "--raw", &url("first/app:1")]);
    assert_eq!(inspected.as_bytes(), manifest);
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:all", folder.path().join("layout").display());
    skopeo(who, &["copy", "--all", "--preserve-digests", &url("first/app:all"), &layout]);
    skopeo(who, &["copy", "--all", "--preserve-digests", &layout, &url("second:back")]);
    skopeo(who, &["copy", "--format", "v2s2", &url("first/app:1"), &url("third:docker")]);

    let back = at("second:back").image(&Platform::here()).await.unwrap();
    assert_eq!(back.index.as_ref().unwrap().digest, index);
    assert_eq!(back.manifest.bytes, manifest);
    let kept = Kept::default();
    at("second").fetch_blob(&back.layers[0], kept.sink(), &silent()).await.unwrap();
    assert!(kept.is_committed() && kept.bytes() == layer);
    let docker = at("third:docker").document().await.unwrap();
    assert_eq!(docker.media_type, DOCKER_MANIFEST);
    assert!(matches!(docker.content, Content::Image { .. }));

    let head = at("second:back").head().await.unwrap().unwrap();
    assert_eq!(head.digest, index);
    let blob = &back.layers[0];
    let mounted = at("fourth").push_blob(blob, &layer, Some("second"), &silent()).await.unwrap();
    assert_eq!(mounted, Pushed::Mounted);
    let error = at("first/app:none").document().await.unwrap_err();
    assert!(error.to_string().contains("manifest unknown: manifest unknown"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_copies_keeps_its_digests() {
    if !is_there("skopeo") {
        eprintln!("skipped: skopeo is not installed");
        return;
    }
    let server = Server::start().await;
    round_trip(quick(), &server.address.to_string(), &Credentials::Anonymous).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_takes_and_gives_images_with_and_without_tls_and_password() {
    for program in ["docker-registry", "skopeo"] {
        if !is_there(program) {
            eprintln!("skipped: {program} is not installed");
            return;
        }
    }
    for guarded in [false, true] {
        for upload_chunk in [None, Some(100_000)] {
            let registry = Registry::start(guarded);
            let settings = Settings { upload_chunk, ..quick() };
            round_trip(settings, &registry.authority, &registry.who).await;
        }
    }
    let registry = Registry::start(true);
    let client = Client::new(quick()).unwrap();
    assert_eq!(client.login(&registry.authority, registry.who.clone()).await.unwrap(), None);
    for who in [
        Credentials::Anonymous,
        Credentials::Password { username: USER.into(), password: "wrong".into() },
    ] {
        let error =
            repository(&client, &registry.authority, &who, "a").document().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert_eq!(error.to_string(), "unauthorized: authentication required");
    }
}
