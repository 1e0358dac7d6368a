//! Which image a name or an id means, as Docker understands it.

use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::reference::Reference;

use super::index::{ImageRecord, Index};

pub(super) fn record(index: &Index, id: ImageId) -> Result<&ImageRecord> {
    index.images.get(&id).ok_or_else(|| Error::NotFound { name: id.to_string() })
}

/// How a name was understood.
pub(super) enum Found {
    /// As this tag or digest.
    Name(Reference, ImageId),
    /// As an id or the beginning of one.
    Id(ImageId),
}

pub(super) fn find(index: &Index, name: &str) -> Result<ImageId> {
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
