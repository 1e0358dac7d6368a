//! Names and their end: tag, untag, delete, and giving back the disk.

use std::collections::BTreeSet;
use std::fs;

use crate::digest::{Digest, ImageId};
use crate::error::{Conflict, Context as _, Error, Result};
use crate::reference::Reference;

use super::find::{Found, find_as, record};
use super::query::familiar;
use super::{Index, State, Store, WorkFolder, remove_any};

/// A container of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// For messages.
    pub name: String,
    /// A running container keeps its image even from a forced removal.
    pub running: bool,
}

/// How to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Also with several references, and while stopped containers use the image.
    pub force: bool,
    /// Without the images below that have no name and that nothing else needs.
    pub keep_parents: bool,
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone, in familiar form.
    pub untagged: Vec<String>,
    /// `sha256:...` of the image and of its layers that are gone, when it was the last name.
    pub deleted: Vec<String>,
    /// The same by image.
    pub images: Vec<RemovedImage>,
    /// Bytes of the layers that are gone.
    pub freed_bytes: u64,
}

impl Removed {
    fn note(&mut self, id: ImageId, untagged: Vec<String>, deleted: bool) {
        self.untagged.extend(untagged.iter().cloned());
        self.images.push(RemovedImage { id, untagged, deleted });
    }
}

/// What a removal did to one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedImage {
    /// Which.
    pub id: ImageId,
    /// Its names that are gone.
    pub untagged: Vec<String>,
    /// It is gone itself.
    pub deleted: bool,
}

impl Store {
    /// Gives an image one more name, taking the name from the image that has it. `source` as in
    /// [`Store::resolve`].
    ///
    /// # Errors
    /// As [`Store::resolve`]; [`Error::InvalidReference`] for a target that is an id or has a
    /// digest.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let target = parse_tag(target)?;
        let mut state = self.state.lock();
        let id = match find_as(&state.index, source)? {
            Found::Name(_, id) | Found::Id(id) => id,
        };
        let mut index = state.index.clone();
        index.tag(target, id);
        self.replace_index(&mut state, index)
    }

    /// Removes a name, and the image with its last name; or, by id, the image with all its names.
    ///
    /// The rules are Docker's (`daemon/images/image_delete.go`): by name, other names keep the
    /// image; the last name of an image that a container uses goes only by force, and the image
    /// stays while that container runs or images were committed on it. By id, several repositories
    /// or a stopped container need force, and a running container or such images forbid it. The
    /// images that it was committed on go along when they have no name and nothing needs them.
    ///
    /// `in_use` tells which containers use an image, `layer_in_use` whether any container stands
    /// on a layer: such a layer stays until [`Store::collect`]. Both are called with the store
    /// locked: they must not call it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Conflict`].
    pub fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        in_use: impl Fn(&ImageId) -> Vec<ContainerUse>,
        layer_in_use: impl Fn(&Digest) -> bool,
    ) -> Result<Removed> {
        let mut rubbish = Rubbish::default();
        let mut state = self.state.lock();
        let mut index = state.index.clone();
        let refuse = |conflict: Conflict| Err(Error::Conflict { image: name.to_owned(), conflict });
        let mut removed = Removed::default();
        let (id, untagged, delete) = match find_as(&index, name)? {
            Found::Name(reference, id) => {
                let last = is_last(&index, &reference, id);
                let user = in_use(&id).into_iter().next();
                if let Some(user) = user.filter(|_| last && !options.force) {
                    return refuse(Conflict::LastName { container: user.name, id });
                }
                let untagged = untag(&mut index, &reference, id);
                (id, untagged, last && hard_conflict(&index, id, &in_use(&id)).is_none())
            }
            Found::Id(id) => {
                let users = in_use(&id);
                let soft = || soft_conflict(&index, id, &users).filter(|_| !options.force);
                if let Some(conflict) = hard_conflict(&index, id, &users).or_else(soft) {
                    return refuse(conflict);
                }
                (id, untag_all(&mut index, id), true)
            }
        };
        removed.note(id, untagged, delete);
        let mut next = delete.then_some(id);
        while let Some(id) = next {
            let parent = index.images.get(&id).and_then(|image| image.parent);
            let (deleted, freed) = drop_image(&mut index, id, &state, &layer_in_use, &mut rubbish)?;
            removed.deleted.extend(deleted);
            removed.freed_bytes += freed;
            next = parent.filter(|parent| {
                !options.keep_parents && is_leftover(&index, *parent, &in_use(parent))
            });
            if let Some(parent) = next {
                removed.note(parent, Vec::new(), true);
            }
        }
        self.freeing(|| self.replace_index(&mut state, index.clone()))?;
        let hidden = self.freeing(|| self.hide(&rubbish))?;
        drop(state);
        drop(hidden);
        self.freed();
        Ok(removed)
    }

    /// Removes the layers that no image contains and no container stands on any more. To be called
    /// when the containers are known, and when one was removed. Gives the bytes that were freed.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::NoSpace`].
    pub fn collect(&self, layer_in_use: impl Fn(&Digest) -> bool) -> Result<u64> {
        let mut state = self.state.lock();
        let mut index = state.index.clone();
        let mut rubbish = Rubbish::default();
        let mut freed = 0;
        let candidates: Vec<Digest> = index.layers.keys().copied().collect();
        for layer in candidates {
            if !is_needed(&index, &state, &layer) && !layer_in_use(&layer) {
                freed += rubbish.layer(&mut index, layer).unwrap_or_default();
            }
        }
        if rubbish.layers.is_empty() {
            return Ok(0);
        }
        self.freeing(|| self.replace_index(&mut state, index.clone()))?;
        let hidden = self.freeing(|| self.hide(&rubbish))?;
        drop(state);
        drop(hidden);
        self.freed();
        Ok(freed)
    }

    /// Makes an index the valid one: on the disk first.
    pub(super) fn replace_index(&self, state: &mut State, index: Index) -> Result<()> {
        if state.index != index {
            index.write(self.paths.root(), &self.paths.tmp())?;
            state.index = index;
        }
        Ok(())
    }

    /// Moves what the index has ceased to name out of the way; dropping the result, without the
    /// store's lock, deletes it. A load of the same layer may come in between.
    fn hide(&self, rubbish: &Rubbish) -> Result<Option<WorkFolder>> {
        let blobs = rubbish.blobs.iter().map(|blob| self.paths.blob(blob));
        let recipes = rubbish.layers.iter().map(|layer| self.paths.recipe(layer));
        for path in blobs.chain(recipes) {
            if path.exists() {
                remove_any(&path)?;
            }
        }
        if rubbish.layers.is_empty() {
            return Ok(None);
        }
        let folder = self.work_folder("removed")?;
        for layer in &rubbish.layers {
            let (link, target) = self.paths.link(layer);
            if fs::read_link(&link).is_ok_and(|found| found == target) {
                remove_any(&link)?;
            }
            let path = self.paths.layer(layer);
            match fs::rename(&path, folder.path().join(layer.hex())) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.context("move away", &path)?,
            }
        }
        Ok(Some(folder))
    }
}

/// What has to go from the disk.
#[derive(Default)]
struct Rubbish {
    blobs: Vec<Digest>,
    layers: Vec<Digest>,
}

impl Rubbish {
    /// Takes a layer out of the index, with its archives. Gives its bytes.
    fn layer(&mut self, index: &mut Index, layer: Digest) -> Option<u64> {
        let record = index.layers.remove(&layer)?;
        self.layers.push(layer);
        self.blobs.extend(record.kept().map(|blob| blob.digest));
        Some(record.bytes())
    }
}

/// A name that `tag` may set.
pub(crate) fn parse_tag(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text)?.with_default_tag();
    if reference.digest().is_some() {
        return Err(Error::InvalidReference(crate::reference::ReferenceError {
            text: text.to_owned(),
            why: "a name with a digest cannot be given".to_owned(),
        }));
    }
    Ok(reference)
}

/// Whether the image has no name but this one (and digests of the same repository, which go with
/// the repository's last tag).
fn is_last(index: &Index, reference: &Reference, id: ImageId) -> bool {
    let repository = reference.repository();
    let tags = index.tags_of(&id);
    if reference.digest().is_some() {
        return tags.is_empty() && index.digests_of(&id).len() == 1;
    }
    let other_digest = |digest: &Reference| digest.repository() != repository;
    tags.len() == 1 && !index.digests_of(&id).iter().any(other_digest)
}

/// Takes one name away; with the repository's last tag also its digests.
fn untag(index: &mut Index, reference: &Reference, id: ImageId) -> Vec<String> {
    index.references.remove(reference);
    index.digests.remove(reference);
    let mut gone = vec![reference.clone()];
    let repository = reference.repository();
    if reference.digest().is_none()
        && !index.tags_of(&id).iter().any(|tag| tag.repository() == repository)
    {
        for digest in index.digests_of(&id) {
            if digest.repository() == repository {
                index.digests.remove(&digest);
                gone.push(digest);
            }
        }
    }
    familiar(&gone)
}

fn untag_all(index: &mut Index, id: ImageId) -> Vec<String> {
    let mut gone = index.tags_of(&id);
    gone.extend(index.digests_of(&id));
    index.references.retain(|_, image| *image != id);
    index.digests.retain(|_, image| *image != id);
    familiar(&gone)
}

/// What even force does not remove.
fn hard_conflict(index: &Index, id: ImageId, users: &[ContainerUse]) -> Option<Conflict> {
    if index.has_children(id) {
        return Some(Conflict::Children { id });
    }
    let running = users.iter().find(|container| container.running)?;
    Some(Conflict::Running { container: running.name.clone(), id })
}

/// What needs force when an image is removed by id. It may have one tag, or none.
fn soft_conflict(index: &Index, id: ImageId, users: &[ContainerUse]) -> Option<Conflict> {
    let tags = index.tags_of(&id);
    let repositories: BTreeSet<String> =
        tags.iter().chain(&index.digests_of(&id)).map(Reference::repository).collect();
    if tags.len() > 1 || repositories.len() > 1 {
        return Some(Conflict::SeveralNames { id });
    }
    let stopped = users.first()?;
    Some(Conflict::Stopped { container: stopped.name.clone(), id })
}

/// An image that was only there for one that was committed on it.
fn is_leftover(index: &Index, id: ImageId, users: &[ContainerUse]) -> bool {
    index.images.contains_key(&id)
        && users.is_empty()
        && !index.has_children(id)
        && index.tags_of(&id).is_empty()
        && index.digests_of(&id).is_empty()
}

fn is_needed(index: &Index, state: &State, layer: &Digest) -> bool {
    index.is_used(layer) || state.pinned.contains_key(layer)
}

/// Takes an image and the layers that only it needs out of the index. Gives what went, and its
/// bytes.
fn drop_image(
    index: &mut Index,
    id: ImageId,
    state: &State,
    layer_in_use: &impl Fn(&Digest) -> bool,
    rubbish: &mut Rubbish,
) -> Result<(Vec<String>, u64)> {
    let image = record(index, id)?.clone();
    index.images.remove(&id);
    let (mut deleted, mut freed) = (vec![id.to_string()], 0);
    // Top first, as Docker lists them.
    for layer in image.layers.iter().rev() {
        if !is_needed(index, state, layer)
            && !layer_in_use(layer)
            && let Some(bytes) = rubbish.layer(index, *layer)
        {
            freed += bytes;
            deleted.push(layer.to_string());
        }
    }
    let blobs = std::iter::once(id.0).chain(image.manifests);
    let kept: BTreeSet<Digest> = index
        .images
        .iter()
        .flat_map(|(id, image)| std::iter::once(id.0).chain(image.manifests.iter().copied()))
        .collect();
    rubbish.blobs.extend(blobs.filter(|blob| !kept.contains(blob)));
    Ok((deleted, freed))
}
