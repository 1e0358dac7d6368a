//! Carries builds out: the plan of a Dockerfile becomes layers of the store and an image.
//!
//! Owns everything below the folder given to [`Builder::open`] (in the VM `/var/lib/linkspan/build`)
//! and is called by the agent's build service. Synchronous, and may take long. Processes and downloads
//! are the agent's, behind [`Machine`].
//!
//! ```text
//! cache.json            by the key of a step its layer; the cache mounts (format version inside)
//! mounts/<hex>/         one cache mount each, named by the SHA-256 of its id
//! contexts/<hex>.json   one context each: which file had which content when (format version inside)
//! files/<hex>           contents of contexts, by their SHA-256
//! ```
//!
//! The layers are the image store's. A record of the cache says that a layer is in use
//! ([`Builder::uses_layer`]); one that was made and not recorded goes at the next start.
//!
//! A build's result does not depend on the clock where its commands do not: see [`mod@image`].
//!
//! Deliberately absent: reading Dockerfiles (`linkspan-build`), registries, git.

#![forbid(unsafe_code)]

mod cache;
mod command;
mod contents;
mod context;
mod copy;
mod error;
mod glob;
pub mod image;
mod instruction;
mod layer;
mod mounts;
mod prune;
mod run;
mod tree;
mod users;
mod worker;

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use linkspan_build::{Built, Failure, execute};
use linkspan_files::{Archive, Folder, Node};
use linkspan_images::{ArchiveFormat, Digest, ImageId, LayerCompression, LoadedImage, Store};
use parking_lot::Mutex;

use cache::Cache;
use mounts::CacheMounts;

pub use command::{Command, Ended, Machine};
pub use contents::{Listed, ListedKind, Listing};
pub use context::{Context, ContextEntry, ContextKind};
pub use error::{Error, Result};
pub use instruction::{Instruction, InstructionState};
pub use prune::{PruneOptions, Pruned, Record, RecordKind};
pub use run::RunOptions;
pub use worker::{Build, StepLayer};

/// Large enough that headers of archives do not cost a system call each.
const BUFFER: usize = 128 * 1024;

/// What has become of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// It begins.
    Running,
    /// It is done.
    Done,
    /// Its layer was there.
    Cached,
    /// It failed.
    Failed,
}

/// Is told how a build goes. Called from several threads.
pub trait Progress: Sync {
    /// A step begins or has ended. Its title tells it from others.
    fn step(&self, title: &str, state: StepState, took: Duration);

    /// The same by instruction, also of those that are no step: see [`Instruction`].
    fn instruction(&self, _instruction: Instruction<'_>) {}

    /// A command writes. `stderr`: to standard error.
    fn output(&self, title: &str, stderr: bool, bytes: &[u8], elapsed: Duration);
}

/// What builds share. One for each folder; it locks for itself.
#[derive(Debug)]
pub struct Builder {
    store: Arc<Store>,
    folder: PathBuf,
    /// In memory, for secrets.
    memory: PathBuf,
    cache: Cache,
    mounts: Arc<CacheMounts>,
    /// How many builds are under way: contents that one counts on are not removed.
    active: Mutex<usize>,
    next: AtomicU64,
}

impl Builder {
    /// Opens the folder, making it when it does not exist. `memory`: a folder that is not on a disk.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Record`] for a record that cannot be read.
    pub fn open(folder: &Path, memory: &Path, store: Arc<Store>) -> Result<Self> {
        for path in [folder, &folder.join("contexts"), &folder.join("files"), memory] {
            fs::create_dir_all(path).map_err(Error::io("create", path))?;
        }
        Ok(Self {
            cache: Cache::open(folder)?,
            mounts: CacheMounts::open(folder)?,
            folder: folder.to_owned(),
            memory: memory.to_owned(),
            store,
            active: Mutex::new(0),
            next: AtomicU64::new(0),
        })
    }

    /// A build begins: what contexts have stays until the answer is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Active {
        *self.active.lock() += 1;
        Active(Arc::clone(self))
    }

    /// The image store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether a later build may find this layer.
    #[must_use]
    pub fn uses_layer(&self, layer: &Digest) -> bool {
        self.cache.uses(layer)
    }

    /// 64 hexadecimal digits that no other command has.
    fn new_id(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let now = jiff::Timestamp::now().as_nanosecond();
        hex::encode(Sha256::digest(format!("{now} {number} {}", std::process::id())))
    }

    /// A folder in memory that goes with its value.
    fn memory_folder(&self) -> Result<MemoryFolder> {
        let path = self.memory.join(self.new_id());
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        Ok(MemoryFolder(path))
    }
}

/// A build that is under way.
#[derive(Debug)]
pub struct Active(Arc<Builder>);

impl Drop for Active {
    fn drop(&mut self) {
        *self.0.active.lock() -= 1;
    }
}

struct MemoryFolder(PathBuf);

impl MemoryFolder {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the secrets of a build");
        }
    }
}

/// A build that has ended well: what it made stays while this lives.
pub struct Finished<'a> {
    build: Build<'a>,
    built: Built<StepLayer>,
}

impl<'a> Build<'a> {
    /// Does it, on at most so many threads.
    ///
    /// # Errors
    /// The step that failed first, and why.
    pub fn execute(self, threads: usize) -> Result<Finished<'a>, Failure<Error>> {
        let built = execute(self.plan, &self, threads);
        if let Err(error) = self.builder.cache.flush() {
            // What is lost is only when something was used.
            tracing::warn!(%error, "the use of the build cache was not recorded");
        }
        Ok(Finished { built: built?, build: self })
    }
}

impl Finished<'_> {
    /// How many steps were done, and how many found.
    #[must_use]
    pub fn steps(&self) -> (usize, usize) {
        (self.built.performed, self.built.found)
    }

    /// Makes the image.
    ///
    /// # Errors
    /// As [`Store::make_image`].
    pub fn image(&self, tags: &[String]) -> Result<LoadedImage> {
        Ok(self.build.builder.store.make_image(self.config(), tags)?)
    }

    /// Writes the image as an archive, and does not keep it. Without `compression` layers are written as
    /// they are kept.
    ///
    /// # Errors
    /// As [`Store::save_new`].
    pub fn save(
        &self,
        names: &[String],
        format: ArchiveFormat,
        compression: Option<LayerCompression>,
        out: impl Write,
    ) -> Result<ImageId> {
        let out = BufWriter::with_capacity(BUFFER, out);
        Ok(self.build.builder.store.save_new(self.config(), names, format, compression, out)?)
    }

    fn config(&self) -> Vec<u8> {
        let (build, tree) = (&self.build, &self.built.tree);
        let above: Vec<(Digest, i64)> =
            tree.layers.iter().map(|layer| (layer.diff_id, layer.created_unix_nanos)).collect();
        image::config(build.plan, &build.base_of(tree), &above)
    }

    /// Writes the files of the target as a tar.
    ///
    /// # Errors
    /// When a layer cannot be read, or nobody takes the files any more.
    pub fn write_files(&self, out: impl Write) -> Result<()> {
        let mut archive =
            Archive::new(BufWriter::with_capacity(BUFFER, out)).with_latest(self.build.plan.epoch);
        if let Some(files) = self.files()? {
            archive.add(Path::new(""), &Node::Folder(files))?;
        }
        archive.finish()?.flush().map_err(linkspan_files::Error::Write)?;
        Ok(())
    }

    /// The files of the target; None when there are none.
    ///
    /// # Errors
    /// When a layer cannot be opened.
    pub fn files(&self) -> Result<Option<Folder>> {
        self.build.folder_of(&self.built.tree)
    }
}
