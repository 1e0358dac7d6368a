//! The share as the guest sees it, with an eye on what its requests mean for [`Changes`]: what the
//! guest changes is no news, and what the agent repeats is not done.
//!
//! While nothing is watched every request passes through.

mod requests;

use std::{
    ffi::{CStr, OsStr},
    io,
    os::unix::ffi::OsStrExt as _,
    sync::Arc,
    time::Duration,
};

use libc::{ENOENT, EPERM};
use parking_lot::MutexGuard;
use virtiofsd::{
    filesystem::{Context, Entry, FileSystem},
    fuse::Attr,
    soft_idmap::Id as _,
};

use crate::changes::{
    Changes, Place, State, What,
    pretence::{self, Answer},
    tree::{Content, Facts, Seen},
};
use crate::pages::Pages;

/// So long the guest believes in a file that is about to be removed before its eyes.
const BRIEFLY: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Watched<F> {
    inner: F,
    changes: Arc<Changes>,
    pages: Pages,
}

impl<F: FileSystem<Inode = u64, Handle = u64>> Watched<F> {
    pub(crate) fn new(inner: F, changes: Arc<Changes>) -> Self {
        Self { inner, changes, pages: Pages::default() }
    }

    fn place(&self, ctx: Context, folder: u64, name: &CStr) -> Option<Place> {
        let (attr, _) = self.inner.getattr(ctx, folder, None).ok()?;
        Some(Place { folder: attr.ino, name: OsStr::from_bytes(name.to_bytes()).to_owned() })
    }

    /// Refuses a request of the agent that is none of those that repeat its change.
    fn unarmed(state: Option<&State>, ctx: Context) -> io::Result<()> {
        match state.and_then(|state| state.pretence.armed(ctx.pid)) {
            Some(_) => Err(io::Error::from_raw_os_error(EPERM)),
            None => Ok(()),
        }
    }

    /// The answer to an armed thread. None: the truth.
    fn pretend(&self, state: &mut State, ctx: Context, place: &Place) -> Option<io::Result<Entry>> {
        let change = state.pretence.armed(ctx.pid)?;
        match pretence::lookup(change, place) {
            Answer::Truth => None,
            Answer::Absent => Some(Err(io::Error::from_raw_os_error(ENOENT))),
            Answer::Gone(seen) => Some(Ok(self.gone(state, ctx, &seen))),
            Answer::At(to) => {
                let node = state.pretence.node_of(to.folder)?;
                let name = std::ffi::CString::new(to.name.as_bytes()).ok()?;
                Some(self.inner.lookup(ctx, node, &name))
            }
        }
    }

    /// A file that is gone, as if it were there: the one that the guest knows, so that who watches the
    /// file itself hears of it too; else one that never was.
    fn gone(&self, state: &mut State, ctx: Context, seen: &Seen) -> Entry {
        let known = seen.node.and_then(|node| {
            let (attr, _) = self.inner.getattr(ctx, node, None).ok()?;
            // The guest takes away the name that the host has taken away.
            let attr = Attr { nlink: attr.nlink.saturating_add(1), ..attr };
            (attr.ino == seen.facts.inode).then_some((node, attr))
        });
        let (inode, attr) = known.unwrap_or_else(|| (state.pretence.invent(), last_facts(seen)));
        state.pretence.lend(inode);
        Entry { inode, generation: 0, attr, attr_timeout: BRIEFLY, entry_timeout: BRIEFLY }
    }

    /// A request that makes a name.
    fn make(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        make: impl FnOnce() -> io::Result<Entry>,
    ) -> io::Result<Entry> {
        let Some(mut state) = self.changes.active() else { return make() };
        let place = self.place(ctx, parent, name);
        if let Some(change) = state.pretence.armed(ctx.pid) {
            return match &change.what {
                What::Created { .. } if place.as_ref() == Some(&change.place) => {
                    let entry = self.inner.lookup(ctx, parent, name)?;
                    note_lookup(&mut state, place.as_ref(), &entry);
                    Ok(entry)
                }
                _ => Err(io::Error::from_raw_os_error(EPERM)),
            };
        }
        let entry = make()?;
        if let Some(place) = place {
            state.tree.guest_put(&place, facts(&entry.attr), Some(entry.inode));
        }
        Ok(entry)
    }

    /// A request that removes a name.
    fn remove(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        remove: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(mut state) = self.changes.active() else { return remove() };
        let place = self.place(ctx, parent, name);
        if let Some(change) = state.pretence.armed(ctx.pid) {
            return match &change.what {
                What::Removed { .. } if place.as_ref() == Some(&change.place) => Ok(()),
                _ => Err(io::Error::from_raw_os_error(EPERM)),
            };
        }
        remove()?;
        if let Some(place) = place {
            state.tree.guest_removed(&place);
        }
        Ok(())
    }

    /// Notes what has become of a name that the guest has moved from or to.
    fn renew(&self, state: &mut State, ctx: Context, parent: u64, name: &CStr) {
        let Some(place) = self.place(ctx, parent, name) else { return };
        match self.inner.lookup(ctx, parent, name) {
            Ok(entry) => {
                self.inner.forget(ctx, entry.inode, 1);
                let facts = facts(&entry.attr);
                if facts.is_folder() {
                    if state.tree.covers(place.folder, &place.name) {
                        state.tree.moved(facts.inode, &place);
                    } else {
                        state.tree.drop_below(facts.inode);
                    }
                }
                state.tree.guest_put(&place, facts, Some(entry.inode));
            }
            Err(_) => state.tree.guest_removed(&place),
        }
    }

    /// The guest has changed a file.
    fn note_write(&self, state: Option<MutexGuard<'_, State>>, ctx: Context, inode: u64) {
        if let Some(mut state) = state
            && let Ok((attr, _)) = self.inner.getattr(ctx, inode, None)
        {
            state.tree.guest_wrote(facts(&attr));
        }
    }
}

fn note_lookup(state: &mut State, place: Option<&Place>, entry: &Entry) {
    if let Some(place) = place {
        state.tree.looked_up(place, entry.attr.ino, entry.inode);
    }
}

fn facts(attr: &Attr) -> Facts {
    Facts {
        inode: attr.ino,
        mode: attr.mode,
        owner: (attr.uid.into_inner(), attr.gid.into_inner()),
        content: Content { size: attr.size, mtime: (attr.mtime.cast_signed(), attr.mtimensec) },
    }
}

fn last_facts(seen: &Seen) -> Attr {
    Attr {
        ino: seen.facts.inode,
        size: seen.facts.content.size,
        mode: seen.facts.mode,
        nlink: 1,
        uid: seen.facts.owner.0.into(),
        gid: seen.facts.owner.1.into(),
        ..Attr::default()
    }
}

#[cfg(test)]
#[path = "watched_tests.rs"]
mod tests;
