//! Images on their way out: what `push` and `save` have to choose from. Dropping an [`Outgoing`]
//! lets its layers go again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ConfigFile;
use crate::digest::{Digest, Hasher, ImageId};
use crate::error::{Context as _, Error, Result};
use crate::manifest::{self, Document, OCI_MANIFEST};
use crate::packing::{OCI_TAR, Packing};
use crate::platform::Platform;
use crate::reference::Reference;

use super::content::pass_on;
use super::find::{Found, find_as, record};
use super::index::BlobRecord;
use super::publish::Claim;
use super::{RemoteBlob, Store, WorkFolder};

/// Image-spec, manifest.md.
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image that stays while this value lives.
#[derive(Debug)]
pub struct Outgoing {
    store: Arc<Store>,
    _pin: Claim<Arc<Store>>,
    /// The digest of the configuration.
    pub id: ImageId,
    /// The configuration, byte for byte.
    pub config: Vec<u8>,
    /// What it runs on.
    pub platform: Platform,
    /// Base first; a layer may occur twice.
    pub layers: Vec<OutgoingLayer>,
    /// The manifests that the image came with or was pushed with, and that fit its layers.
    pub manifests: Vec<Manifest>,
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct OutgoingLayer {
    /// Of its tar.
    pub diff_id: Digest,
    /// Bytes of its tar; 0: not known.
    pub tar_bytes: u64,
    /// It can be made: its tar can be given back.
    pub whole: bool,
    /// Its archives.
    blobs: Vec<BlobRecord>,
}

/// An image manifest, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of the bytes.
    pub digest: Digest,
    /// What it calls itself.
    pub media_type: String,
    /// As it is.
    pub bytes: Vec<u8>,
    /// The image's layers as it has them.
    pub layers: Vec<RemoteBlob>,
}

/// An archive of a layer as a file. One that was made for this goes with the value.
#[derive(Debug)]
pub struct LayerFile {
    path: PathBuf,
    _folder: Option<WorkFolder>,
}

impl LayerFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl OutgoingLayer {
    /// Whether the store can give these bytes.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        let ours = |blob: &BlobRecord| blob.digest == *digest && (blob.kept || blob.made);
        (self.whole && *digest == self.diff_id) || self.blobs.iter().any(ours)
    }

    /// Repositories (`docker.io/library/busybox`) that have, or had, this archive.
    #[must_use]
    pub fn sources(&self, digest: &Digest) -> Vec<String> {
        let blob = self.blobs.iter().find(|blob| blob.digest == *digest);
        blob.map(|blob| blob.sources.iter().cloned().collect()).unwrap_or_default()
    }

    /// The archive that the store keeps, else the one that it made before.
    #[must_use]
    pub fn packed(&self) -> Option<RemoteBlob> {
        let kept = self.blobs.iter().find(|blob| blob.kept);
        kept.or_else(|| self.blobs.iter().find(|blob| blob.made)).map(BlobRecord::remote)
    }

    /// The archive that the store keeps, else the tar as it is.
    #[must_use]
    pub(super) fn at_hand(&self) -> RemoteBlob {
        let kept = self.blobs.iter().find(|blob| blob.kept).map(BlobRecord::remote);
        kept.unwrap_or_else(|| self.plain())
    }

    /// The tar as it is.
    pub(super) fn plain(&self) -> RemoteBlob {
        let (digest, size, media_type) = (self.diff_id, self.tar_bytes, OCI_TAR.to_owned());
        RemoteBlob { digest, size, media_type }
    }

    /// Whether the bytes are there without compressing anything.
    pub(super) fn is_at_hand(&self, digest: &Digest) -> bool {
        let kept = |blob: &BlobRecord| blob.digest == *digest && blob.kept;
        (self.whole && *digest == self.diff_id) || self.blobs.iter().any(kept)
    }
}

impl BlobRecord {
    fn remote(&self) -> RemoteBlob {
        let Self { digest, size, media_type, .. } = self.clone();
        RemoteBlob { digest, size, media_type }
    }
}

impl Store {
    /// An image that is to leave the store. `name` as in [`Store::resolve`].
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub fn outgoing(self: &Arc<Self>, name: &str) -> Result<Outgoing> {
        let (id, record, pin) = {
            let mut state = self.state.lock();
            let (Found::Name(_, id) | Found::Id(id)) = find_as(&state.index, name)?;
            let record = record(&state.index, id)?.clone();
            let pin = Claim::pin(&mut state, Arc::clone(self), record.layers.iter().copied());
            (id, record, pin)
        };
        let (config, bytes) = self.read_config(id)?;
        let layers = self.outgoing_layers(&record.layers)?;
        let manifests = record.manifests.iter().filter_map(|digest| {
            let bytes = std::fs::read(self.paths.blob(digest)).ok()?;
            (Digest::of(&bytes) == *digest).then_some(())?;
            manifest(*digest, bytes, id).filter(|manifest| manifest.layers.len() == layers.len())
        });
        Ok(Outgoing {
            store: Arc::clone(self),
            manifests: manifests.collect(),
            _pin: pin,
            id,
            config: bytes,
            platform: config.platform(),
            layers,
        })
    }

    /// An image that the store does not have, of layers that it has.
    pub(super) fn outgoing_new(self: &Arc<Self>, config_json: Vec<u8>) -> Result<Outgoing> {
        let config = ConfigFile::parse(&config_json, "the new configuration")?;
        let diff_ids = &config.rootfs.diff_ids;
        let pin = Claim::pin(&mut self.state.lock(), Arc::clone(self), diff_ids.iter().copied());
        Ok(Outgoing {
            store: Arc::clone(self),
            _pin: pin,
            id: ImageId(Digest::of(&config_json)),
            platform: config.platform(),
            layers: self.outgoing_layers(diff_ids)?,
            config: config_json,
            manifests: Vec::new(),
        })
    }

    fn outgoing_layers(&self, diff_ids: &[Digest]) -> Result<Vec<OutgoingLayer>> {
        let layer = |diff_id: &Digest| {
            let record = self.layer_record(diff_id)?;
            let (whole, tar_bytes) = (record.is_whole(), record.tar_bytes);
            Ok(OutgoingLayer { diff_id: *diff_id, tar_bytes, whole, blobs: record.blobs })
        };
        diff_ids.iter().map(layer).collect()
    }

    /// The image of a name as in [`Store::resolve`], and the name, unless it is an id.
    pub(super) fn find_name(&self, name: &str) -> Result<(ImageId, Option<Reference>)> {
        Ok(match find_as(&self.state.lock().index, name)? {
            Found::Name(reference, id) => (id, Some(reference)),
            Found::Id(id) => (id, None),
        })
    }

    /// All tags of a repository, with the images that they name. Empty: there are none.
    #[must_use]
    pub fn tags_of_repository(&self, repository: &Reference) -> Vec<(Reference, ImageId)> {
        let state = self.state.lock();
        let names = state.index.references.iter();
        let of_it = names.filter(|(name, _)| name.repository() == repository.repository());
        of_it.map(|(name, id)| (name.clone(), *id)).collect()
    }
}

/// The manifest in these bytes, if it is one and of this image.
fn manifest(digest: Digest, bytes: Vec<u8>, id: ImageId) -> Option<Manifest> {
    let document = Document::parse(&bytes, "manifest").ok()?;
    let Document::Manifest { config, layers } = document else { return None };
    let blob = |layer: &crate::manifest::Descriptor| RemoteBlob {
        digest: layer.digest,
        size: layer.size,
        media_type: layer.media_type.clone(),
    };
    let layers = layers.iter().map(blob).collect();
    let media_type = manifest::media_type(&bytes);
    (config.digest == id.0).then_some(Manifest { digest, media_type, bytes, layers })
}

impl Outgoing {
    /// Fails when there is a layer that cannot be given back.
    ///
    /// # Errors
    /// [`Error::NotGivenBack`] names it.
    pub fn check_whole(&self) -> Result<()> {
        match self.layers.iter().find(|layer| !layer.whole) {
            Some(layer) => Err(Error::NotGivenBack { layer: layer.diff_id }),
            None => Ok(()),
        }
    }

    /// A manifest of this configuration and these archives, one for each layer. The same give the
    /// same bytes.
    ///
    /// # Errors
    /// Never in fact: it can be written as JSON.
    pub fn manifest(&self, layers: Vec<RemoteBlob>) -> Result<Manifest> {
        let descriptor = |blob: &RemoteBlob| {
            serde_json::json!({
                "mediaType": blob.media_type, "digest": blob.digest, "size": blob.size,
            })
        };
        let config = RemoteBlob {
            digest: self.id.0,
            size: self.config.len() as u64,
            media_type: OCI_CONFIG.to_owned(),
        };
        let bytes = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(&config),
            "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
        }))
        .map_err(|error| Error::corrupt("the new manifest", error.to_string()))?;
        let (digest, media_type) = (Digest::of(&bytes), OCI_MANIFEST.to_owned());
        Ok(Manifest { digest, media_type, bytes, layers })
    }

    /// Compresses a layer with gzip. The same layer gives the same bytes. The store remembers what
    /// came out, and not the bytes.
    ///
    /// # Errors
    /// As [`Store::layer_tar`], and [`Error::NoSpace`].
    pub fn compress(&self, diff_id: &Digest) -> Result<(RemoteBlob, LayerFile)> {
        let (blob, file) = self.pack(diff_id, Packing::PUSHED)?;
        self.learn(diff_id, &blob, true, None)?;
        Ok((blob, file))
    }

    /// Writes a layer as a file. The same layer gives the same bytes.
    pub(super) fn pack(
        &self,
        diff_id: &Digest,
        packing: Packing,
    ) -> Result<(RemoteBlob, LayerFile)> {
        let (folder, path, mut file) = self.scratch()?;
        let mut hasher = Hasher::default();
        let mut size = 0;
        {
            let counted = Counted { file: &mut file, hasher: &mut hasher, size: &mut size };
            let mut packer = packing.into(counted).context("write", &path)?;
            pass_on(self.store.layer_tar(diff_id)?, &path, |bytes| {
                packer.write_all(bytes).context("write", &path)
            })?;
            packer.finish().context("write", &path)?;
        }
        let (digest, media_type) = (hasher.finish(), packing.media_type().to_owned());
        let blob = RemoteBlob { digest, size, media_type };
        Ok((blob, LayerFile { path, _folder: Some(folder) }))
    }

    /// The archive of a layer that has this digest, as a file.
    ///
    /// # Errors
    /// [`Error::NotGivenBack`] when the store cannot give it; as [`Outgoing::compress`].
    pub fn file(&self, diff_id: &Digest, digest: &Digest) -> Result<LayerFile> {
        let record = self.store.layer_record(diff_id)?;
        if record.kept().any(|blob| blob.digest == *digest) {
            return Ok(LayerFile { path: self.store.paths.blob(digest), _folder: None });
        }
        if digest == diff_id {
            return Ok(self.pack(diff_id, Packing::Plain)?.1);
        }
        let (made, file) = self.compress(diff_id)?;
        if made.digest == *digest {
            return Ok(file);
        }
        Err(Error::NotGivenBack { layer: *diff_id })
    }

    /// Remembers an archive of a layer, and a repository that has it.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::Io`].
    pub fn learn(
        &self,
        diff_id: &Digest,
        blob: &RemoteBlob,
        made: bool,
        source: Option<&Reference>,
    ) -> Result<()> {
        let RemoteBlob { digest, size, media_type } = blob.clone();
        let sources: BTreeSet<String> = source.iter().map(|source| source.repository()).collect();
        let mut state = self.store.state.lock();
        let mut index = state.index.clone();
        if let Some(layer) = index.layers.get_mut(diff_id) {
            // Another version of the compressor has made another.
            if made {
                layer.blobs.retain(|known| !known.made || known.kept || known.digest == digest);
            }
            layer.learn(&BlobRecord { digest, size, media_type, kept: false, made, sources });
        }
        self.store.replace_index(&mut state, index)
    }

    /// Remembers the manifest under which the image is known in a registry.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and [`Error::Io`].
    pub fn pushed(&self, reference: &Reference, manifest: &Manifest) -> Result<()> {
        let work = self.store.work_folder("manifest")?;
        let path = work.path().join(manifest.digest.hex());
        let mut file = File::create_new(&path).context("create", &path)?;
        file.write_all(&manifest.bytes).context("write", &path)?;
        file.sync_all().context("write", &path)?;
        let mut state = self.store.state.lock();
        let mut index = state.index.clone();
        // Removed meanwhile: then there is nothing to remember it for.
        let Some(record) = index.images.get_mut(&self.id) else { return Ok(()) };
        let target = self.store.paths.blob(&manifest.digest);
        std::fs::rename(&path, &target).context("create", &target)?;
        super::index::sync_folder(&self.store.paths.blobs())?;
        record.manifests.insert(manifest.digest);
        index.digests.insert(reference.at(manifest.digest), self.id);
        self.store.replace_index(&mut state, index)
    }

    fn scratch(&self) -> Result<(WorkFolder, PathBuf, File)> {
        let folder = self.store.work_folder("archive")?;
        let path = folder.path().join("layer");
        let file = File::create_new(&path).context("create", &path)?;
        Ok((folder, path, file))
    }
}

/// A file whose content is hashed and counted as it is written.
struct Counted<'a> {
    file: &'a mut File,
    hasher: &'a mut Hasher,
    size: &'a mut u64,
}

impl std::io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        *self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
