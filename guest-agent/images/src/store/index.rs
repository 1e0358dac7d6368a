//! `index.json`: which images, references and layers exist. Whatever it does not name is rubbish.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, ImageId};
use crate::error::{Context as _, Error, Result};
use crate::reference::Reference;

/// Raised when an older program must not change the file any more. 2: layers know their blobs,
/// which a program for format 1 would take for rubbish.
const FORMAT: u32 = 2;
/// The oldest that is read; what it lacks is empty.
const OLDEST: u32 = 1;
const FILE: &str = "index.json";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    format: u32,
    /// By the digest of the configuration.
    pub(crate) images: BTreeMap<ImageId, ImageRecord>,
    /// Names with a tag.
    pub(crate) references: BTreeMap<Reference, ImageId>,
    /// Names with the digest of a manifest.
    pub(crate) digests: BTreeMap<Reference, ImageId>,
    /// By diff id. A layer without an image is kept because a container stands on it.
    pub(crate) layers: BTreeMap<Digest, LayerRecord>,
}

/// What the store knows of an image besides its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Diff ids, base first.
    pub(crate) layers: Vec<Digest>,
    /// Manifests that the image came with; their blobs are kept.
    pub(crate) manifests: BTreeSet<Digest>,
    /// When it came.
    pub(crate) added_unix_nanos: i64,
}

/// One unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// Sum of the sizes of its files.
    pub(crate) size_bytes: u64,
    /// Files, folders, links, whiteouts.
    pub(crate) entries: u64,
    /// Its top folder hides all layers below. Overlayfs has no mark for that, so such a layer is
    /// used as the lowest.
    #[serde(default)]
    pub(crate) opaque: bool,
    /// Bytes of its tar; 0: not known.
    #[serde(default)]
    pub(crate) tar_bytes: u64,
    /// Size of the recipe by which its tar is made again, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipe_bytes: Option<u64>,
    /// Its archive in the forms that are known: compressed, or as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) blobs: Vec<BlobRecord>,
}

/// A layer's archive as registries and layouts have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    pub(crate) digest: Digest,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) media_type: String,
    /// Its bytes are in `blobs`.
    #[serde(default)]
    pub(crate) kept: bool,
    /// It was compressed here, and can be again.
    #[serde(default)]
    pub(crate) made: bool,
    /// Repositories (`docker.io/library/busybox`) that have or had it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) sources: BTreeSet<String>,
}

impl LayerRecord {
    /// The blobs whose bytes are in the store.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &BlobRecord> {
        self.blobs.iter().filter(|blob| blob.kept)
    }

    /// What it takes on the disk: its files and its archives.
    pub(crate) fn bytes(&self) -> u64 {
        let recipe = self.recipe_bytes.unwrap_or_default();
        self.size_bytes + recipe + self.kept().map(|blob| blob.size).sum::<u64>()
    }

    /// Whether its tar can be given back: not if a program for format 1 made it.
    pub(crate) fn is_whole(&self) -> bool {
        self.recipe_bytes.is_some() || self.kept().next().is_some()
    }

    /// Takes over what gives the layer back from another record of it.
    pub(crate) fn complete(&mut self, other: &Self) {
        self.tar_bytes = other.tar_bytes;
        self.recipe_bytes = self.recipe_bytes.or(other.recipe_bytes);
        other.blobs.iter().for_each(|blob| self.learn(blob));
    }

    /// Remembers a blob, or more of one that is known.
    pub(crate) fn learn(&mut self, blob: &BlobRecord) {
        match self.blobs.iter_mut().find(|known| known.digest == blob.digest) {
            Some(known) => {
                known.kept |= blob.kept;
                known.made |= blob.made;
                known.sources.extend(blob.sources.iter().cloned());
            }
            None => self.blobs.push(blob.clone()),
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            format: FORMAT,
            images: BTreeMap::new(),
            references: BTreeMap::new(),
            digests: BTreeMap::new(),
            layers: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Reads the file of the store at `root`; a new store has none.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let path = root.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        let what = || format!("`{}`", path.display());
        let header: Header = serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt(what(), error.to_string()))?;
        if !(OLDEST..=FORMAT).contains(&header.format) {
            let why = format!("it has format {}, this program reads {FORMAT}", header.format);
            return Err(Error::Unsupported { what: what(), why });
        }
        let index: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt(what(), error.to_string()))?;
        Ok(Self { format: FORMAT, ..index })
    }

    /// Replaces the file: after a crash at any point there is the old one or the new one.
    pub(crate) fn write(&self, root: &Path, tmp: &Path) -> Result<()> {
        let path = root.join(FILE);
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::corrupt(format!("`{}`", path.display()), error.to_string()))?;
        let temporary = tmp.join(FILE);
        let mut file = File::create(&temporary).context("create", &temporary)?;
        file.write_all(&bytes).context("write", &temporary)?;
        file.sync_all().context("write", &temporary)?;
        fs::rename(&temporary, &path).context("replace", &path)?;
        sync_folder(root)
    }

    /// References with a tag to this image.
    pub(crate) fn tags_of(&self, id: &ImageId) -> Vec<Reference> {
        names_of(&self.references, id)
    }

    /// References with a digest to this image.
    pub(crate) fn digests_of(&self, id: &ImageId) -> Vec<Reference> {
        names_of(&self.digests, id)
    }

    /// Whether an image contains this layer.
    pub(crate) fn is_used(&self, layer: &Digest) -> bool {
        self.images.values().any(|image| image.layers.contains(layer))
    }

    /// The layers that show, base first: those from the last opaque one up.
    pub(crate) fn visible<'a>(&self, layers: &'a [Digest]) -> &'a [Digest] {
        let opaque = |id: &Digest| self.layers.get(id).is_some_and(|layer| layer.opaque);
        &layers[layers.iter().rposition(opaque).unwrap_or(0)..]
    }

    /// Sum over the image's layers.
    pub(crate) fn size_of(&self, image: &ImageRecord) -> u64 {
        image.layers.iter().filter_map(|id| self.layers.get(id)).map(|layer| layer.size_bytes).sum()
    }
}

fn names_of(names: &BTreeMap<Reference, ImageId>, id: &ImageId) -> Vec<Reference> {
    names.iter().filter(|(_, image)| *image == id).map(|(name, _)| name.clone()).collect()
}

/// Makes renames in a folder survive a crash.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).context("sync", path)
}
