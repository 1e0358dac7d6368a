//! A layer's tar becomes a folder that overlayfs can use as a lower layer.
//!
//! Owns the meaning of entries: whiteouts, replacement, owners, times. Where a name leads is `tree`'s
//! affair, bytes are `tarball`'s. Nothing here trusts the archive; nothing is flushed to the disk
//! (`Store::publish` does that once for everything).

mod copy_in;
mod entry;
mod pipeline;
mod tree;

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;

use crate::digest::Digest;
use crate::error::Result;
use crate::recipe::{self, Tape};
use crate::tarball::Reader;

pub use copy_in::{CopyIn, copy_in};
pub use entry::MapIds;
use entry::Unpacker;
use pipeline::Stream;

/// What an archive may cost. The defaults are far above real images and far below what hurts
/// others on the data disk's own terms: the disk's size is the real limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes of one layer.
    pub layer_bytes: u64,
    /// Entries of one layer.
    pub layer_entries: u64,
    /// Folders within each other.
    pub depth: usize,
    /// Bytes of a manifest, index or configuration: these are held in memory.
    pub document_bytes: u64,
    /// Members of an image archive.
    pub archive_members: u64,
    /// Bytes of an image archive after its outer compression.
    pub archive_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layer_bytes: 256 << 30,
            layer_entries: 10_000_000,
            // A path ends at 4096 bytes; each level costs an open file while it is being filled.
            depth: 256,
            // containerd's and Docker's limit for manifests is 4 and 8 MiB.
            document_bytes: 8 << 20,
            archive_members: 100_000,
            archive_bytes: 1 << 40,
        }
    }
}

/// Where a layer goes.
pub(crate) struct Target<'a> {
    /// Names the layer in errors.
    pub(crate) what: &'a str,
    /// An empty folder.
    pub(crate) root: &'a Path,
    /// Another one, on the same file system, for what gets replaced.
    pub(crate) trash: &'a Path,
    /// Takes down how the tar is made again.
    pub(crate) recipe: Option<&'a RefCell<recipe::Writer>>,
}

/// A layer that was unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Its bytes.
    pub(crate) tar_bytes: u64,
    /// Sum of the sizes of its files; of one with several names, once.
    pub(crate) size_bytes: u64,
    pub(crate) entries: u64,
    /// Nothing below this layer shows through.
    pub(crate) opaque: bool,
}

/// Unpacks a layer from its uncompressed tar. `progress` gets the bytes of it so far.
pub(crate) fn unpack(
    input: impl Read + Send,
    target: &Target<'_>,
    limits: &Limits,
    progress: &mut dyn FnMut(u64),
) -> Result<Unpacked> {
    std::thread::scope(|scope| {
        let mut stream = Stream::start(scope, input, limits.layer_bytes, progress)?;
        let mut reader = Reader::new(Tape::new(&mut stream, target.recipe));
        let mut unpacker = Unpacker::new(target, limits)?;
        while let Some(entry) = reader.next().map_err(|fault| fault.about(target.what))? {
            unpacker.apply(&entry, &mut reader)?;
        }
        // What follows the end mark belongs to the digest.
        reader.drain().map_err(|fault| fault.about(target.what))?;
        let tally = unpacker.finish()?;
        Ok(Unpacked {
            tar_bytes: stream.total(),
            diff_id: stream.finish(),
            size_bytes: tally.size_bytes,
            entries: tally.entries,
            opaque: tally.opaque,
        })
    })
}
