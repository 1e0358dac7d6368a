//! An archive's files into a container: the same care as with a layer, without a layer's meaning.

use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use crate::compression;
use crate::error::Result;
use crate::tarball::Reader;

use super::Limits;
use super::entry::{MapIds, Purpose, Unpacker};
use super::tree::Tree;

/// What a copy does with what it finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyIn {
    /// Owners are as in the archive, otherwise root's.
    pub keep_owner: bool,
    /// A folder and what is none replace each other, otherwise that is an error.
    pub replace_kinds: bool,
}

/// Unpacks a tar, plain or compressed as [`crate::Store::load`] takes it, below `folder` of the container whose root is open as `root`. Symbolic
/// links on the way are followed within that root; `..` is refused. What has a name already is
/// replaced. `ids` says who an owner is outside the container, when its ids are mapped.
///
/// # Errors
/// [`crate::Error::Read`] when `archive` fails; [`crate::Error::Corrupt`] and
/// [`crate::Error::TooLarge`] for what it contains; [`crate::Error::NoSpace`] and
/// [`crate::Error::Io`] for the disk. What was unpacked before stays.
pub fn copy_in(
    archive: impl Read + Send,
    root: OwnedFd,
    folder: &Path,
    how: CopyIn,
    ids: Option<&MapIds>,
    limits: &Limits,
) -> Result<()> {
    const WHAT: &str = "the archive";
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.as_encoded_bytes().to_vec()),
        _ => None,
    };
    let folder = folder.components().filter_map(name).collect();
    let purpose = Purpose::Copy { folder, keep_owner: how.keep_owner, ids };
    let tree = Tree::of_container(WHAT, root, how.replace_kinds);
    let mut unpacker = Unpacker::into_container(WHAT, limits, tree, purpose);
    let input = compression::open(archive, WHAT)?;
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, input));
    while let Some(entry) = reader.next().map_err(|fault| fault.about(WHAT))? {
        unpacker.apply(&entry, &mut reader)?;
    }
    // The sender is to see that all of it was taken.
    reader.drain().map_err(|fault| fault.about(WHAT))?;
    unpacker.finish().map(drop)
}
