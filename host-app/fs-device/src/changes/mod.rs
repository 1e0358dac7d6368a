//! Changes that the host's programs make in the share, told to the guest so that its inotify
//! watchers hear of them; and what the guest's own changes mean for that.
//!
//! ```text
//!  host's programs --inotify--> watcher --compare--> tree --batch--> daemon --> agent
//!  guest's programs --FUSE----> watched --tell-----> tree                        |
//!                                  ^-- pretence <--FUSE, armed by the token -----+
//! ```
//!
//! The [`tree`] is what the guest has been told of. An event of inotify only says where to look: what
//! differs from the tree is a change to tell. What the guest itself did is noted in the tree in the
//! same step, under one lock, so nothing that it did can come back to it.
//!
//! The agent repeats a change by the system call that would make it, which has the guest's kernel
//! tell its watchers. The device answers as if it had done it, and does nothing ([`pretence`]).

mod events;
mod messages;
pub(crate) mod pretence;
pub(crate) mod tree;
pub(crate) mod watcher;

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::{Mutex, MutexGuard};
use pretence::Pretence;
use tree::Tree;

/// What both sides of the device know of changes: the one that serves the guest and the one that
/// watches the host.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Something is watched. While nothing is, the guest's requests pass without a look in here.
    active: AtomicBool,
    state: Mutex<State>,
}

/// See [`Changes`].
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) pretence: Pretence,
}

impl Changes {
    /// None: nothing is watched.
    pub(crate) fn active(&self) -> Option<MutexGuard<'_, State>> {
        self.active.load(Ordering::Acquire).then(|| self.state.lock())
    }

    /// For the watcher.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Release);
    }
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The folder's inode number.
    pub(crate) folder: u64,
    pub(crate) name: OsString,
}

/// What the guest is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) what: What,
    pub(crate) place: Place,
    /// Relative to the share.
    pub(crate) path: PathBuf,
    /// The type bits of `st_mode`.
    pub(crate) file_type: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Created {
        closed: bool,
    },
    Modified {
        closed: bool,
    },
    /// Closed after writing.
    Closed,
    Attributes,
    Removed {
        seen: tree::Seen,
    },
    Renamed {
        to: Place,
        new_path: PathBuf,
    },
}
