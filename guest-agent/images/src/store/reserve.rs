//! Room on the disk that is kept back, so that removing images works when nothing else does:
//! it writes a new index before it frees anything.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

use crate::error::{Error, Result};

use super::{Paths, Store};

/// Enough for the index of some thousand images, twice, and for folders.
const BYTES: u64 = 2 << 20;

/// A file of the store that holds nothing.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn new(paths: &Paths) -> Self {
        let reserve = Self { path: paths.reserve() };
        reserve.fill();
        reserve
    }

    /// Keeps the room back, unless there is none now: it is tried again after the next removal.
    fn fill(&self) {
        let allocate = || -> std::io::Result<()> {
            let file = File::options().create(true).truncate(false).write(true).open(&self.path)?;
            Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES)?)
        };
        if let Err(error) = allocate() {
            tracing::debug!(path = %self.path.display(), %error, "cannot keep room back");
        }
    }

    /// Gives the room up; `false` when there was none.
    fn spend(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

impl Store {
    /// Does something that will free space. If even that finds no room, it is done once more with
    /// the room that was kept back for it.
    pub(super) fn freeing<T>(&self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        match work() {
            Err(Error::NoSpace { .. }) if self.reserve.spend() => work(),
            other => other,
        }
    }

    /// Keeps room back again, out of what was freed.
    pub(super) fn freed(&self) {
        self.reserve.fill();
    }
}
