//! Images that come in parts: the face of `pull`.
//!
//! The caller has the documents of an image, and brings the layers that [`Receipt::missing`] names,
//! several at once if it likes. Nothing is visible before [`Receipt::publish`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::compression::{self, Compression};
use crate::config::ConfigFile;
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::unpack::{self, Target};

use super::index::BlobRecord;
use super::publish::{Claim, NewImage, Origin};
use super::query::familiar;
use super::staging::Keep;
use super::{LayerRecord, LoadedImage, StagedLayer, Store};

/// An image as its registry describes it. The digests of the documents are computed here.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    /// What was asked for, with a tag or a digest.
    pub reference: Reference,
    /// The index that the manifest was chosen from.
    pub index: Option<Vec<u8>>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The configuration.
    pub config: Vec<u8>,
    /// What the manifest says of the layers, base first.
    pub layers: Vec<RemoteBlob>,
}

/// A layer's archive in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteBlob {
    /// Of the bytes as they are.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// As the manifest has it.
    pub media_type: String,
}

/// An image on its way in. Dropping it gives everything up.
#[derive(Debug)]
pub struct Receipt {
    store: Arc<Store>,
    claim: Claim<Arc<Store>>,
    image: NewImage,
    /// Each layer once, base first.
    layers: Vec<(Digest, RemoteBlob)>,
    staged: Mutex<BTreeMap<Digest, StagedLayer>>,
}

impl Store {
    /// The image of this name (with a tag or a digest), if it is the one that has this digest in its
    /// registry, and each of its layers can be given back.
    #[must_use]
    pub fn is_current(&self, reference: &Reference, digest: Digest) -> Option<ImageId> {
        let state = self.state.lock();
        let id = *state.index.digests.get(&reference.at(digest))?;
        let named = match reference.digest() {
            Some(_) => true,
            None => state.index.references.get(reference) == Some(&id),
        };
        let layers = &state.index.images.get(&id)?.layers;
        let whole = |layer| state.index.layers.get(layer).is_some_and(LayerRecord::is_whole);
        (named && layers.iter().all(whole)).then_some(id)
    }

    /// Begins to receive an image. Waits while another pull or load brings layers of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Unsupported`] for a configuration that does not fit.
    pub fn receive(self: &Arc<Self>, image: RemoteImage) -> Result<Receipt> {
        let id = ImageId(Digest::of(&image.config));
        let config = ConfigFile::parse(&image.config, &format!("configuration {id}"))?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != image.layers.len() {
            let (named, given) = (diff_ids.len(), image.layers.len());
            let why = format!("its configuration names {named} layers, its manifest {given}");
            return Err(Error::corrupt(format!("image {id}"), why));
        }
        let mut layers: Vec<(Digest, RemoteBlob)> = Vec::new();
        for (diff_id, blob) in diff_ids.iter().zip(&image.layers) {
            if !layers.iter().any(|(known, _)| known == diff_id) {
                layers.push((*diff_id, blob.clone()));
            }
        }
        let source = image.reference.repository();
        let record = |(diff_id, blob): &(Digest, RemoteBlob)| {
            let RemoteBlob { digest, size, media_type } = blob.clone();
            let sources = [source.clone()].into();
            (*diff_id, BlobRecord { digest, size, media_type, kept: false, made: false, sources })
        };
        let document = |bytes: Vec<u8>| (Digest::of(&bytes), bytes);
        let (manifest, index) = (document(image.manifest), image.index.map(document));
        let named = index.as_ref().map_or(manifest.0, |(digest, _)| *digest);
        let origin = Origin {
            digests: vec![image.reference.at(named)],
            blobs: layers.iter().map(record).collect(),
            index,
        };
        let tagged = image.reference.digest().is_none();
        let image = NewImage {
            id,
            config,
            config_json: image.config,
            manifest: Some(manifest),
            tags: tagged.then_some(image.reference).into_iter().collect(),
            parent: None,
            origin: Some(origin),
        };
        let claim = Claim::new(Arc::clone(self), layers.iter().map(|(diff_id, _)| *diff_id));
        Ok(Receipt { store: Arc::clone(self), claim, image, layers, staged: Mutex::default() })
    }
}

impl Receipt {
    /// The digest of the configuration.
    #[must_use]
    pub fn id(&self) -> ImageId {
        self.image.id
    }

    /// Diff ids and archives of all layers, each once, base first.
    #[must_use]
    pub fn layers(&self) -> &[(Digest, RemoteBlob)] {
        &self.layers
    }

    /// Whether the caller has to bring this layer.
    #[must_use]
    pub fn is_missing(&self, diff_id: &Digest) -> bool {
        self.claim.missing.contains(diff_id)
    }

    /// Unpacks a missing layer while it comes, and keeps its archive if it is compressed. That the bytes have the
    /// digest of their descriptor is for the caller to know: until it does, it does not let
    /// `archive` end, or makes it fail.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn unpack(&self, diff_id: &Digest, archive: impl Read + Send) -> Result<()> {
        let what = format!("layer {diff_id}");
        let Some((_, blob)) = self.layers.iter().find(|(layer, _)| layer == diff_id) else {
            return Err(Error::corrupt(what, "the image does not have it"));
        };
        let mut staging = self.store.staging(&what)?;
        let (mut archive, limits) = (archive, &self.store.options.limits);
        let (compression, magic) = compression::peek(&mut archive, &what)?;
        let whole = magic.chain(archive);
        let unpack = |input: Box<dyn Read + Send + '_>, target: &Target<'_>| {
            let input = compression::open(input, &what)?;
            unpack::unpack(input, target, limits, &mut |_| {})
        };
        let diff = if compression == Compression::Plain {
            staging.fill(Keep::Recipe, |target| unpack(Box::new(whole), target))?
        } else {
            let mut archive = Archive::new(whole, staging.blob());
            let diff = staging.fill(Keep::Blob, |target| unpack(Box::new(&mut archive), target));
            let diff = archive.end(diff, &what)?;
            staging.keep(&archive.path, blob.digest, &blob.media_type)?;
            diff
        };
        if diff != *diff_id {
            return Err(Error::corrupt(what, format!("its content has the digest {diff}")));
        }
        let staged = staging.finish()?;
        self.staged.lock().insert(*diff_id, staged);
        Ok(())
    }

    /// Makes the image visible.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a layer was not brought; [`Error::NoSpace`] and [`Error::Io`].
    pub fn publish(&self) -> Result<LoadedImage> {
        let staged = std::mem::take(&mut *self.staged.lock());
        self.store.publish(&self.claim, staged, std::slice::from_ref(&self.image))?;
        Ok(LoadedImage { id: self.image.id, tags: familiar(&self.image.tags) })
    }
}

/// A stream that is written to a file while it is read.
struct Archive<R> {
    source: R,
    path: PathBuf,
    file: Option<File>,
    failure: Option<Error>,
}

impl<R: Read> Archive<R> {
    fn new(source: R, path: PathBuf) -> Self {
        Self { source, path, file: None, failure: None }
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create_new(&self.path)?),
        };
        file.write_all(bytes)
    }

    /// Reads on to the end: a decoder stops where its data ends.
    fn end<T>(&mut self, result: Result<T>, what: &str) -> Result<T> {
        let result = result.and_then(|value| {
            io::copy(self, &mut io::sink())
                .map_err(|error| crate::tarball::read_error(error, what))?;
            Ok(value)
        });
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => result,
        }
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        if let Err(error) = self.keep(&buffer[..n]) {
            let words = io::Error::new(error.kind(), error.to_string());
            self.failure = Some(Error::io("write", &self.path, error));
            return Err(words);
        }
        Ok(n)
    }
}
