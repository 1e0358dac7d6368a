//! Removing what nobody uses.

use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};

use super::{ContainerUse, ImageSummary, ListFilter, RemoveOptions, Removed, Store};

impl Store {
    /// Removes the images that `wanted` chooses and no container has: those without a name or, with
    /// `all`, any; and the layers that no image and no container has. `in_use` and `layer_in_use` as
    /// in [`Store::remove`].
    ///
    /// # Errors
    /// As [`Store::remove`]. An image that is taken into use or removed meanwhile is none.
    pub fn prune(
        &self,
        all: bool,
        wanted: impl Fn(&ImageSummary) -> bool,
        in_use: impl Fn(&ImageId) -> Vec<ContainerUse>,
        layer_in_use: impl Fn(&Digest) -> bool,
    ) -> Result<Removed> {
        // What is forced is several names; containers keep their image, whether they run or not.
        let keep = |id: &ImageId| {
            in_use(id).into_iter().map(|by| ContainerUse { running: true, ..by }).collect()
        };
        let mut pruned = Removed::default();
        for image in self.list(&ListFilter { all: true, ..ListFilter::default() })? {
            let named = !image.tags.is_empty() || !image.digests.is_empty();
            if (named && !all) || !wanted(&image) {
                continue;
            }
            let options = RemoveOptions { force: true, ..RemoveOptions::default() };
            match self.remove(&image.id.to_string(), options, keep, &layer_in_use) {
                Ok(removed) => {
                    pruned.untagged.extend(removed.untagged);
                    pruned.deleted.extend(removed.deleted);
                    pruned.images.extend(removed.images);
                    pruned.freed_bytes += removed.freed_bytes;
                }
                Err(Error::Conflict { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // What a container kept of an image that went before it.
        pruned.freed_bytes += self.collect(layer_in_use)?;
        Ok(pruned)
    }
}
