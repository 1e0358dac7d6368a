//! Telling about images: one, a list of them, what they take on the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{ConfigFile, ExecConfig, HistoryEntry};
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::filter::ImageFilters;
use crate::manifest::{self, Document};
use crate::platform::Platform;
use crate::reference::Reference;

use super::Store;
use super::find::{find, record};
use super::index::{ImageRecord, Index};
use super::pattern::{is_pattern, matches};

/// An image, ready to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of the configuration.
    pub id: ImageId,
    /// How to run it.
    pub config: ExecConfig,
    /// Folders for overlayfs' `lowerdir`, base first (overlayfs wants the reverse). Never empty.
    /// The paths are short, so that a hundred of them fit into the one page of mount options.
    pub layers: Vec<PathBuf>,
    /// All its layers, base first: what `layer_in_use` of [`Store::remove`] asks about. More than
    /// `layers` when one of them hides everything below; empty for an image without layers.
    pub diff_ids: Vec<Digest>,
    /// The names with a tag, in familiar form.
    pub tags: Vec<String>,
    /// What it was made for.
    pub platform: Platform,
}

/// One line of a list of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The digest of the configuration.
    pub id: ImageId,
    /// Familiar form: `busybox:latest`.
    pub tags: Vec<String>,
    /// Familiar form: `busybox@sha256:...`, the digest being the manifest's.
    pub digests: Vec<String>,
    /// When it was made; 0: unknown.
    pub created_unix_nanos: i64,
    /// Of the unpacked layers, shared ones included.
    pub size_bytes: u64,
    /// Of each layer, base first.
    pub layer_bytes: Vec<u64>,
    /// Free-form.
    pub labels: BTreeMap<String, String>,
}

impl ImageSummary {
    /// Nothing names it.
    #[must_use]
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty() && self.digests.is_empty()
    }
}

/// All that is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDetail {
    /// What a list shows.
    pub summary: ImageSummary,
    /// `amd64`.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// Such as `v8`; often empty.
    pub variant: String,
    /// Who made it.
    pub author: String,
    /// How to run it.
    pub config: ExecConfig,
    /// Each layer's digest when uncompressed, base first.
    pub diff_ids: Vec<Digest>,
    /// How it was made, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The configuration blob as it is.
    pub config_json: Vec<u8>,
    /// The image that it was committed on; that may have gone.
    pub parent: Option<ImageId>,
    /// When it last got a name, in nanoseconds since 1970; 0: never.
    pub tagged_unix_nanos: i64,
    /// The folder of each layer, base first.
    pub layer_folders: Vec<PathBuf>,
    /// What it came with, when it came with one.
    pub manifest: Option<ManifestInfo>,
}

/// What a registry or layout says of an image's manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Such as `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub size: u64,
}

/// Which images a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Only these repositories or references, in familiar form; `*`, `?` and `[a-z]` match within
    /// one path component. Only the names that match are listed. Empty: all.
    pub references: Vec<String>,
    /// Also images without a tag, and those only when no reference is asked for.
    pub all: bool,
    /// What else must hold; its `references` are more of the above.
    pub filters: ImageFilters,
}

/// What the images take on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of images.
    pub images: usize,
    /// Number of layers.
    pub layers: usize,
    /// Of all layers, each counted once.
    pub layers_bytes: u64,
    /// Of layers that no image contains any more and containers still use.
    pub retained_bytes: u64,
}

impl Store {
    /// Finds an image by name (`busybox`, `busybox:1`, `busybox@sha256:...`), id or the beginning
    /// of an id, in Docker's order: a name wins over an id that it happens to begin.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::InvalidReference`], and
    /// [`Error::Corrupt`] when the image is there but its files are damaged.
    pub fn resolve(&self, name: &str) -> Result<Image> {
        let (id, diff_ids, visible, tags) = {
            let state = self.state.lock();
            let id = find(&state.index, name)?;
            let diff_ids = record(&state.index, id)?.layers.clone();
            let visible = state.index.visible(&diff_ids).to_vec();
            (id, diff_ids, visible, familiar(&state.index.tags_of(&id)))
        };
        let (config, _) = self.read_config(id)?;
        let layers = self.layer_paths(&visible)?;
        let platform = config.platform();
        Ok(Image { id, config: config.exec(), layers, diff_ids, tags, platform })
    }

    /// All that is known of an image. `name` as in [`Store::resolve`].
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub fn inspect(&self, name: &str) -> Result<ImageDetail> {
        let id = find(&self.state.lock().index, name)?;
        let (config, config_json) = self.read_config(id)?;
        let state = self.state.lock();
        let record = record(&state.index, id)?;
        let manifest = self.manifest_of(record, id)?;
        Ok(ImageDetail {
            summary: summary(&state.index, id, record, &config),
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            variant: config.variant.clone(),
            author: config.author.clone(),
            config: config.exec(),
            diff_ids: record.layers.clone(),
            history: config.history(),
            config_json,
            parent: record.parent,
            tagged_unix_nanos: record.tagged_unix_nanos,
            layer_folders: record.layers.iter().map(|id| self.paths.layer(id)).collect(),
            manifest,
        })
    }

    /// The images, newest first. One whose configuration cannot be read is an error: use
    /// [`Store::remove`] with its id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`]; as [`Store::resolve`] for the image of a `before` or
    /// `since`; [`Error::InvalidFilter`] for a pattern that is none.
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<ImageSummary>> {
        let index = self.state.lock().index.clone();
        let patterns: Vec<&String> =
            filter.references.iter().chain(&filter.filters.references).collect();
        if let Some(bad) = patterns.iter().find(|pattern| !is_pattern(pattern.as_bytes())) {
            let why = "the pattern is malformed".to_owned();
            return Err(Error::InvalidFilter { filter: format!("reference={bad}"), why });
        }
        let (after, before) = self.made_between(&index, &filter.filters)?;
        let mut images = Vec::new();
        for (id, record) in &index.images {
            let (config, _) = match self.read_config(*id) {
                // Removed since the index was copied.
                Err(_) if !self.state.lock().index.images.contains_key(id) => continue,
                other => other?,
            };
            let mut image = summary(&index, *id, record, &config);
            // 0: nobody knows when.
            let made = Some(image.created_unix_nanos).filter(|made| *made != 0);
            let in_time = after.is_none_or(|after| made.is_some_and(|made| made > after))
                && before.is_none_or(|before| made.is_some_and(|made| made < before));
            if !in_time || !filter.filters.matches(&image) {
                continue;
            }
            let wanted = if patterns.is_empty() {
                filter.all || filter.filters.dangling == Some(true) || !image.tags.is_empty()
            } else {
                let chosen =
                    |name: &Reference| patterns.iter().any(|pattern| matches(pattern, name));
                let names = |mut names: Vec<Reference>| {
                    names.retain(chosen);
                    familiar(&names)
                };
                image.tags = names(index.tags_of(id));
                image.digests = names(index.digests_of(id));
                !image.is_dangling()
            };
            if wanted {
                images.push(image);
            }
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.created_unix_nanos));
        Ok(images)
    }

    /// What `since` and `before` come to: with several of one, all must hold.
    fn made_between(
        &self,
        index: &Index,
        filters: &ImageFilters,
    ) -> Result<(Option<i64>, Option<i64>)> {
        let made = |name: &String| {
            let (config, _) = self.read_config(find(index, name)?)?;
            Ok(config.created_unix_nanos())
        };
        let all = |names: &[String]| names.iter().map(made).collect::<Result<Vec<_>>>();
        Ok((all(&filters.since)?.into_iter().max(), all(&filters.before)?.into_iter().min()))
    }

    /// What the images take on the disk.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        let index = &state.index;
        let retained = index.layers.iter().filter(|(id, _)| !index.is_used(id));
        Usage {
            images: index.images.len(),
            layers: index.layers.len(),
            layers_bytes: index.layers.values().map(|layer| layer.size_bytes).sum(),
            retained_bytes: retained.map(|(_, layer)| layer.size_bytes).sum(),
        }
    }

    /// The platforms that an image is known to be there for: those of the index that it was chosen
    /// from, or its own.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`] and [`Error::Io`].
    pub fn platforms(&self, id: ImageId) -> Result<Vec<Platform>> {
        let manifests = record(&self.state.lock().index, id)?.manifests.clone();
        let mut platforms = Vec::new();
        for digest in &manifests {
            let path = self.paths.blob(digest);
            let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            if let Document::Index(images) = Document::parse(&bytes, &format!("index {digest}"))? {
                let images = images.into_iter().filter(|image| !image.is_attachment());
                platforms.extend(images.filter_map(|image| image.platform));
            }
        }
        if platforms.is_empty() {
            platforms.push(self.read_config(id)?.0.platform());
        }
        Ok(platforms)
    }

    /// The configuration of an image, verified.
    pub(crate) fn read_config(&self, id: ImageId) -> Result<(ConfigFile, Vec<u8>)> {
        let what = format!("configuration of image {id}");
        let path = self.paths.blob(&id.0);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::corrupt(what, "its file is missing"));
            }
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        if Digest::of(&bytes) != id.0 {
            return Err(Error::corrupt(what, "its content does not have its digest"));
        }
        Ok((ConfigFile::parse(&bytes, &what)?, bytes))
    }

    /// The manifest that names this configuration: an image may have come with several, and with
    /// the index that they were chosen from.
    fn manifest_of(&self, record: &ImageRecord, id: ImageId) -> Result<Option<ManifestInfo>> {
        for digest in &record.manifests {
            let path = self.paths.blob(digest);
            let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            let document = Document::parse(&bytes, &format!("manifest {digest}"))?;
            if let Document::Manifest { config, .. } = document
                && config.digest == id.0
            {
                let media_type = manifest::media_type(&bytes);
                return Ok(Some(ManifestInfo {
                    media_type,
                    digest: *digest,
                    size: bytes.len() as u64,
                }));
            }
        }
        Ok(None)
    }

    pub(super) fn layer_paths(&self, layers: &[Digest]) -> Result<Vec<PathBuf>> {
        if layers.is_empty() {
            return Ok(vec![self.paths.empty_layer()]);
        }
        let path = |id: &Digest| {
            let path = self.paths.short_layer(id);
            if path.is_dir() {
                return Ok(path);
            }
            Err(Error::corrupt(format!("layer {id}"), "its folder is missing"))
        };
        topmost(layers).map(path).collect()
    }
}

/// Each layer once, where it is last: what is below would not be seen, and overlayfs refuses to
/// mount a folder twice (ELOOP). Steps that change nothing all make the same, empty layer.
fn topmost(layers: &[Digest]) -> impl Iterator<Item = &Digest> {
    let above = |at: usize, id: &Digest| layers[at + 1..].contains(id);
    layers.iter().enumerate().filter(move |(at, id)| !above(*at, id)).map(|(_, id)| id)
}

fn summary(index: &Index, id: ImageId, record: &ImageRecord, config: &ConfigFile) -> ImageSummary {
    ImageSummary {
        id,
        tags: familiar(&index.tags_of(&id)),
        digests: familiar(&index.digests_of(&id)),
        created_unix_nanos: config.created_unix_nanos(),
        size_bytes: index.size_of(record),
        layer_bytes: record
            .layers
            .iter()
            .map(|id| index.layers.get(id).map_or(0, |layer| layer.size_bytes))
            .collect(),
        labels: config.config.labels.clone(),
    }
}

pub(super) fn familiar(references: &[Reference]) -> Vec<String> {
    references.iter().map(Reference::familiar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_repeats_is_mounted_once_where_it_is_last() {
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
        let kept: Vec<_> = topmost(&[a, b, a, c, b]).copied().collect();
        assert_eq!(kept, [a, c, b]);
    }
}
