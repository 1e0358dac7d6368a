//! docker-archives: what `docker save` writes. `manifest.json` names the files, `repositories` is its
//! older companion.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{DockerItem, Repositories, docker_items};
use crate::reference::Reference;

use super::spool::{Member, Spool};
use super::{ArchiveImage, Choice, assemble, oci};

pub(super) const MANIFEST: &str = "manifest.json";
const REPOSITORIES: &str = "repositories";

/// The images that `manifest.json` names, for whatever processor if none is wanted: each was asked for by
/// name when the archive was made.
pub(super) fn images(
    spool: &Spool,
    manifest: &[u8],
    choice: Choice<'_>,
) -> Result<Vec<ArchiveImage>> {
    let repositories: Repositories = match spool.document(REPOSITORIES) {
        // It repeats what manifest.json says, so nothing is lost when it is damaged.
        Some(bytes) => serde_json::from_slice(&bytes?).unwrap_or_default(),
        None => Repositories::default(),
    };
    let image = |item: &DockerItem| {
        let image = image(spool, item, &repositories)?;
        let platform = image.config.platform();
        if choice.wanted.is_some() && choice.fit(&platform).is_none() {
            let name = item.repo_tags.first().unwrap_or(&item.config);
            return Err(choice.none(format!("`{name}` in the archive"), &[platform]));
        }
        Ok(image)
    };
    docker_items(manifest)?.iter().map(image).collect()
}

fn image(spool: &Spool, item: &DockerItem, repositories: &Repositories) -> Result<ArchiveImage> {
    let what = format!("configuration `{}`", item.config);
    let config_json = spool.required(spool.member(&item.config), &what)?;
    let layer = |name: &String| {
        spool
            .member(name)
            .ok_or_else(|| Error::corrupt(format!("layer `{name}`"), "it is not in the archive"))
    };
    let layers: Vec<&Member> = item.layers.iter().map(layer).collect::<Result<_>>()?;
    let digest = Digest::of(&config_json);
    check_name(&item.config, digest)?;
    let manifest = oci::manifest_of(spool, digest);
    assemble(spool, config_json, &layers, manifest, tags(item, repositories)?)
}

/// Docker names a configuration by its digest. (Others may call it what they like.)
fn check_name(name: &str, digest: Digest) -> Result<()> {
    let stem = name.rsplit('/').next().unwrap_or(name);
    let stem = stem.strip_suffix(".json").unwrap_or(stem);
    match Digest::from_hex(stem) {
        Ok(named) if named != digest => {
            let why = format!("its content has the digest {digest}");
            Err(Error::corrupt(format!("configuration `{name}`"), why))
        }
        _ => Ok(()),
    }
}

fn tags(item: &DockerItem, repositories: &Repositories) -> Result<Vec<Reference>> {
    let mut names = item.repo_tags.clone();
    if names.is_empty() {
        // `repositories` names an image by the folder of its top layer.
        let top = item.layers.last().map_or("", |layer| layer.split('/').next().unwrap_or(layer));
        for (repository, tags) in repositories {
            let of_image = tags.iter().filter(|(_, layer)| layer.as_str() == top);
            names.extend(of_image.map(|(tag, _)| format!("{repository}:{tag}")));
        }
    }
    let mut tags = Vec::new();
    for name in names {
        let reference = Reference::parse(&name)?.with_default_tag();
        if reference.digest().is_none() && !tags.contains(&reference) {
            tags.push(reference);
        }
    }
    Ok(tags)
}
