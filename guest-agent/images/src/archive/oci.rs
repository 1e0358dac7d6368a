//! OCI layouts (image-spec, image-layout.md): `index.json` leads to manifests, these to blobs.

use crate::config::ConfigFile;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{ANNOTATION_NAME, ANNOTATION_REF, Descriptor, Document};
use crate::platform::Platform;
use crate::reference::Reference;

use super::spool::{Member, Spool};
use super::{ArchiveImage, Choice, assemble};

pub(super) const INDEX: &str = "index.json";
/// An index may name an index. Real ones do so once.
const MAX_NESTING: usize = 4;
/// Manifests in one archive.
const MAX_MANIFESTS: usize = 10_000;

/// A manifest that was found, with what there is to choose by.
struct Candidate {
    digest: Digest,
    bytes: Vec<u8>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    platform: Platform,
    /// Which image of the layout it is a variant of.
    group: usize,
}

/// One image of the layout, for one or more platforms.
struct Group {
    name: Option<String>,
    tags: Vec<Reference>,
}

/// The images of a layout for one platform.
pub(super) fn images(spool: &Spool, index: &[u8], choice: Choice<'_>) -> Result<Vec<ArchiveImage>> {
    let Document::Index(descriptors) = Document::parse(index, INDEX)? else {
        return Err(Error::corrupt(INDEX, "it is a manifest, not an index"));
    };
    let mut groups: Vec<Group> = Vec::new();
    let mut candidates = Vec::new();
    for descriptor in &descriptors {
        if descriptor.is_attachment() {
            continue;
        }
        let name = name_of(descriptor);
        let known = name.is_some().then(|| groups.iter().position(|group| group.name == name));
        let group = known.flatten().unwrap_or(groups.len());
        if group == groups.len() {
            let tags = name.as_deref().and_then(reference_of).into_iter().collect();
            groups.push(Group { name, tags });
        }
        collect(spool, descriptor, group, MAX_NESTING, &mut candidates)?;
    }
    choose(spool, &groups, &candidates, choice)
}

/// The digest and bytes of the manifest that has this configuration, for a docker-archive that is a
/// layout as well.
pub(super) fn manifest_of(spool: &Spool, config: Digest) -> Option<(Digest, Vec<u8>)> {
    let bytes = spool.document(INDEX)?.ok()?;
    let Ok(Document::Index(descriptors)) = Document::parse(&bytes, INDEX) else { return None };
    let mut candidates = Vec::new();
    for descriptor in descriptors.iter().filter(|descriptor| !descriptor.is_attachment()) {
        // What the index names and the archive lacks is not needed here.
        let _ = collect(spool, descriptor, 0, MAX_NESTING, &mut candidates);
    }
    let found = candidates.into_iter().find(|candidate| candidate.config.digest == config)?;
    Some((found.digest, found.bytes))
}

/// Finds the manifests behind a descriptor.
fn collect(
    spool: &Spool,
    descriptor: &Descriptor,
    group: usize,
    nesting: usize,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    let what = format!("manifest {}", descriptor.digest);
    if found.len() >= MAX_MANIFESTS {
        let limit = MAX_MANIFESTS as u64;
        return Err(Error::TooLarge { what: INDEX.to_owned(), limit, unit: "manifests" });
    }
    let Some(member) = spool.blob(&descriptor.digest) else {
        // `docker save --platform` and others keep the whole index and only some of what it names. The
        // platform is needed for the message when nothing else fits.
        return match &descriptor.platform {
            Some(platform) if nesting < MAX_NESTING => {
                tracing::debug!(%what, %platform, "not in the archive");
                Ok(())
            }
            _ => Err(Error::corrupt(what, "it is not in the archive")),
        };
    };
    check_size(descriptor, member, &what)?;
    let bytes = spool.required(Some(member), &what)?;
    match Document::parse(&bytes, &what)? {
        Document::Index(_) if nesting == 0 => {
            Err(Error::corrupt(what, "indexes are nested too deeply"))
        }
        Document::Index(descriptors) => {
            for inner in descriptors.iter().filter(|inner| !inner.is_attachment()) {
                collect(spool, inner, group, nesting - 1, found)?;
            }
            Ok(())
        }
        Document::Manifest { config, layers } => {
            let platform = match &descriptor.platform {
                Some(platform) => platform.clone(),
                None => platform_in(spool, &config)?,
            };
            let digest = descriptor.digest;
            found.push(Candidate { digest, bytes, config, layers, platform, group });
            Ok(())
        }
    }
}

/// The platform as the configuration has it.
fn platform_in(spool: &Spool, config: &Descriptor) -> Result<Platform> {
    let what = format!("configuration {}", config.digest);
    // An artifact's configuration is some other document, and an artifact is no image.
    if !config.media_type.is_empty() && !config.media_type.contains("image") {
        let why = format!("`{}` is not an image's", config.media_type);
        return Err(Error::Unsupported { what, why });
    }
    let bytes = spool.required(spool.blob(&config.digest), &what)?;
    Ok(ConfigFile::parse(&bytes, &what)?.platform())
}

/// The best manifest of each group; all that fit equally of one without a name.
fn choose(
    spool: &Spool,
    groups: &[Group],
    candidates: &[Candidate],
    choice: Choice<'_>,
) -> Result<Vec<ArchiveImage>> {
    // Manifests without a name beside each other are either platforms of one image or several
    // images: they fit or they do not, and only when none fits is that an error.
    let unnamed: Vec<Platform> = platforms(groups, candidates, |group| group.name.is_none());
    let any_unnamed_fits = unnamed.iter().any(|platform| choice.fit(platform).is_some());
    let mut images = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let of_group = candidates.iter().filter(|candidate| candidate.group == number);
        let fitting = of_group.clone().filter_map(|c| Some((choice.fit(&c.platform)?, c)));
        match fitting.min_by_key(|(fit, _)| *fit) {
            Some((_, best)) => images.push(image(spool, best, group.tags.clone())?),
            // Made for another processor, and there is nothing to choose from: just that was wanted.
            None if choice.wanted.is_none() && is_only(candidates, group, number) => {
                for one in of_group {
                    images.push(image(spool, one, group.tags.clone())?);
                }
            }
            None if group.name.is_none() && any_unnamed_fits => {}
            None if group.name.is_none() => return Err(choice.none("the archive", &unnamed)),
            None => {
                let available: Vec<Platform> = of_group.map(|c| c.platform.clone()).collect();
                let name = group.name.as_deref().unwrap_or_default();
                return Err(choice.none(format!("`{name}` in the archive"), &available));
            }
        }
    }
    Ok(images)
}

/// Whether this is the one image of its name or, without a name, of the archive.
fn is_only(candidates: &[Candidate], group: &Group, number: usize) -> bool {
    let beside = |candidate: &&Candidate| group.name.is_none() || candidate.group == number;
    let mut rivals = candidates.iter().filter(beside);
    matches!((rivals.next(), rivals.next()), (Some(only), None) if only.platform.is_linux())
}

fn platforms(
    groups: &[Group],
    candidates: &[Candidate],
    wanted: impl Fn(&Group) -> bool,
) -> Vec<Platform> {
    let of_wanted = candidates.iter().filter(|candidate| wanted(&groups[candidate.group]));
    of_wanted.map(|candidate| candidate.platform.clone()).collect()
}

fn image(spool: &Spool, chosen: &Candidate, tags: Vec<Reference>) -> Result<ArchiveImage> {
    let what = format!("configuration {}", chosen.config.digest);
    let member = spool.blob(&chosen.config.digest);
    if let Some(member) = member {
        check_size(&chosen.config, member, &what)?;
    }
    let config_json = spool.required(member, &what)?;
    let layer = |layer: &Descriptor| {
        let what = format!("layer blob {}", layer.digest);
        let Some(member) = spool.blob(&layer.digest) else {
            return Err(Error::corrupt(what, "it is not in the archive"));
        };
        check_size(layer, member, &what)?;
        Ok(member)
    };
    let layers: Vec<&Member> = chosen.layers.iter().map(layer).collect::<Result<_>>()?;
    let manifest = Some((chosen.digest, chosen.bytes.clone()));
    let image = assemble(spool, config_json, &layers, manifest, tags)?;
    Ok(image)
}

/// A digest that fits and a size that does not is somebody's trick, or a broken writer's.
fn check_size(descriptor: &Descriptor, member: &Member, what: &str) -> Result<()> {
    if descriptor.size == 0 || descriptor.size == member.size {
        return Ok(());
    }
    let why = format!("it has {} bytes, its descriptor says {}", member.size, descriptor.size);
    Err(Error::corrupt(what, why))
}

fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key| descriptor.annotations.get(key).filter(|text| !text.is_empty());
    annotation(ANNOTATION_NAME).or_else(|| annotation(ANNOTATION_REF)).cloned()
}

/// A mere tag (`latest`), which the specification allows, names no repository: such an image has no
/// name.
fn reference_of(name: &str) -> Option<Reference> {
    if !name.contains([':', '/']) {
        return None;
    }
    match Reference::parse(name).map(Reference::with_default_tag) {
        Ok(reference) if reference.tag().is_some() && reference.digest().is_none() => {
            Some(reference)
        }
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, "an image in the archive stays without a name");
            None
        }
    }
}
