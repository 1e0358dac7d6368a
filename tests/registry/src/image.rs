//! Images made in memory, for a registry or as an archive.

use std::io::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{MANIFEST, Server, digest};

/// A file of a layer.
#[derive(Debug, Clone)]
pub struct File {
    /// Without a leading slash; with one at the end it is a folder.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its content; none for a folder.
    pub content: Vec<u8>,
}

impl File {
    /// A file that anybody may read.
    pub fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, content: content.into() }
    }

    /// The same with other permissions.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// How a layer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As a tar.
    Plain,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// A layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: String,
    /// What travels.
    pub blob: Bytes,
    /// The digest of what travels.
    pub digest: String,
    /// What it is called in a manifest.
    pub media_type: &'static str,
}

impl Layer {
    /// Of these files.
    ///
    /// # Panics
    /// When a name is longer than a tar takes.
    #[must_use]
    pub fn new(files: &[File], packing: Packing) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        for file in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(file.content.len() as u64);
            header.set_mode(file.mode);
            header.set_mtime(1_700_000_000);
            if file.path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            tar.append_data(&mut header, &file.path, &file.content[..]).expect("a tar in memory");
        }
        Self::of_tar(&tar.into_inner().expect("a tar in memory"), packing)
    }

    /// Of this archive.
    ///
    /// # Panics
    /// When memory is short.
    #[must_use]
    pub fn of_tar(tar: &[u8], packing: Packing) -> Self {
        let (blob, media_type) = match packing {
            Packing::Plain => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
            Packing::Gzip => {
                let level = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(tar).expect("memory");
                let blob = encoder.finish().expect("memory");
                (blob, "application/vnd.oci.image.layer.v1.tar+gzip")
            }
            Packing::Zstd => {
                let blob = zstd::encode_all(tar, 1).expect("memory");
                (blob, "application/vnd.oci.image.layer.v1.tar+zstd")
            }
        };
        Self { diff_id: digest(tar), digest: digest(&blob), blob: blob.into(), media_type }
    }

    /// Points to it.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.blob.len()})
    }
}

/// An image for Linux on this machine's processor.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its configuration, JSON.
    pub config: Bytes,
    /// The lowest first.
    pub layers: Vec<Layer>,
    /// Its manifest, JSON.
    pub manifest: String,
}

impl Image {
    /// Of these layers; `command` is what a container of it runs.
    ///
    /// # Panics
    /// Never: JSON of our own is written.
    #[must_use]
    pub fn new(layers: Vec<Layer>, command: &[&str]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
        let history: Vec<_> = (0..layers.len())
            .map(|number| json!({"created": "2024-01-02T03:04:05Z", "created_by": format!("layer {number}")}))
            .collect();
        let config = json!({
            "created": "2024-01-02T03:04:05Z",
            "os": "linux",
            "architecture": architecture(),
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        Self::with_config(config.to_string().into(), layers)
    }

    /// With this configuration, whether it fits or not.
    #[must_use]
    pub fn with_config(config: Bytes, layers: Vec<Layer>) -> Self {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config),
                "size": config.len(),
            },
            "layers": layers.iter().map(Layer::descriptor).collect::<Vec<_>>(),
        });
        Self { config, layers, manifest: manifest.to_string() }
    }

    /// The digest of its configuration.
    #[must_use]
    pub fn id(&self) -> String {
        digest(&self.config)
    }

    /// Puts it into a registry and gives the manifest's digest.
    pub fn put(&self, server: &Server, repository: &str, tag: &str) -> String {
        server.put_blob(repository, self.config.clone());
        for layer in &self.layers {
            server.put_blob(repository, layer.blob.clone());
        }
        server.put_manifest(repository, tag, MANIFEST, &self.manifest)
    }

    /// An OCI archive with this image under `name`.
    ///
    /// # Panics
    /// When memory is short.
    #[must_use]
    pub fn archive(&self, name: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content).expect("a tar in memory");
        };
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        let manifest = self.manifest.as_bytes();
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": MANIFEST,
            "digest": digest(manifest),
            "size": manifest.len(),
            "annotations": {"io.containerd.image.name": name},
        }]});
        add("index.json", index.to_string().as_bytes());
        let layers = self.layers.iter().map(|layer| &layer.blob[..]);
        for blob in [manifest, &self.config].into_iter().chain(layers) {
            add(&format!("blobs/sha256/{}", &digest(blob)["sha256:".len()..]), blob);
        }
        tar.into_inner().expect("a tar in memory")
    }
}

/// This machine's, in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Bytes that do not compress and differ everywhere (xorshift64*), the same for the same seed.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
