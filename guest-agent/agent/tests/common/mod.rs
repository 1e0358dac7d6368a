//! A store, the way from it to registries, and images in a real one.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub)]

use std::sync::Arc;

use linkspan_agent::registries::{Line, Lines, Pulled, Registries};
use linkspan_images::{Digest, Reference, Store};
use linkspan_registry::{Client, Credentials, Descriptor, OCI_MANIFEST, Settings, silent};
use linkspan_test_registry::{File, Image, Layer, Packing, Process, Setup};
use parking_lot::Mutex;
use tempfile::TempDir;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A registry; None: there is no such program here.
pub fn registry() -> Option<Process> {
    Process::start(Setup::default())
}

/// The image of this name in a registry.
pub fn at(registry: &Process, name: &str) -> Reference {
    Reference::parse(&format!("{}/{name}", registry.authority)).unwrap()
}

/// A layer of these files, compressed.
pub fn gzip(files: &[(&str, &[u8])]) -> Layer {
    layer(files, Packing::Gzip)
}

/// A layer of these files as it is.
pub fn plain(files: &[(&str, &[u8])]) -> Layer {
    layer(files, Packing::Plain)
}

fn layer(files: &[(&str, &[u8])], packing: Packing) -> Layer {
    let files: Vec<_> = files.iter().map(|(name, content)| File::new(*name, *content)).collect();
    Layer::new(&files, packing)
}

/// An image in a registry.
#[derive(Debug, Clone)]
pub struct Made {
    pub manifest: Digest,
    pub config: Digest,
    pub layers: Vec<Digest>,
}

/// Pushes an image of these layers.
pub async fn publish(reference: &Reference, layers: &[Layer]) -> Made {
    let repository =
        Client::new(Settings::default()).unwrap().repository(reference, Credentials::Anonymous);
    let image = Image::new(layers.to_vec(), &["sh"]);
    let blobs = layers.iter().map(|layer| (layer.media_type, layer.blob.clone()));
    let mut digests = Vec::new();
    for (kind, blob) in blobs.chain([(CONFIG, image.config)]) {
        let descriptor = Descriptor::new(kind, Digest::of(&blob), blob.len() as u64);
        repository.push_blob(&descriptor, &blob, None, &silent()).await.unwrap();
        digests.push(descriptor.digest);
    }
    let manifest = image.manifest.into();
    let manifest = repository.put_manifest(OCI_MANIFEST, manifest, false).await.unwrap();
    let config = digests.pop().unwrap();
    Made { manifest, config, layers: digests }
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
