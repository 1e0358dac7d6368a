//! Archives made in memory, and a look at what a store has on its disk.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(unreachable_pub)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use linkspan_images::{Digest, ImageId, ImportOptions, Limits, Options, Platform, Result, Store};
use tempfile::TempDir;

/// A store in a folder of its own.
pub struct Fixture {
    pub folder: TempDir,
    pub store: Arc<Store>,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { limits, platform: Platform::here() };
        let store = Store::open_with(folder.path().join("images"), options).unwrap();
        let store = Arc::new(store);
        Self { folder, store }
    }

    pub fn load(&self, archive: &[u8]) -> Result<Vec<linkspan_images::LoadedImage>> {
        self.store.load(archive, |_| {})
    }

    /// Imports a root file system and gives the folder it was unpacked to. Whatever it is, the
    /// store can give it back.
    pub fn unpack(&self, tar: &[u8]) -> Result<std::path::PathBuf> {
        let loaded = self.store.import(tar, &ImportOptions::default(), |_| {})?;
        let image = self.store.resolve(&loaded.id.to_string())?;
        let back = self.tar(&image.diff_ids[0]);
        assert_eq!(Digest::of(&back), image.diff_ids[0]);
        Ok(image.layers[0].canonicalize().unwrap())
    }

    /// A layer as the store gives it back.
    pub fn tar(&self, diff_id: &Digest) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.layer_tar(diff_id).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Opens the same folder again.
    pub fn reopen(self) -> Self {
        let Self { folder, store } = self;
        drop(store);
        let store = Arc::new(Store::open(folder.path().join("images")).unwrap());
        Self { folder, store }
    }

    /// Names in the store's folders that hold things.
    pub fn on_disk(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in ["tmp", "layers", "recipes", "l", "blobs/sha256"] {
            for entry in std::fs::read_dir(self.store.path().join(folder)).unwrap() {
                names.push(format!("{folder}/{}", entry.unwrap().file_name().display()));
            }
        }
        names.sort();
        names
    }

    pub fn assert_empty(&self) {
        assert_eq!(self.store.list(&everything()).unwrap(), []);
        let left: Vec<String> =
            self.on_disk().into_iter().filter(|name| !name.starts_with("tmp/")).collect();
        assert_eq!(left, Vec::<String>::new());
    }
}

pub fn everything() -> linkspan_images::ListFilter {
    linkspan_images::ListFilter { all: true, ..Default::default() }
}

/// Whether this process may make device nodes and `trusted` attributes; says so when not.
pub fn root_or_skip() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root for device nodes and trusted attributes");
    }
    root
}

/// Builds a tar.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn file(self, path: &str, contents: impl AsRef<[u8]>) -> Self {
        self.entry(b'0', path, "", 0o644, contents.as_ref())
    }

    pub fn folder(self, path: &str) -> Self {
        self.entry(b'5', path, "", 0o755, &[])
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, 0o777, &[])
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, 0o644, &[])
    }

    pub fn entry(self, flag: u8, path: &str, link: &str, mode: u32, contents: &[u8]) -> Self {
        self.header(flag, path, link, mode, contents.len() as u64).raw(contents).pad()
    }

    /// Only a header: with any name, and a size that nothing has to follow.
    pub fn header(mut self, flag: u8, path: &str, link: &str, mode: u32, size: u64) -> Self {
        let mut header = tar::Header::new_ustar();
        let ustar = header.as_ustar_mut().unwrap();
        ustar.name[..path.len()].copy_from_slice(path.as_bytes());
        ustar.linkname[..link.len()].copy_from_slice(link.as_bytes());
        ustar.typeflag = [flag];
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub fn device(mut self, flag: u8, path: &str, major: u32, minor: u32) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_ustar_mut().unwrap().typeflag = [flag];
        header.set_mode(0o640);
        header.set_uid(5);
        header.set_gid(6);
        header.set_mtime(1_000_000_000);
        header.set_size(0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// Records for the next entry.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length += 1;
            }
            bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        self.entry(b'x', "PaxHeaders/x", "", 0o644, &bytes)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn pad(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Without the end mark.
    pub fn open(self) -> Vec<u8> {
        self.0
    }

    pub fn build(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image of these layers: its configuration, and the layers as given.
#[derive(Clone)]
pub struct Made {
    pub config: Vec<u8>,
    /// What the archive carries, possibly compressed.
    pub layers: Vec<Vec<u8>>,
    pub architecture: String,
}

impl Made {
    pub fn new(layers: &[Vec<u8>]) -> Self {
        Self::packed(layers, |layer| layer.to_vec(), &Platform::here().architecture)
    }

    pub fn packed(layers: &[Vec<u8>], pack: fn(&[u8]) -> Vec<u8>, architecture: &str) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"a": "b"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "test"}],
        });
        Self {
            config: serde_json::to_vec(&config).unwrap(),
            layers: layers.iter().map(|layer| pack(layer)).collect(),
            architecture: architecture.to_owned(),
        }
    }

    pub fn id(&self) -> ImageId {
        ImageId(Digest::of(&self.config))
    }

    pub fn manifest(&self) -> Vec<u8> {
        let descriptor = |bytes: &[u8], kind: &str| {
            serde_json::json!({"mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
        };
        let layers: Vec<_> = self.layers.iter().map(|l| descriptor(l, "layer.v1.tar")).collect();
        serde_json::to_vec(&serde_json::json!({"schemaVersion": 2,
            "config": descriptor(&self.config, "config.v1+json"), "layers": layers}))
        .unwrap()
    }

    /// Blobs by name.
    pub fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let all = self.layers.iter().cloned().chain([self.config.clone(), self.manifest()]);
        all.map(|bytes| (format!("blobs/sha256/{}", Digest::of(&bytes).hex()), bytes)).collect()
    }
}

/// An OCI layout with each image under its name (None: without); the index comes last.
pub fn oci(images: &[(Option<&str>, &Made)]) -> Vec<u8> {
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for (name, image) in images {
        blobs.extend(image.blobs());
        let manifest = image.manifest();
        let mut descriptor = serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(&manifest).to_string(), "size": manifest.len(),
            "platform": {"os": "linux", "architecture": image.architecture}});
        if let Some(name) = name {
            descriptor["annotations"] = serde_json::json!({"io.containerd.image.name": name});
        }
        manifests.push(descriptor);
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": manifests});
    let mut tar = Tar::new().folder("blobs/").folder("blobs/sha256/");
    for (name, bytes) in blobs {
        tar = long(tar, &name, &bytes);
    }
    tar.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string())
        .build()
}

/// A docker-archive in the shape of before Docker 25.
pub fn docker(images: &[(&[&str], &Made)]) -> Vec<u8> {
    let mut tar = Tar::new();
    let mut items = Vec::new();
    for (tags, image) in images {
        let config = format!("{}.json", Digest::of(&image.config).hex());
        tar = tar.file(&config, &image.config);
        let mut layers = Vec::new();
        for layer in &image.layers {
            let name = format!("{}/layer.tar", Digest::of(layer).hex());
            tar = tar.file(&name, layer);
            layers.push(name);
        }
        items.push(serde_json::json!({"Config": config, "RepoTags": tags, "Layers": layers}));
    }
    tar.file("manifest.json", serde_json::Value::from(items).to_string()).build()
}

fn long(tar: Tar, name: &str, bytes: &[u8]) -> Tar {
    tar.file(name, bytes)
}

/// A small image with a few of everything.
pub fn busybox() -> Made {
    let base = Tar::new()
        .folder("bin/")
        .entry(b'0', "bin/busybox", "", 0o755, &vec![7; 40_000])
        .hard_link("bin/sh", "bin/busybox")
        .folder("etc/")
        .file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        .symlink("etc/mtab", "/proc/mounts")
        .folder("tmp/")
        .build();
    let top = Tar::new().folder("etc/").file("etc/hostname", "busybox\n").build();
    Made::new(&[base, top])
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
