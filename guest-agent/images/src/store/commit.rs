//! The face of `commit`.

use std::collections::BTreeMap;
use std::io::Read;

use crate::commit::{CommitOptions, Plan};
use crate::compression;
use crate::digest::ImageId;
use crate::error::Result;
use crate::unpack;

use super::query::familiar;
use super::{LoadedImage, NewImage, Store};

impl Store {
    /// Makes an image of the image `parent` and one more layer, which is read as a tar.
    ///
    /// # Errors
    /// As [`Store::import`]; [`crate::Error::NotFound`] when the parent has gone.
    pub fn commit(
        &self,
        parent: &str,
        layer: impl Read + Send,
        options: &CommitOptions,
    ) -> Result<LoadedImage> {
        let parent: ImageId = self.resolve(parent)?.id;
        let (config, _) = self.read_config(parent)?;
        let plan = Plan::new(config, options)?;
        // The layers below stay, whatever happens to the parent from here on.
        let below = self.pin(plan.layers().iter().copied());
        let (diff_id, staged) = self.stage("the container's changes", |folder, limits| {
            let input = compression::plain(layer);
            unpack::unpack(input, folder, limits, &mut |_| {})
        })?;
        let image = NewImage { parent: Some(parent), ..plan.finish(diff_id)? };
        let claim = self.claim([diff_id]);
        let staged = if claim.missing.contains(&diff_id) {
            BTreeMap::from([(diff_id, staged)])
        } else {
            BTreeMap::new()
        };
        self.publish(&claim, staged, std::slice::from_ref(&image))?;
        drop(below);
        Ok(LoadedImage { id: image.id, tags: familiar(&image.tags) })
    }
}
