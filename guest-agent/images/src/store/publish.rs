//! How unpacked layers and their images become visible: all at once, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::ops::Deref;

use crate::config::ConfigFile;
use crate::digest::{Digest, ImageId};
use crate::error::{Context as _, Error, Result};
use crate::reference::Reference;

use super::index::{ImageRecord, LayerRecord, sync_folder};
use super::{BlobRecord, StagedLayer, State, Store, remove_any};

/// An image to become visible.
#[derive(Debug)]
pub(crate) struct NewImage {
    pub(crate) id: ImageId,
    pub(crate) config: ConfigFile,
    pub(crate) config_json: Vec<u8>,
    /// Its manifest, when it has one.
    pub(crate) manifest: Option<(Digest, Vec<u8>)>,
    pub(crate) tags: Vec<Reference>,
    /// What its registry says: the index that its manifest was chosen from, and its names with a
    /// digest. Without it, each tag has the manifest's.
    pub(crate) origin: Option<Origin>,
}

/// Where an image was pulled from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) index: Option<(Digest, Vec<u8>)>,
    pub(crate) digests: Vec<Reference>,
    /// Its layers by diff id, as the registry has them.
    pub(crate) blobs: Vec<(Digest, BlobRecord)>,
}

impl NewImage {
    /// The documents that are kept beside the configuration.
    fn documents(&self) -> impl Iterator<Item = &(Digest, Vec<u8>)> {
        let index = self.origin.as_ref().and_then(|origin| origin.index.as_ref());
        self.manifest.iter().chain(index)
    }

    /// Its names with a digest.
    fn digests(&self) -> Vec<Reference> {
        match (&self.origin, &self.manifest) {
            (Some(origin), _) => origin.digests.clone(),
            (None, Some((digest, _))) => self.tags.iter().map(|tag| tag.at(*digest)).collect(),
            (None, None) => Vec::new(),
        }
    }
}

/// The right to unpack some layers, and the promise that others stay.
#[derive(Debug)]
pub(crate) struct Claim<S: Deref<Target = Store>> {
    store: S,
    pinned: BTreeSet<Digest>,
    /// The layers that the store does not have, or cannot give back: the holder of the claim unpacks
    /// them.
    pub(crate) missing: BTreeSet<Digest>,
}

impl Store {
    /// Claims layers. When another load is unpacking one of them, waits until it is done, so that
    /// the work is done once. All are claimed in one step, so two loads cannot wait for each other.
    pub(crate) fn claim(&self, layers: impl IntoIterator<Item = Digest>) -> Claim<&Self> {
        Claim::new(self, layers)
    }

    /// The promise that layers stay, without the right to unpack any.
    pub(crate) fn pin(&self, layers: impl IntoIterator<Item = Digest>) -> Claim<&Self> {
        Claim::pin(&mut self.state.lock(), self, layers)
    }

    /// Marks layers as pinned, and those that are missing as busy; gives the latter.
    fn begin(&self, pinned: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let mut state = self.state.lock();
        loop {
            let whole = |id: &Digest| state.index.layers.get(id).is_some_and(LayerRecord::is_whole);
            let missing: BTreeSet<Digest> =
                pinned.iter().filter(|id| !whole(id)).copied().collect();
            if missing.is_disjoint(&state.busy) {
                state.busy.extend(&missing);
                state.pin(pinned);
                return missing;
            }
            self.unpacked.wait(&mut state);
        }
    }

    /// Makes images visible, with the layers that their claim found missing.
    ///
    /// The order makes it safe: contents reach the disk, then get their names, then the names reach the
    /// disk, then the index names them.
    pub(crate) fn publish(
        &self,
        claim: &Claim<impl Deref<Target = Self>>,
        staged: BTreeMap<Digest, StagedLayer>,
        images: &[NewImage],
    ) -> Result<()> {
        let work = self.work_folder("blobs")?;
        let mut blobs = BTreeMap::new();
        for image in images {
            blobs.insert(image.id.0, &image.config_json);
            blobs.extend(image.documents().map(|(digest, bytes)| (*digest, bytes)));
        }
        for (digest, bytes) in &blobs {
            let path = work.path().join(digest.hex());
            fs::write(&path, bytes).context("write", &path)?;
        }
        let root = self.paths.root();
        let folder = File::open(root).context("open", root)?;
        rustix::fs::syncfs(&folder).context("sync", root)?;

        let mut state = self.state.lock();
        let mut index = state.index.clone();
        for digest in blobs.keys() {
            let path = self.paths.blob(digest);
            fs::rename(work.path().join(digest.hex()), &path).context("create", &path)?;
        }
        for (diff_id, layer) in &staged {
            debug_assert!(claim.missing.contains(diff_id), "{diff_id} was not claimed");
            self.place_archive(diff_id, layer)?;
            // One that could not be given back, and now can: its folder may be in use.
            if let Some(known) = index.layers.get_mut(diff_id) {
                known.complete(&layer.record);
                continue;
            }
            self.place(diff_id, layer)?;
            index.layers.insert(*diff_id, layer.record.clone());
        }
        let paths = &self.paths;
        for folder in [paths.blobs(), paths.recipes(), paths.layers(), paths.links()] {
            sync_folder(&folder)?;
        }
        for image in images {
            let layers = image.config.rootfs.diff_ids.clone();
            if let Some(layer) = layers.iter().find(|layer| !index.layers.contains_key(layer)) {
                return Err(Error::corrupt(
                    format!("image {}", image.id),
                    format!("layer {layer} is missing"),
                ));
            }
            let record = index.images.entry(image.id).or_insert_with(|| ImageRecord {
                layers,
                manifests: BTreeSet::new(),
                added_unix_nanos: now_unix_nanos(),
            });
            record.manifests.extend(image.documents().map(|(digest, _)| *digest));
            for (layer, blob) in image.origin.iter().flat_map(|origin| &origin.blobs) {
                if let Some(layer) = index.layers.get_mut(layer) {
                    layer.learn(blob);
                }
            }
            index.references.extend(image.tags.iter().map(|tag| (tag.clone(), image.id)));
            index.digests.extend(image.digests().into_iter().map(|name| (name, image.id)));
        }
        self.replace_index(&mut state, index)
    }

    /// Moves what gives a layer back to its names.
    fn place_archive(&self, diff_id: &Digest, layer: &StagedLayer) -> Result<()> {
        for blob in layer.record.kept() {
            let path = self.paths.blob(&blob.digest);
            fs::rename(layer.blob(), &path).context("create", &path)?;
        }
        if layer.record.recipe_bytes.is_some() {
            let path = self.paths.recipe(diff_id);
            fs::rename(layer.recipe(), &path).context("create", &path)?;
        }
        Ok(())
    }

    /// Moves a layer to its name. What lies there already is not in the index, so it is rubbish of
    /// a publication that failed.
    fn place(&self, diff_id: &Digest, layer: &StagedLayer) -> Result<()> {
        let path = self.paths.layer(diff_id);
        if fs::symlink_metadata(&path).is_ok() {
            remove_any(&path)?;
        }
        fs::rename(layer.root(), &path).context("create", &path)?;
        let (link, target) = self.paths.link(diff_id);
        match std::os::unix::fs::symlink(&target, &link) {
            // Another layer's with the same beginning: this one goes by its full name.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other.context("create", &link),
        }
    }
}

impl<S: Deref<Target = Store>> Claim<S> {
    /// As [`Store::claim`].
    pub(super) fn new(store: S, layers: impl IntoIterator<Item = Digest>) -> Self {
        let pinned: BTreeSet<Digest> = layers.into_iter().collect();
        let missing = store.begin(&pinned);
        Self { store, pinned, missing }
    }

    /// As [`Store::pin`], for who has the state already.
    pub(super) fn pin(
        state: &mut State,
        store: S,
        layers: impl IntoIterator<Item = Digest>,
    ) -> Self {
        let pinned: BTreeSet<Digest> = layers.into_iter().collect();
        state.pin(&pinned);
        Self { store, pinned, missing: BTreeSet::new() }
    }
}

impl State {
    fn pin(&mut self, layers: &BTreeSet<Digest>) {
        for layer in layers {
            *self.pinned.entry(*layer).or_default() += 1;
        }
    }
}

impl<S: Deref<Target = Store>> Drop for Claim<S> {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        for layer in &self.missing {
            state.busy.remove(layer);
        }
        for layer in &self.pinned {
            if let Some(count) = state.pinned.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    state.pinned.remove(layer);
                }
            }
        }
        self.store.unpacked.notify_all();
    }
}

fn now_unix_nanos() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
