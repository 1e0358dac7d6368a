//! Image archives: an OCI layout or a docker-archive, in one tar.
//!
//! Members come in any order, and what they mean shows only at the end (`index.json` is often last), and
//! the stream cannot be rewound: so everything is spooled to the data disk first, hashed on the way,
//! and interpreted then.

mod docker;
mod oci;
mod spool;

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
    /// Of the spooled file, as computed.
    pub(crate) blob_digest: Digest,
}

impl ArchiveImage {
    pub(crate) fn into_new(self) -> NewImage {
        NewImage {
            id: self.id,
            config: self.config,
            config_json: self.config_json,
            manifest: self.manifest,
            tags: self.tags,
            origin: None,
        }
    }
}

/// Spools an archive into `folder` and finds the images in it.
pub(crate) fn receive(
    archive: impl Read + Send,
    folder: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<ArchiveImage>> {
    const WHAT: &str = "the archive";
    let input = compression::open(archive, WHAT)?;
    let spool = Spool::receive(input.reader, folder, &options.limits, WHAT, progress)?;
    let docker = match spool.document(docker::MANIFEST) {
        Some(bytes) => Some(docker::images(&spool, &bytes?, &options.platform)),
        None => None,
    };
    let oci = |spool: &Spool| {
        let bytes = spool.document(oci::INDEX)?;
        Some(bytes.and_then(|bytes| oci::images(spool, &bytes, &options.platform)))
    };
    // `docker save` writes both since Docker 25. manifest.json has the names as people gave them.
    let images = match docker {
        Some(Ok(images)) if !images.is_empty() => images,
        Some(Err(error @ Error::NoPlatform { .. })) => return Err(error),
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
    Ok(images)
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
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        let (named, given) = (diff_ids.len(), layers.len());
        let why = format!("its configuration names {named} layers, its manifest {given}");
        return Err(Error::corrupt(format!("image {id}"), why));
    }
    let layer = |(diff_id, member): (&Digest, &&Member)| ArchiveLayer {
        diff_id: *diff_id,
        blob: spool.path(member),
        blob_digest: member.digest,
    };
    let layers = diff_ids.iter().zip(layers).map(layer).collect();
    Ok(ArchiveImage { id, layers, config, config_json, manifest, tags })
}

fn no_platform(what: impl Into<String>, here: &Platform, available: &[Platform]) -> Error {
    let mut available: Vec<String> = available.iter().map(Platform::to_string).collect();
    available.sort();
    available.dedup();
    Error::NoPlatform { what: what.into(), wanted: here.to_string(), available }
}
