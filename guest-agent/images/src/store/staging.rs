//! Layers on their way in: unpacked in the temporary area, with what gives them back later.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Context as _, Error, Result};
use crate::recipe::{self, Writer};
use crate::unpack::{Limits, Target, Unpacked};

use super::{BlobRecord, LayerRecord, Store, WorkFolder};

/// Where the layer's files are. Beside it lies what was overwritten while unpacking.
const ROOT: &str = "root";
const TRASH: &str = "trash";
/// Its archive, compressed as it came.
const BLOB: &str = "blob";

/// How its tar is made again.
const RECIPE: &str = "recipe";

/// What will give the layer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// A recipe, which is written while it is unpacked.
    Recipe,
    /// Its archive, for which the caller sees to it that it is kept ([`Staging::keep`]).
    Blob,
}

/// A layer that is being unpacked. Its folder goes with it.
pub(crate) struct Staging {
    what: String,
    folder: WorkFolder,
    record: Option<LayerRecord>,
}

/// A layer that is complete and verified, in the temporary area.
#[derive(Debug)]
pub(crate) struct StagedLayer {
    folder: WorkFolder,
    pub(crate) record: LayerRecord,
}

impl StagedLayer {
    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join(ROOT)
    }

    pub(super) fn blob(&self) -> PathBuf {
        self.folder.path().join(BLOB)
    }

    pub(super) fn recipe(&self) -> PathBuf {
        self.folder.path().join(RECIPE)
    }
}

impl Store {
    /// A new place for a layer. `what` names it in errors.
    pub(super) fn staging(&self, what: &str) -> Result<Staging> {
        let folder = self.work_folder("layer")?;
        for name in [ROOT, TRASH] {
            let path = folder.path().join(name);
            fs::create_dir(&path).context("create", &path)?;
        }
        Ok(Staging { what: what.to_owned(), folder, record: None })
    }

    /// Unpacks into a new folder of the temporary area, which goes if that fails. The layer is given
    /// back by a recipe.
    pub(super) fn stage(
        &self,
        what: &str,
        unpack: impl FnOnce(&Target<'_>, &Limits) -> Result<Unpacked>,
    ) -> Result<(Digest, StagedLayer)> {
        let mut staging = self.staging(what)?;
        let diff_id = staging.fill(Keep::Recipe, |target| unpack(target, &self.options.limits))?;
        Ok((diff_id, staging.finish()?))
    }
}

impl Staging {
    /// Where the layer's blob is to be written while it is unpacked.
    pub(super) fn blob(&self) -> PathBuf {
        self.folder.path().join(BLOB)
    }

    /// Unpacks; gives the diff id.
    pub(super) fn fill(
        &mut self,
        keep: Keep,
        unpack: impl FnOnce(&Target<'_>) -> Result<Unpacked>,
    ) -> Result<Digest> {
        let at = |name| self.folder.path().join(name);
        let (root, trash, path) = (at(ROOT), at(TRASH), at(RECIPE));
        let writer = match keep {
            Keep::Recipe => Some(RefCell::new(Writer::create(&path)?)),
            Keep::Blob => None,
        };
        let target =
            Target { what: &self.what, root: &root, trash: &trash, recipe: writer.as_ref() };
        let unpacked = unpack(&target)?;
        let recipe_bytes = match writer {
            Some(writer) => Some(complete(writer.into_inner(), &path, &root, &trash)?),
            None => None,
        };
        self.record = Some(LayerRecord {
            size_bytes: unpacked.size_bytes,
            entries: unpacked.entries,
            opaque: unpacked.opaque,
            tar_bytes: unpacked.tar_bytes,
            recipe_bytes,
            blobs: Vec::new(),
        });
        // Nobody needs it any more, and the disk may.
        fs::remove_dir_all(&trash).context("remove", &trash)?;
        Ok(unpacked.diff_id)
    }

    /// Keeps the compressed archive that lies at `path`, verified, in the temporary area.
    pub(super) fn keep(&mut self, path: &Path, digest: Digest, media_type: &str) -> Result<()> {
        let size = fs::metadata(path).context("look at", path)?.len();
        if path != self.blob() {
            fs::rename(path, self.blob()).context("move", path)?;
        }
        let media_type = media_type.to_owned();
        let sources = BTreeSet::new();
        let blob = BlobRecord { digest, size, media_type, kept: true, made: false, sources };
        self.record.iter_mut().for_each(|record| record.learn(&blob));
        Ok(())
    }

    /// The layer, complete.
    pub(super) fn finish(self) -> Result<StagedLayer> {
        let record =
            self.record.ok_or_else(|| Error::corrupt(self.what, "nothing was unpacked"))?;
        Ok(StagedLayer { folder: self.folder, record })
    }
}

/// Completes a recipe. Gives its size.
fn complete(writer: Writer, path: &Path, root: &Path, trash: &Path) -> Result<u64> {
    let (_, displaced) = writer.finish()?;
    if displaced {
        recipe::settle(path, root, trash)?;
    }
    Ok(fs::metadata(path).context("look at", path)?.len())
}
