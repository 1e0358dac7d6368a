//! Archives in: the faces of `load` and `import`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use crate::archive::{self, ArchiveImage, ArchiveLayer};
use crate::compression::{self, Compression};
use crate::digest::{Digest, Hasher, ImageId};
use crate::error::{Context as _, Error, Result};
use crate::import::{self, ImportOptions};
use crate::platform::Platform;
use crate::unpack;

use super::query::familiar;
use super::staging::Keep;
use super::{NewImage, StagedLayer, Store};

/// What a load is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Bytes of the archive arrive; they are counted as they came, compressed or not.
    Receiving,
    /// A layer is unpacked; its bytes are counted uncompressed.
    Unpacking,
    /// A layer was there already, or is complete.
    LayerDone,
    /// Everything is unpacked and is being written out to the disk.
    Syncing,
}

/// A step of a load or import. At most one for each mebibyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// The layer's diff id, once it is known.
    pub layer: Option<Digest>,
    /// Bytes so far, in this phase of this layer.
    pub bytes: u64,
}

/// An image that a load brought, or found present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// The digest of the configuration.
    pub id: ImageId,
    /// The names that the archive gave it, in familiar form; it may have others from before.
    pub tags: Vec<String>,
}

impl Store {
    /// Loads the images of an archive: an OCI layout or a docker-archive, as a tar, plain or compressed
    /// with gzip, zstd, bzip2 or xz. Either all its images for this platform become visible or none.
    ///
    /// The archive is read once, front to back, and spooled into the store's temporary area: it may be
    /// larger than the memory.
    ///
    /// # Errors
    /// [`Error::Read`] when `archive` fails; [`Error::Corrupt`], [`Error::TooLarge`],
    /// [`Error::Unsupported`] and [`Error::NoPlatform`] for what it contains; [`Error::NoSpace`] and
    /// [`Error::Io`] for the disk.
    pub fn load(
        &self,
        archive: impl Read + Send,
        progress: impl FnMut(Progress),
    ) -> Result<Vec<LoadedImage>> {
        self.load_for(None, archive, progress)
    }

    /// As [`Store::load`], of another platform than this machine's. An image that is not there for it
    /// is an error.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn load_for(
        &self,
        wanted: Option<&Platform>,
        archive: impl Read + Send,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<LoadedImage>> {
        let work = self.work_folder("load")?;
        let folder = work.path();
        let images = archive::receive(archive, folder, wanted, &self.options, &mut progress)?;
        let layers = images.iter().flat_map(|image| &image.layers);
        let claim = self.claim(layers.clone().map(|layer| layer.diff_id));
        let mut staged = BTreeMap::new();
        let mut reported = BTreeSet::new();
        for layer in layers {
            if claim.missing.contains(&layer.diff_id) && !staged.contains_key(&layer.diff_id) {
                let unpacked = self.unpack_spooled(layer, &mut progress)?;
                staged.insert(layer.diff_id, unpacked);
            }
            if reported.insert(layer.diff_id) {
                let layer = Some(layer.diff_id);
                progress(Progress { phase: Phase::LayerDone, layer, bytes: 0 });
            }
        }
        // The rest of the spooled blobs, for the same reason.
        drop(work);
        progress(Progress { phase: Phase::Syncing, layer: None, bytes: 0 });
        let images: Vec<NewImage> = images.into_iter().map(ArchiveImage::into_new).collect();
        self.publish(&claim, staged, &images)?;
        let loaded = |image: &NewImage| LoadedImage { id: image.id, tags: familiar(&image.tags) };
        Ok(images.iter().map(loaded).collect())
    }

    /// Makes an image of one layer from a root file system: a tar, plain or compressed as
    /// for [`Store::load`].
    ///
    /// # Errors
    /// As [`Store::load`]; [`Error::InvalidReference`] and [`Error::InvalidChange`].
    pub fn import(
        &self,
        archive: impl Read + Send,
        options: &ImportOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<LoadedImage> {
        let plan = import::Plan::new(options, &self.options.platform)?;
        let (diff_id, layer) = self.stage("the root file system", |folder, limits| {
            let input = compression::open(archive, folder.what)?;
            let mut report =
                |bytes| progress(Progress { phase: Phase::Unpacking, layer: None, bytes });
            unpack::unpack(input, folder, limits, &mut report)
        })?;
        let image = plan.finish(diff_id)?;
        let claim = self.claim([diff_id]);
        let mut staged = BTreeMap::new();
        if claim.missing.contains(&diff_id) {
            staged.insert(diff_id, layer);
        }
        progress(Progress { phase: Phase::Syncing, layer: Some(diff_id), bytes: 0 });
        self.publish(&claim, staged, std::slice::from_ref(&image))?;
        Ok(LoadedImage { id: image.id, tags: familiar(&image.tags) })
    }

    fn unpack_spooled(
        &self,
        layer: &ArchiveLayer,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<StagedLayer> {
        let what = format!("layer {}", layer.diff_id);
        let mut staging = self.staging(&what)?;
        let mut file = File::open(&layer.blob).context("open", &layer.blob)?;
        let (compression, magic) = compression::peek(&mut file, &what)?;
        let hasher = (compression != Compression::Plain).then(Hasher::default);
        let mut blob = Blob { file: magic.chain(file), hasher };
        // What no manifest has a word for goes out as a plain layer.
        let keep = if compression.media_type().is_some() { Keep::Blob } else { Keep::Recipe };
        let mut report = |bytes| {
            let layer = Some(layer.diff_id);
            progress(Progress { phase: Phase::Unpacking, layer, bytes });
        };
        let limits = &self.options.limits;
        let diff_id = staging.fill(keep, |target| {
            let input = compression::open(&mut blob, &what)?;
            unpack::unpack(input, target, limits, &mut report)
        })?;
        let digest = blob.digest().context("read", &layer.blob)?.unwrap_or(diff_id);
        if let Some(named) = layer.named {
            archive::check_blob(named, digest)?;
        }
        if diff_id != layer.diff_id {
            return Err(Error::corrupt(what, format!("its content has the digest {diff_id}")));
        }
        match compression.media_type() {
            Some(media_type) => staging.keep(&layer.blob, digest, media_type)?,
            // Before it is written out: what is gone needs no disk.
            None => std::fs::remove_file(&layer.blob).context("remove", &layer.blob)?,
        }
        staging.finish()
    }
}

/// A spooled layer that is hashed while it is read. One that is plain is not: its digest is that of what
/// is unpacked.
struct Blob<R> {
    file: R,
    hasher: Option<Hasher>,
}

impl<R: Read> Blob<R> {
    /// Of all of it: a decoder stops where its data ends.
    fn digest(mut self) -> io::Result<Option<Digest>> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.map(Hasher::finish))
    }
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..n]);
        }
        Ok(n)
    }
}
