//! Layers given back: the exact tar, and the compressed archives.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::compression;
use crate::digest::{Digest, Hasher};
use crate::error::{Context as _, Error, Result};
use crate::recipe::Replay;

use super::{LayerRecord, Store};

impl Store {
    /// The tar of a layer, uncompressed, byte for byte as its diff id says. Reading ends with an
    /// error when that is not so. Keep the layer from being removed meanwhile: its image must stay.
    ///
    /// # Errors
    /// [`Error::NotGivenBack`] for a layer of an old store; [`Error::NotFound`];
    /// [`Error::Corrupt`] and [`Error::Io`] when its files are damaged.
    pub fn layer_tar(&self, diff_id: &Digest) -> Result<Box<dyn Read + Send>> {
        let record = self.layer_record(diff_id)?;
        if record.recipe_bytes.is_some() {
            let (recipe, folder) = (self.paths.recipe(diff_id), self.paths.layer(diff_id));
            return Ok(Box::new(Replay::open(&recipe, &folder, *diff_id)?));
        }
        let Some(blob) = record.kept().next() else {
            return Err(Error::NotGivenBack { layer: *diff_id });
        };
        let what = format!("layer {diff_id}");
        let path = self.paths.blob(&blob.digest);
        let file = File::open(&path).context("open", &path)?;
        let tar = compression::open(file, &what)?;
        Ok(Box::new(Verified::new(tar, *diff_id, what)))
    }

    /// A blob of the store, verified while it is read.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<impl Read + Send + use<>> {
        let path = self.paths.blob(digest);
        let file = File::open(&path).context("open", &path)?;
        Ok(Verified::new(file, *digest, format!("blob {digest}")))
    }

    pub(crate) fn layer_record(&self, diff_id: &Digest) -> Result<LayerRecord> {
        let state = self.state.lock();
        let record = state.index.layers.get(diff_id).cloned();
        record.ok_or_else(|| Error::NotFound { name: format!("layer {diff_id}") })
    }
}

/// A stream that ends only if all of it has the right digest.
struct Verified<R> {
    source: R,
    hasher: Option<Hasher>,
    digest: Digest,
    what: String,
}

impl<R> Verified<R> {
    fn new(source: R, digest: Digest, what: String) -> Self {
        Self { source, hasher: Some(Hasher::default()), digest, what }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        if n > 0 {
            self.hasher.iter_mut().for_each(|hasher| hasher.update(&buffer[..n]));
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
        {
            let is = hasher.finish();
            if is != self.digest {
                let why = format!("its content has the digest {is}");
                return Err(io::Error::other(Error::corrupt(&self.what, why)));
            }
        }
        Ok(n)
    }
}

/// Reads to the end of what the store gives back, handing on each part. An error of the reader
/// keeps its meaning; `path` is for those that have none.
pub(super) fn pass_on(
    mut from: impl Read,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(own(error, path)),
        }
    }
}

/// What a reader of this module failed of.
pub(super) fn own(error: io::Error, path: &Path) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("read", path, error),
    }
}
