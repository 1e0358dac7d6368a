//! Debian's `docker-registry` on the loopback, and images that are made in memory.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use linkspan_agent::registries::{Line, Lines, Pulled, Registries};
use linkspan_images::{Digest, Platform, Reference, Store};
use linkspan_registry::{Client, Credentials, Descriptor, OCI_MANIFEST, Settings, silent};
use parking_lot::Mutex;
use tempfile::TempDir;

pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A registry process, ended with the test.
pub struct Server {
    child: Child,
    pub authority: String,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// None: there is no such program here.
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let root = folder.path().join("store");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n  secret: test\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let path = folder.path().join("log");
        let log = std::fs::File::create(&path).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: there is no docker-registry here");
                return None;
            }
            Err(error) => panic!("docker-registry cannot be started: {error}"),
        };
        let authority = listening(&mut child, &path);
        Some(Self { child, authority, folder })
    }

    pub fn reference(&self, name: &str) -> Reference {
        Reference::parse(&format!("{}/{name}", self.authority)).unwrap()
    }

    /// What it was asked since it began.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Takes a blob away from everybody.
    pub fn damage(&self, digest: &Digest) {
        let hex = digest.hex();
        let folder = self.folder.path().join("store/docker/registry/v2/blobs/sha256");
        let path = folder.join(&hex[..2]).join(&hex).join("data");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
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

/// A layer of these files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, contents) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(contents.len() as u64);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, name, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(length).collect()
}

/// An image in a registry.
#[derive(Debug, Clone)]
pub struct Made {
    pub manifest: Digest,
    pub config: Digest,
    pub layers: Vec<Digest>,
}

/// Pushes an image of these layers, each with its media type and its uncompressed tar.
pub async fn publish(reference: &Reference, layers: &[(&str, Vec<u8>)]) -> Made {
    let repository =
        Client::new(Settings::default()).unwrap().repository(reference, Credentials::Anonymous);
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for (kind, tar) in layers {
        let blob = if *kind == GZIP { gzip(tar) } else { tar.clone() };
        let descriptor = Descriptor::new(*kind, Digest::of(&blob), blob.len() as u64);
        let blob = bytes::Bytes::from(blob);
        repository.push_blob(&descriptor, &blob, None, &silent()).await.unwrap();
        descriptors.push(descriptor);
        diff_ids.push(Digest::of(tar).to_string());
    }
    let here = Platform::here();
    let config = serde_json::json!({
        "os": here.os, "architecture": here.architecture, "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = bytes::Bytes::from(config.to_string());
    let descriptor = Descriptor::new(CONFIG, Digest::of(&config), config.len() as u64);
    repository.push_blob(&descriptor, &config, None, &silent()).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": descriptors,
    });
    let manifest = bytes::Bytes::from(manifest.to_string());
    let manifest = repository.put_manifest(OCI_MANIFEST, manifest, false).await.unwrap();
    let layers = descriptors.iter().map(|layer| layer.digest).collect();
    Made { manifest, config: descriptor.digest, layers }
}

/// A store of its own, and the way to registries.
pub struct Guest {
    pub store: Arc<Store>,
    pub registries: Registries,
    folder: TempDir,
}

impl Guest {
    pub fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(folder: TempDir) -> Self {
        let store = Arc::new(Store::open(folder.path().join("images")).unwrap());
        let registries = Registries::new(Arc::clone(&store), None).unwrap();
        Self { store, registries, folder }
    }

    pub async fn pull(&self, reference: &Reference) -> (Pulled, Vec<Line>) {
        let (kept, lines) = recorder();
        let pulled = self.registries.pull(reference, None, Credentials::Anonymous, &lines).await;
        let told = kept.lock().clone();
        (pulled.unwrap(), told)
    }

    /// Names in the store's folders that hold things.
    pub fn on_disk(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["tmp", "layers", "l", "blobs/sha256"] {
            for entry in std::fs::read_dir(self.store.path().join(folder)).unwrap() {
                names.push(format!("{folder}/{}", entry.unwrap().file_name().display()));
            }
        }
        names.sort();
        names
    }

    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.store.path().join("blobs/sha256").join(digest.hex()).exists()
    }
}

/// Lines, kept.
pub fn recorder() -> (Arc<Mutex<Vec<Line>>>, Lines) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&kept);
    (kept, Lines::new(move |line| taken.lock().push(line)))
}

/// The words of one layer, without its bytes.
pub fn words(lines: &[Line], digest: &Digest) -> Vec<String> {
    let id = &digest.hex()[..12];
    let mut words: Vec<String> =
        lines.iter().filter(|line| line.id == id).map(|line| line.status.clone()).collect();
    words.dedup();
    words
}
