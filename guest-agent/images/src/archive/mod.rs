//! Image archives: an OCI layout or a docker-archive, in one tar.
//!
//! Members come in any order, and what they mean shows only at the end (`index.json` is often last), and
//! the stream cannot be rewound: so everything is spooled to the data disk first and interpreted then.
//! Digests are compared when a member is read: layers are hashed while they are unpacked.

mod docker;
mod oci;
mod spool;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::compression;
use crate::config::ConfigFile;
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{NewImage, Options, Progress};

use spool::{Member, Spool};

pub(crate) use spool::check_blob;

/// An image in an archive: everything is there, its layers are still packed.
#[derive(Debug)]
pub(crate) struct ArchiveImage {
    pub(crate) id: ImageId,
    pub(crate) layers: Vec<ArchiveLayer>,
    config: ConfigFile,
    config_json: Vec<u8>,
    manifest: Option<(Digest, Vec<u8>)>,
    tags: Vec<Reference>,
}

/// A packed layer.
#[derive(Debug)]
pub(crate) struct ArchiveLayer {
    /// What the configuration says its content is.
    pub(crate) diff_id: Digest,
    /// The spooled file.
    pub(crate) blob: PathBuf,
    /// The digest that the file should have.
    pub(crate) named: Option<Digest>,
}

impl ArchiveImage {
    pub(crate) fn into_new(self) -> NewImage {
        NewImage {
            id: self.id,
            config: self.config,
            config_json: self.config_json,
            manifest: self.manifest,
            tags: self.tags,
            parent: None,
            origin: None,
        }
    }
}

/// Which of the variants of an image.
#[derive(Clone, Copy)]
struct Choice<'a> {
    here: &'a Platform,
    /// This one and no other.
    wanted: Option<&'a Platform>,
}

impl Choice<'_> {
    /// How well a platform fits; lower is better.
    fn fit(&self, platform: &Platform) -> Option<u8> {
        match self.wanted {
            Some(wanted) => platform.fit(wanted).filter(|_| platform.is(wanted)),
            None => platform.fit(self.here),
        }
    }

    fn none(&self, what: impl Into<String>, available: &[Platform]) -> Error {
        let mut available: Vec<String> = available.iter().map(Platform::to_string).collect();
        available.sort();
        available.dedup();
        let wanted = self.wanted.unwrap_or(self.here).to_string();
        Error::NoPlatform { what: what.into(), wanted, available }
    }
}

/// Spools an archive into `folder` and finds the images in it. `wanted`: those of another platform
/// than this machine's.
pub(crate) fn receive(
    archive: impl Read + Send,
    folder: &Path,
    wanted: Option<&Platform>,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<ArchiveImage>> {
    const WHAT: &str = "the archive";
    let input = compression::open(archive, WHAT)?;
    let spool = Spool::receive(input, folder, &options.limits, WHAT, progress)?;
    let choice = Choice { here: &options.platform, wanted };
    let docker = match spool.document(docker::MANIFEST) {
        Some(bytes) => Some(docker::images(&spool, &bytes?, choice)),
        None => None,
    };
    let oci = |spool: &Spool| {
        let bytes = spool.document(oci::INDEX)?;
        Some(bytes.and_then(|bytes| oci::images(spool, &bytes, choice)))
    };
    // `docker save` writes both since Docker 25. manifest.json has the names as people gave them.
    let images = match docker {
        Some(Ok(images)) if !images.is_empty() => images,
        Some(failed) => match (oci(&spool), failed) {
            (Some(Ok(images)), failed) => {
                let why = failed.err().map(|error| error.to_string());
                tracing::warn!(why, "manifest.json is of no use, index.json is");
                images
            }
            (_, Err(error)) => return Err(error),
            (Some(Err(error)), Ok(_)) => return Err(error),
            (None, Ok(images)) => images,
        },
        None => oci(&spool).ok_or_else(|| spool.unknown_format())??,
    };
    if images.is_empty() {
        return Err(Error::corrupt(WHAT, "it contains no image"));
    }
    check_layers(&images)?;
    Ok(images)
}

/// One file cannot be two layers: their contents would have to differ.
fn check_layers(images: &[ArchiveImage]) -> Result<()> {
    let mut known = BTreeMap::new();
    for layer in images.iter().flat_map(|image| &image.layers) {
        let first = *known.entry(&layer.blob).or_insert(layer.diff_id);
        if first != layer.diff_id {
            let why = format!("its file is that of layer {first}, too");
            return Err(Error::corrupt(format!("layer {}", layer.diff_id), why));
        }
    }
    Ok(())
}

/// Puts an image together from the members that its manifest names.
fn assemble(
    spool: &Spool,
    config_json: Vec<u8>,
    layers: &[&Member],
    manifest: Option<(Digest, Vec<u8>)>,
    tags: Vec<Reference>,
) -> Result<ArchiveImage> {
    let id = ImageId(Digest::of(&config_json));
    let config = ConfigFile::parse(&config_json, &format!("configuration {id}"))?;
    // Whatever the manifest's descriptor says.
    let platform = config.platform();
    if !platform.is_linux() {
        let why = format!("it is for {platform}, and containers here run Linux");
        return Err(Error::Unsupported { what: format!("image {id}"), why });
    }
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        let (named, given) = (diff_ids.len(), layers.len());
        let why = format!("its configuration names {named} layers, its manifest {given}");
        return Err(Error::corrupt(format!("image {id}"), why));
    }
    let layer = |(diff_id, member): (&Digest, &&Member)| ArchiveLayer {
        diff_id: *diff_id,
        blob: spool.path(member),
        named: member.named,
    };
    let layers = diff_ids.iter().zip(layers).map(layer).collect();
    Ok(ArchiveImage { id, layers, config, config_json, manifest, tags })
}
