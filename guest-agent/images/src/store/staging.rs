//! Layers on their way in: unpacked in the temporary area, with what gives them back later.

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Context as _, Error, Result};
use crate::unpack::{Limits, Target, Unpacked};

use super::{BlobRecord, LayerRecord, Store, WorkFolder};

/// Where the layer's files are. Beside it lies what was overwritten while unpacking.
const ROOT: &str = "root";
const TRASH: &str = "trash";
/// Its archive, compressed as it came.
const BLOB: &str = "blob";

/// A layer that is being unpacked. Its folder goes with it.
pub(crate) struct Staging {
    what: String,
    folder: WorkFolder,
    unpacked: Option<Unpacked>,
    blob: Option<BlobRecord>,
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
}

impl Store {
    /// A new place for a layer. `what` names it in errors.
    pub(super) fn staging(&self, what: &str) -> Result<Staging> {
        let folder = self.work_folder("layer")?;
        for name in [ROOT, TRASH] {
            let path = folder.path().join(name);
            fs::create_dir(&path).context("create", &path)?;
        }
        Ok(Staging { what: what.to_owned(), folder, unpacked: None, blob: None })
    }

    /// Unpacks into a new folder of the temporary area, which goes if that fails.
    pub(super) fn stage(
        &self,
        what: &str,
        unpack: impl FnOnce(&Target<'_>, &Limits) -> Result<Unpacked>,
    ) -> Result<(Digest, StagedLayer)> {
        let mut staging = self.staging(what)?;
        let diff_id = staging.fill(|target| unpack(target, &self.options.limits))?;
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
        unpack: impl FnOnce(&Target<'_>) -> Result<Unpacked>,
    ) -> Result<Digest> {
        let (root, trash) = (self.folder.path().join(ROOT), self.folder.path().join(TRASH));
        let unpacked = unpack(&Target { what: &self.what, root: &root, trash: &trash })?;
        let diff_id = unpacked.diff_id;
        self.unpacked = Some(unpacked);
        Ok(diff_id)
    }

    /// Keeps the compressed archive that lies at `path`, verified, in the temporary area.
    pub(super) fn keep(&mut self, path: &Path, digest: Digest, media_type: &str) -> Result<()> {
        let size = fs::metadata(path).context("look at", path)?.len();
        if path != self.blob() {
            fs::rename(path, self.blob()).context("move", path)?;
        }
        let (media_type, sources) = (media_type.to_owned(), std::collections::BTreeSet::new());
        self.blob = Some(BlobRecord { digest, size, media_type, kept: true, sources });
        Ok(())
    }

    /// The layer, complete.
    pub(super) fn finish(self) -> Result<StagedLayer> {
        let unpacked =
            self.unpacked.ok_or_else(|| Error::corrupt(self.what, "nothing was unpacked"))?;
        let record = LayerRecord {
            size_bytes: unpacked.size_bytes,
            entries: unpacked.entries,
            opaque: unpacked.opaque,
            blobs: self.blob.into_iter().collect(),
        };
        Ok(StagedLayer { folder: self.folder, record })
    }
}
