//! What images take on the disk: each layer is counted once, however many images share it.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::{Digest, ImageId};
use crate::error::Result;

use super::{ImageSummary, LayerRecord, ListFilter, Store};

/// What `system df` says of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Every image, with the bytes of those of its layers that other images have too.
    pub images: Vec<(ImageSummary, u64)>,
    /// Of all layers: their files, and what gives them back.
    pub layers_bytes: u64,
    /// Of the layers that would go with the images that no container has.
    pub reclaimable_bytes: u64,
}

impl Store {
    /// Measures every image. `in_use`: whether a container has an image; `layer_in_use`: whether one
    /// stands on a layer.
    ///
    /// # Errors
    /// When an image's configuration cannot be read.
    pub fn disk_usage(
        &self,
        in_use: impl Fn(&ImageId) -> bool,
        layer_in_use: impl Fn(&Digest) -> bool,
    ) -> Result<DiskUsage> {
        let images = self.list(&ListFilter { all: true, ..ListFilter::default() })?;
        let index = self.state.lock().index.clone();
        let (mut owners, mut needed) = (BTreeMap::<Digest, u32>::new(), BTreeSet::new());
        for (id, record) in &index.images {
            // A layer may be in one image twice.
            let layers: BTreeSet<Digest> = record.layers.iter().copied().collect();
            for layer in &layers {
                *owners.entry(*layer).or_default() += 1;
            }
            if in_use(id) {
                needed.extend(layers);
            }
        }
        let size = |id: &Digest| index.layers.get(id).map_or(0, |layer| layer.size_bytes);
        let shared = |image: &ImageSummary| {
            let layers = index.images.get(&image.id).map(|record| record.layers.as_slice());
            let several = |layer: &&Digest| owners.get(layer).is_some_and(|count| *count > 1);
            layers.unwrap_or_default().iter().filter(several).map(size).sum()
        };
        let reclaimable = index
            .layers
            .iter()
            .filter(|(id, _)| owners.contains_key(id) && !needed.contains(id) && !layer_in_use(id));
        Ok(DiskUsage {
            layers_bytes: index.layers.values().map(LayerRecord::bytes).sum(),
            reclaimable_bytes: reclaimable.map(|(_, layer)| layer.bytes()).sum(),
            images: images
                .into_iter()
                .map(|image| {
                    let bytes = shared(&image);
                    (image, bytes)
                })
                .collect(),
        })
    }

    /// The bytes of these layers (`sha256:...` of their archives). One that is not there counts
    /// nothing.
    #[must_use]
    pub fn layers_bytes(&self, diff_ids: &[String]) -> u64 {
        let layers = &self.state.lock().index.layers;
        let known = diff_ids.iter().filter_map(|id| layers.get(&id.parse::<Digest>().ok()?));
        known.map(|layer| layer.size_bytes).sum()
    }
}
