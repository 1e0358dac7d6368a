//! Finding images, as Docker does it, and telling about them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{ConfigFile, ExecConfig, HistoryEntry};
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::reference::Reference;

use super::Store;
use super::index::{ImageRecord, Index};

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
    /// Free-form.
    pub labels: BTreeMap<String, String>,
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
}

/// Which images a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Only these repositories or references, in familiar form; `*`, `?` and `[a-z]` match within
    /// one path component. Empty: all.
    pub references: Vec<String>,
    /// Also images without a tag, and those only when no reference is asked for.
    pub all: bool,
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
        Ok(Image { id, config: config.exec(), layers: self.layer_paths(&visible)?, diff_ids, tags })
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
        })
    }

    /// The images, newest first. One whose configuration cannot be read is an error: use
    /// [`Store::remove`] with its id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and [`Error::Io`].
    pub fn list(&self, filter: &ListFilter) -> Result<Vec<ImageSummary>> {
        let index = self.state.lock().index.clone();
        let mut images = Vec::new();
        for (id, record) in &index.images {
            let tags = index.tags_of(id);
            let wanted = if filter.references.is_empty() {
                filter.all || !tags.is_empty()
            } else {
                let names =
                    tags.iter().chain(index.digests.iter().filter(|d| d.1 == id).map(|d| d.0));
                names.into_iter().any(|tag| filter.references.iter().any(|p| matches(p, tag)))
            };
            if !wanted {
                continue;
            }
            let (config, _) = match self.read_config(*id) {
                // Removed since the index was copied.
                Err(_) if !self.state.lock().index.images.contains_key(id) => continue,
                other => other?,
            };
            images.push(summary(&index, *id, record, &config));
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.created_unix_nanos));
        Ok(images)
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
        layers.iter().map(path).collect()
    }
}

pub(super) fn record(index: &Index, id: ImageId) -> Result<&ImageRecord> {
    index.images.get(&id).ok_or_else(|| Error::NotFound { name: id.to_string() })
}

fn summary(index: &Index, id: ImageId, record: &ImageRecord, config: &ConfigFile) -> ImageSummary {
    ImageSummary {
        id,
        tags: familiar(&index.tags_of(&id)),
        digests: familiar(&index.digests_of(&id)),
        created_unix_nanos: config.created_unix_nanos(),
        size_bytes: index.size_of(record),
        labels: config.config.labels.clone(),
    }
}

pub(super) fn familiar(references: &[Reference]) -> Vec<String> {
    references.iter().map(Reference::familiar).collect()
}

/// How a name was understood.
pub(super) enum Found {
    /// As this tag or digest.
    Name(Reference, ImageId),
    /// As an id or the beginning of one.
    Id(ImageId),
}

fn find(index: &Index, name: &str) -> Result<ImageId> {
    find_as(index, name).map(|found| match found {
        Found::Name(_, id) | Found::Id(id) => id,
    })
}

/// `GetImage` of Docker's engine: a full id, then a name, then the beginning of an id.
pub(super) fn find_as(index: &Index, name: &str) -> Result<Found> {
    let not_found = || Error::NotFound { name: name.to_owned() };
    let full = name.parse::<Digest>().or_else(|_| Digest::from_hex(name));
    if let Ok(id) = full.map(ImageId) {
        return index.images.contains_key(&id).then_some(Found::Id(id)).ok_or_else(not_found);
    }
    let parsed = Reference::parse(name).map(Reference::with_default_tag);
    if let Ok(reference) = &parsed {
        let named = match reference.digest() {
            // With a digest the tag is only a comment.
            Some(digest) => {
                let name = reference.at(digest);
                index.digests.get(&name).map(|id| (name, *id))
            }
            None => index.references.get(reference).map(|id| (reference.clone(), *id)),
        };
        if let Some((name, id)) = named {
            return Ok(Found::Name(name, id));
        }
    }
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    if !prefix.is_empty() && prefix.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        let begins = |id: &&ImageId| id.0.hex().starts_with(prefix);
        let candidates: Vec<ImageId> = index.images.keys().filter(begins).copied().collect();
        match candidates.as_slice() {
            [] => {}
            [one] => return Ok(Found::Id(*one)),
            _ => return Err(Error::Ambiguous { prefix: name.to_owned(), candidates }),
        }
        return Err(not_found());
    }
    parsed?;
    Err(not_found())
}

/// `reference.FamiliarMatch`: the pattern against the whole reference or the repository.
fn matches(pattern: &str, reference: &Reference) -> bool {
    let glob = |text: &str| glob(pattern.as_bytes(), text.as_bytes());
    if glob(&reference.familiar()) || glob(&reference.familiar_name()) {
        return true;
    }
    // So that `docker.io/library/busybox` finds what is shown as `busybox`.
    glob(&reference.to_string()) || glob(&reference.repository())
}

/// Go's `path.Match`, without the escape character, which no reference can contain.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len())
            .take_while(|end| *end == 0 || text[*end - 1] != b'/')
            .any(|end| glob(rest, &text[end..])),
        Some((b'?', rest)) => text.first().is_some_and(|c| *c != b'/') && glob(rest, &text[1..]),
        Some((b'[', rest)) => {
            let Some(end) = rest.iter().position(|c| *c == b']') else { return false };
            let Some(c) = text.first() else { return false };
            let (set, negated) = match rest[..end].split_first() {
                Some((b'^', set)) => (set, true),
                _ => (&rest[..end], false),
            };
            in_set(set, *c) != negated && *c != b'/' && glob(&rest[end + 1..], &text[1..])
        }
        Some((c, rest)) => text.first() == Some(c) && glob(rest, &text[1..]),
    }
}

fn in_set(mut set: &[u8], c: u8) -> bool {
    while let Some((first, rest)) = set.split_first() {
        match rest {
            [b'-', last, after @ ..] => {
                if (*first..=*last).contains(&c) {
                    return true;
                }
                set = after;
            }
            _ if *first == c => return true,
            _ => set = rest,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_within_one_component() {
        let reference = Reference::parse("linkspan/hello:v1").unwrap();
        for pattern in [
            "linkspan/hello",
            "linkspan/hello:v1",
            "linkspan/*",
            "*/hello:v?",
            "l*/h*o",
            "linkspan/hello:v[0-9]",
        ] {
            assert!(matches(pattern, &reference), "{pattern}");
        }
        for pattern in [
            "hello",
            "*",
            "linkspan",
            "linkspan/hello:v2",
            "linkspan/hello:v[^0-9]",
            "linkspan/hello:v[",
        ] {
            assert!(!matches(pattern, &reference), "{pattern}");
        }
        assert!(matches("docker.io/library/busybox", &Reference::parse("busybox:1").unwrap()));
    }
}
