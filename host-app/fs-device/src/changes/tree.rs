//! What the guest has been told of the folders that are watched: each folder's names, and of each
//! file what shows that it was changed. Knows neither inotify nor FUSE, and reads no file.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{Change, Place, What};

/// Of so many files the guest's last write is remembered. Beyond that one may be told to the guest
/// as if it were the host's, which does no harm.
const OWN_WRITES: usize = 4096;

/// What stat(2) says of a file, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// The inode number.
    pub(crate) inode: u64,
    /// `st_mode`.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) content: Content,
}

/// What changes with a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) size: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
}

impl Facts {
    pub(crate) fn file_type(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.file_type() == libc::S_IFDIR
    }

    fn is_same_file(&self, other: &Self) -> bool {
        self.inode == other.inode && self.file_type() == other.file_type()
    }
}

/// A name that the guest knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) facts: Facts,
    /// The guest's own number of the file, if it has looked it up since the watch began.
    pub(crate) node: Option<u64>,
    /// The host has written to it, and not closed it since.
    pub(crate) unclosed: bool,
}

impl Seen {
    fn new(facts: Facts) -> Self {
        Self { facts, node: None, unclosed: false }
    }
}

/// Where a watched folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A container has it: relative to the share.
    Top(PathBuf),
    /// In another one.
    In(Place),
}

#[derive(Debug)]
struct Folder {
    location: Location,
    /// Of a folder with files that containers have one by one: only those.
    only: Option<Vec<OsString>>,
    names: BTreeMap<OsString, Seen>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// By inode number. All are of one file system.
    folders: HashMap<u64, Folder>,
    names: usize,
    own_writes: HashMap<u64, Facts>,
}

impl Tree {
    pub(crate) fn folders(&self) -> impl Iterator<Item = u64> + '_ {
        self.folders.keys().copied()
    }

    pub(crate) fn folder_count(&self) -> usize {
        self.folders.len()
    }

    /// In all folders together.
    pub(crate) fn name_count(&self) -> usize {
        self.names
    }

    pub(crate) fn contains(&self, folder: u64) -> bool {
        self.folders.contains_key(&folder)
    }

    /// Whether a name of that folder is to be told of.
    pub(crate) fn covers(&self, folder: u64, name: &OsStr) -> bool {
        self.folders.get(&folder).is_some_and(|folder| {
            folder.only.as_ref().is_none_or(|only| only.iter().any(|one| one == name))
        })
    }

    /// Begins with a folder; what is in it is no news.
    pub(crate) fn add(
        &mut self,
        inode: u64,
        location: Location,
        only: Option<Vec<OsString>>,
        names: impl IntoIterator<Item = (OsString, Facts)>,
    ) {
        let names: BTreeMap<_, _> =
            names.into_iter().map(|(name, facts)| (name, Seen::new(facts))).collect();
        self.names += names.len();
        let folder = Folder { location, only, names };
        if let Some(old) = self.folders.insert(inode, folder) {
            self.names -= old.names.len();
        }
    }

    /// Lets go of a folder and of those in it; answers with all of them.
    pub(crate) fn drop_below(&mut self, folder: u64) -> Vec<u64> {
        let (mut gone, mut next) = (Vec::new(), vec![folder]);
        while let Some(inode) = next.pop() {
            let Some(folder) = self.folders.remove(&inode) else { continue };
            self.names -= folder.names.len();
            let inner = folder.names.values().filter(|seen| seen.facts.is_folder());
            next.extend(inner.map(|seen| seen.facts.inode));
            gone.push(inode);
        }
        gone
    }

    /// Relative to the share. None: it is not watched, or a folder above has gone.
    pub(crate) fn path(&self, folder: u64) -> Option<PathBuf> {
        let mut names = Vec::new();
        let mut at = folder;
        // A loop is impossible in a tree; while a move is half known there might be one.
        for _ in 0..libc::PATH_MAX {
            match &self.folders.get(&at)?.location {
                Location::Top(path) => {
                    return Some(
                        names.iter().rev().fold(path.clone(), |path, name| path.join(name)),
                    );
                }
                Location::In(place) => {
                    names.push(&place.name);
                    at = place.folder;
                }
            }
        }
        None
    }

    pub(crate) fn names_of(&self, folder: u64) -> Vec<OsString> {
        self.folders.get(&folder).into_iter().flat_map(|it| it.names.keys().cloned()).collect()
    }

    pub(crate) fn seen(&self, place: &Place) -> Option<&Seen> {
        self.folders.get(&place.folder)?.names.get(&place.name)
    }

    /// Folders in `folder` that are not watched themselves.
    pub(crate) fn unwatched_in(&self, folder: u64) -> Vec<(u64, OsString)> {
        let names = self.folders.get(&folder).filter(|it| it.only.is_none());
        names
            .into_iter()
            .flat_map(|it| &it.names)
            .filter(|(_, seen)| seen.facts.is_folder())
            .filter(|(_, seen)| !self.folders.contains_key(&seen.facts.inode))
            .map(|(name, seen)| (seen.facts.inode, name.clone()))
            .collect()
    }

    /// The guest has looked a name up.
    pub(crate) fn looked_up(&mut self, place: &Place, inode: u64, node: u64) {
        if let Some(seen) = self.seen_mut(place)
            && seen.facts.inode == inode
        {
            seen.node = Some(node);
        }
    }

    /// The guest itself has made or replaced a name: no news.
    pub(crate) fn guest_put(&mut self, place: &Place, facts: Facts, node: Option<u64>) {
        if self.covers(place.folder, &place.name) {
            self.put(place, Seen { node, ..Seen::new(facts) });
        }
    }

    /// The guest itself has removed a name: no news.
    pub(crate) fn guest_removed(&mut self, place: &Place) {
        self.take(place);
    }

    /// The guest itself has written to a file, or changed its attributes: no news.
    pub(crate) fn guest_wrote(&mut self, facts: Facts) {
        if self.own_writes.len() >= OWN_WRITES && !self.own_writes.contains_key(&facts.inode) {
            self.own_writes.clear();
        }
        self.own_writes.insert(facts.inode, facts);
    }

    /// A folder that is watched has another place now.
    pub(crate) fn moved(&mut self, inode: u64, to: &Place) {
        if let Some(folder) = self.folders.get_mut(&inode)
            && matches!(folder.location, Location::In(_))
        {
            folder.location = Location::In(to.clone());
        }
    }

    /// Compares a name with what is there now; what differs is told. `closed`: somebody closed it
    /// after writing.
    pub(crate) fn compare(
        &mut self,
        place: &Place,
        now: Option<Facts>,
        closed: bool,
    ) -> Vec<Change> {
        if !self.covers(place.folder, &place.name) {
            return Vec::new();
        }
        let Some(folder) = self.path(place.folder) else { return Vec::new() };
        let path = folder.join(&place.name);
        let before = self.seen(place).copied();
        let change =
            |what, file_type| Change { what, place: place.clone(), path: path.clone(), file_type };
        match (before, now) {
            (None, None) => Vec::new(),
            (Some(before), None) => {
                self.take(place);
                vec![change(What::Removed { seen: before }, before.facts.file_type())]
            }
            (None, Some(now)) => {
                self.put_new(place, now, closed);
                vec![change(What::Created { closed }, now.file_type())]
            }
            (Some(before), Some(now)) if !before.facts.is_same_file(&now) => {
                self.take(place);
                self.put_new(place, now, closed);
                vec![
                    change(What::Removed { seen: before }, before.facts.file_type()),
                    change(What::Created { closed }, now.file_type()),
                ]
            }
            (Some(before), Some(now)) => {
                let what = self.compare_file(place, &before, now, closed);
                what.map(|what| change(what, now.file_type())).into_iter().collect()
            }
        }
    }

    fn put_new(&mut self, place: &Place, facts: Facts, closed: bool) {
        let is_file = facts.file_type() == libc::S_IFREG;
        self.put(place, Seen { unclosed: is_file && !closed, ..Seen::new(facts) });
    }

    fn compare_file(
        &mut self,
        place: &Place,
        before: &Seen,
        now: Facts,
        closed: bool,
    ) -> Option<What> {
        let own = self.own_writes.get(&now.inode) == Some(&now);
        let seen = self.seen_mut(place)?;
        seen.facts = now;
        // A folder's times change with the names in it, which are told by themselves.
        if !now.is_folder() && before.facts.content != now.content && !own {
            seen.unclosed = !closed;
            return Some(What::Modified { closed });
        }
        if closed && before.unclosed {
            seen.unclosed = false;
            return Some(What::Closed);
        }
        let attributes = |facts: &Facts| (facts.mode, facts.owner);
        (attributes(&before.facts) != attributes(&now) && !own).then_some(What::Attributes)
    }

    /// Somebody of the host has moved a name within what is watched. `None`, and nothing is changed:
    /// that is not what it looks like any more, and both names are to be compared.
    pub(crate) fn compare_move(
        &mut self,
        from: &Place,
        to: &Place,
        from_now: Option<Facts>,
        to_now: Option<Facts>,
    ) -> Option<Change> {
        let now = to_now?;
        if from_now.is_some_and(|facts| facts.is_same_file(&now))
            || !self.covers(from.folder, &from.name)
            || !self.covers(to.folder, &to.name)
        {
            return None;
        }
        let before = self.seen(from).copied();
        if before.is_some_and(|seen| !seen.facts.is_same_file(&now)) {
            return None;
        }
        // The guest itself has moved it.
        if self.seen(to).is_some_and(|seen| seen.facts.is_same_file(&now)) {
            return None;
        }
        let path = self.path(from.folder)?.join(&from.name);
        let new_path = self.path(to.folder)?.join(&to.name);
        self.take(from);
        self.take(to);
        let seen = before.unwrap_or(Seen::new(now));
        // With the old facts: what was written to it is told by the next comparison.
        self.put(to, seen);
        self.moved(now.inode, to);
        Some(Change {
            what: What::Renamed { to: to.clone(), new_path },
            place: from.clone(),
            path,
            file_type: now.file_type(),
        })
    }

    fn seen_mut(&mut self, place: &Place) -> Option<&mut Seen> {
        self.folders.get_mut(&place.folder)?.names.get_mut(&place.name)
    }

    fn put(&mut self, place: &Place, seen: Seen) {
        if let Some(folder) = self.folders.get_mut(&place.folder)
            && folder.names.insert(place.name.clone(), seen).is_none()
        {
            self.names += 1;
        }
    }

    fn take(&mut self, place: &Place) {
        if let Some(folder) = self.folders.get_mut(&place.folder)
            && folder.names.remove(&place.name).is_some()
        {
            self.names -= 1;
        }
    }
}

/// The share's own folder has no name.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
