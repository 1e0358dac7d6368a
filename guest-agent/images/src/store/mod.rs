//! The store: what exists, and how it changes without ever being seen half done.

mod build;
mod commit;
mod content;
mod find;
mod index;
mod load;
mod outgoing;
mod paths;
mod pattern;
mod prune;
mod publish;
mod query;
mod receive;
mod remove;
mod reserve;
mod save;
mod staging;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use rustix::fs::FlockOperation;

use crate::digest::Digest;
use crate::error::{Context as _, Error, Result};
use crate::platform::Platform;
use crate::unpack::Limits;

pub use build::{Held, HeldImage, MadeLayer, Scratch, check_tags, is_archive};
pub(crate) use index::{BlobRecord, Index, LayerRecord};
pub use load::{LoadedImage, Phase, Progress};
pub use outgoing::{LayerFile, Manifest, Outgoing, OutgoingLayer};
pub(crate) use paths::Paths;
pub(crate) use publish::NewImage;
pub use query::{Image, ImageDetail, ImageSummary, ListFilter, ManifestInfo, Usage};
pub use receive::{Receipt, RemoteBlob, RemoteImage};
pub(crate) use remove::parse_tag;
pub use remove::{ContainerUse, RemoveOptions, Removed, RemovedImage};
pub use save::ArchiveFormat;
pub(crate) use staging::StagedLayer;
pub use usage::DiskUsage;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// What an archive may cost.
    pub limits: Limits,
    /// Which images are chosen from an archive.
    pub platform: Platform,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), platform: Platform::here() }
    }
}

/// An open store. One at a time for each folder; share it behind an `Arc`.
#[derive(Debug)]
pub struct Store {
    pub(crate) paths: Paths,
    pub(crate) options: Options,
    pub(crate) state: Mutex<State>,
    /// Signalled when a layer stops being unpacked.
    pub(crate) unpacked: Condvar,
    next_work: AtomicU64,
    reserve: reserve::Reserve,
    /// Its lock ends with the file.
    _lock: File,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: Index,
    /// Layers that a load is unpacking now.
    pub(crate) busy: BTreeSet<Digest>,
    /// Layers that a load counts on, with the number of loads: not to be removed.
    pub(crate) pinned: BTreeMap<Digest, u32>,
}

impl Store {
    /// Opens the store at `path`, making it when it does not exist, and removes what an
    /// interrupted load left behind.
    ///
    /// # Errors
    /// [`Error::Locked`] when another store has it open; [`Error::Corrupt`] and
    /// [`Error::Unsupported`] for an index that cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::default())
    }

    /// [`Store::open`] with limits and platform.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let paths = Paths::new(path.as_ref());
        fs::create_dir_all(paths.root()).context("create", paths.root())?;
        let lock = lock(&paths)?;
        let index = Index::read(paths.root())?;
        for folder in [
            paths.tmp(),
            paths.blobs(),
            paths.recipes(),
            paths.layers(),
            paths.links(),
            paths.empty_layer(),
        ] {
            fs::create_dir_all(&folder).context("create", &folder)?;
        }
        sweep(&paths, &index)?;
        let reserve = reserve::Reserve::new(&paths);
        let state = State { index, busy: BTreeSet::new(), pinned: BTreeMap::new() };
        Ok(Self {
            paths,
            options,
            state: Mutex::new(state),
            unpacked: Condvar::new(),
            next_work: AtomicU64::new(0),
            reserve,
            _lock: lock,
        })
    }

    /// The folder given to [`Store::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        self.paths.root()
    }

    /// A new folder in the store's temporary area.
    pub(crate) fn work_folder(&self, purpose: &str) -> Result<WorkFolder> {
        let number = self.next_work.fetch_add(1, Ordering::Relaxed);
        let path = self.paths.tmp().join(format!("{purpose}-{number}"));
        fs::create_dir(&path).context("create", &path)?;
        Ok(WorkFolder { path })
    }
}

/// A temporary folder that goes with its value.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            // The next open tries again.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a temporary folder");
        }
    }
}

fn lock(paths: &Paths) -> Result<File> {
    let path = paths.lock();
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .context("open", &path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: paths.root().to_owned() }),
        Err(errno) => Err(Error::io("lock", &path, errno)),
    }
}

/// Removes what the index does not name.
fn sweep(paths: &Paths, index: &Index) -> Result<()> {
    remove_unless(&paths.tmp(), |_| false)?;
    let layers: BTreeSet<String> = index.layers.keys().map(Digest::hex).collect();
    remove_unless(&paths.layers(), |name| layers.contains(name))?;
    let recipes = index.layers.iter().filter(|(_, layer)| layer.recipe_bytes.is_some());
    let recipes: BTreeSet<String> = recipes.map(|(id, _)| id.hex()).collect();
    remove_unless(&paths.recipes(), |name| recipes.contains(name))?;
    let links: BTreeSet<PathBuf> = index.layers.keys().map(|id| paths.link(id).0).collect();
    remove_unless(&paths.links(), |name| links.contains(&paths.links().join(name)))?;
    let blobs: BTreeSet<String> = index
        .images
        .iter()
        .flat_map(|(id, image)| std::iter::once(&id.0).chain(&image.manifests))
        .chain(index.layers.values().flat_map(LayerRecord::kept).map(|blob| &blob.digest))
        .map(Digest::hex)
        .collect();
    remove_unless(&paths.blobs(), |name| blobs.contains(name))
}

fn remove_unless(folder: &Path, keep: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder).context("read", folder)? {
        let entry = entry.context("read", folder)?;
        if entry.file_name().to_str().is_some_and(&keep) {
            continue;
        }
        let path = entry.path();
        tracing::info!(path = %path.display(), "removing what an interrupted change left");
        remove_any(&path)?;
    }
    Ok(())
}

/// Removes a file, a link or a whole folder.
pub(crate) fn remove_any(path: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(path).context("look at", path)?;
    if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        .context("remove", path)
}
