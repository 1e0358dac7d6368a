//! Every file name inside the store's folder.

use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Digits of a short layer name. Links are checked before use, so a collision costs nothing but a
/// longer path.
const SHORT: usize = 16;

#[derive(Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn recipes(&self) -> PathBuf {
        self.root.join("recipes")
    }

    pub(crate) fn recipe(&self, diff_id: &Digest) -> PathBuf {
        self.recipes().join(diff_id.hex())
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join("l")
    }

    pub(crate) fn empty_layer(&self) -> PathBuf {
        self.root.join("empty")
    }

    /// The link to a layer, and what it must contain.
    pub(crate) fn link(&self, diff_id: &Digest) -> (PathBuf, PathBuf) {
        let hex = diff_id.hex();
        (self.links().join(&hex[..SHORT]), Path::new("../layers").join(&hex))
    }

    /// The layer's folder by way of its link; by its full name when the link is not ours.
    pub(crate) fn short_layer(&self, diff_id: &Digest) -> PathBuf {
        let (link, target) = self.link(diff_id);
        if std::fs::read_link(&link).is_ok_and(|found| found == target) {
            return link;
        }
        self.layer(diff_id)
    }
}
