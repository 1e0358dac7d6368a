//! One entry after the other: where it goes; or a whiteout (OCI image-spec, layer.md, "Whiteouts").

mod dress;
mod make;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};
use crate::recipe;
use crate::tarball::{Entry, Kind, Reader, Time};

use super::tree::{Names, Tree, Walk, kind, names};
use super::{Limits, Target};

use dress::times;

const WHITEOUT: &[u8] = b".wh.";
/// AUFS' own affairs, which Docker skips too; but for the opaque mark.
const WHITEOUT_META: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// What was unpacked.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) size_bytes: u64,
    pub(super) entries: u64,
    pub(super) opaque: bool,
}

/// Carries out the entries of one layer.
pub(super) struct Unpacker<'a> {
    what: &'a str,
    limits: &'a Limits,
    tree: Tree<'a>,
    /// Of the entries, and of the targets of hard links.
    here: Walk,
    there: Walk,
    /// Set at the end, because filling a folder changes its time. The key is the joined name.
    folder_times: BTreeMap<Vec<u8>, Time>,
    tally: Tally,
    /// The process's umask: which modes the kernel does not set as asked.
    umask: u32,
    /// A folder was made that passes its group on.
    setgid: bool,
    purpose: Purpose<'a>,
    recipe: Option<&'a RefCell<recipe::Writer>>,
}

/// From a user and a group of a container to who they are outside; None: nobody.
pub type MapIds = dyn Fn(u32, u32) -> Option<(u32, u32)> + Sync;

/// What the entries are meant for.
pub(super) enum Purpose<'a> {
    /// A layer of an image: some names are whiteouts.
    Layer,
    /// Files for a container, below this folder of it.
    Copy { folder: Vec<Vec<u8>>, keep_owner: bool, ids: Option<&'a MapIds> },
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(target: &Target<'a>, limits: &'a Limits) -> Result<Self> {
        let tree = Tree::open(target)?;
        let root = tree.root();
        // The folder was just made with 0777, less the umask.
        let made = rustix::fs::fstat(root).context("look at", target.root)?;
        rustix::fs::fchmod(root, Mode::from_raw_mode(0o755)).context("create", target.root)?;
        Ok(Self {
            what: target.what,
            limits,
            tree,
            here: Walk::default(),
            there: Walk::default(),
            folder_times: BTreeMap::new(),
            tally: Tally::default(),
            umask: !made.st_mode & 0o777,
            setgid: false,
            purpose: Purpose::Layer,
            recipe: target.recipe,
        })
    }

    /// For a copy into a container.
    pub(super) fn into_container(
        what: &'a str,
        limits: &'a Limits,
        tree: Tree<'a>,
        purpose: Purpose<'a>,
    ) -> Self {
        Self {
            what,
            limits,
            tree,
            here: Walk::default(),
            there: Walk::default(),
            folder_times: BTreeMap::new(),
            tally: Tally::default(),
            // Not asked for: every mode is set.
            umask: 0o777,
            setgid: true,
            purpose,
            recipe: None,
        }
    }

    /// The names of a path in the archive, as the tree has them.
    fn names<'p>(&'p self, path: &'p [u8]) -> Result<Vec<&'p [u8]>> {
        let own = names(path, self.what, self.limits.depth)?;
        Ok(match &self.purpose {
            Purpose::Layer => own,
            Purpose::Copy { folder, .. } => folder.iter().map(Vec::as_slice).chain(own).collect(),
        })
    }

    fn outside(&self, uid: u32, gid: u32, ids: Option<&MapIds>) -> Result<(u32, u32)> {
        let Some(ids) = ids else { return Ok((uid, gid)) };
        ids(uid, gid).ok_or_else(|| {
            let why = format!("its owner {uid}:{gid} cannot be mapped to ids of the machine");
            Error::corrupt(self.what, why)
        })
    }

    /// Carries out one entry, reading its contents from `reader`.
    pub(super) fn apply<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        self.tally.entries += 1;
        if self.tally.entries > self.limits.layer_entries {
            let limit = self.limits.layer_entries;
            return Err(Error::TooLarge { what: self.what.to_owned(), limit, unit: "entries" });
        }
        let given;
        let entry = match self.purpose {
            Purpose::Layer | Purpose::Copy { keep_owner: true, ids: None, .. } => entry,
            Purpose::Copy { keep_owner, ids, .. } => {
                let (uid, gid) = if keep_owner { (entry.uid, entry.gid) } else { (0, 0) };
                let (uid, gid) = self.outside(uid, gid, ids)?;
                given = Entry { uid, gid, ..entry.clone() };
                &given
            }
        };
        if let Purpose::Copy { folder, .. } = &self.purpose {
            let folder = folder.clone();
            return self.copy(&folder, entry, reader);
        }
        let path = names(&entry.path, self.what, self.limits.depth)?;
        let Some((name, folders)) = path.split_last() else { return self.root(entry) };
        if *name == WHITEOUT_OPAQUE {
            return self.opaque(folders);
        }
        if path.iter().any(|name| name.starts_with(WHITEOUT_META)) {
            return Ok(());
        }
        let folder = self.tree.folder(&mut self.here, folders)?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            let mut path = folders.to_vec();
            path.push(hidden);
            return self.whiteout(&folder, &path);
        }
        self.make(&folder, &path, entry, reader)
    }

    /// An entry of a copy: no name has a meaning of its own, the folder that all goes to stays as
    /// it is, and a folder and what is none replace each other only if they may (Docker's
    /// `NoOverwriteDirNonDir`).
    fn copy<R: BufRead>(
        &mut self,
        below: &[Vec<u8>],
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let own = names(&entry.path, self.what, self.limits.depth)?;
        if own.is_empty() {
            return Ok(());
        }
        let path: Vec<&[u8]> = below.iter().map(Vec::as_slice).chain(own).collect();
        let Some((_, folders)) = path.split_last() else { return Ok(()) };
        let folder = self.tree.folder(&mut self.here, folders)?;
        if entry.kind == Kind::Folder
            && !self.tree.replaces_kinds
            && self.tree.stat(&folder, &path)?.is_some_and(|s| kind(&s) != FileType::Directory)
        {
            return Err(self.tree.corrupt(&path, "is a folder, and would replace what is none"));
        }
        self.make(&folder, &path, entry, reader)
    }

    /// Dates the folders.
    pub(super) fn finish(mut self) -> Result<Tally> {
        for (path, time) in std::mem::take(&mut self.folder_times) {
            // A copy's own folder may lie deeper than an archive may reach.
            let path = names(&path, self.what, usize::MAX)?;
            let Some((name, folders)) = path.split_last() else {
                rustix::fs::futimens(self.tree.root(), &times(time))
                    .map_err(|errno| Error::io("date", &self.tree.shown(&path), errno))?;
                continue;
            };
            if let Some(folder) = self.tree.find(&mut self.here, folders)? {
                rustix::fs::utimensat(&*folder, *name, &times(time), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| Error::io("date", &self.tree.shown(&path), errno))?;
            }
        }
        Ok(self.tally)
    }

    /// The layer's top folder.
    fn root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Folder {
            let why = format!("`{}` is in the place of its top folder", entry.path.escape_ascii());
            return Err(Error::corrupt(self.what, why));
        }
        let root = Rc::clone(self.tree.root());
        self.setgid |= entry.mode & 0o2000 != 0;
        self.dress(&root, &[], entry, false)?;
        self.folder_times.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    /// A name of the layers below is gone. What this layer has under that name stays, whichever of the
    /// two comes first.
    fn whiteout(&mut self, folder: &OwnedFd, path: &Names<'_>) -> Result<()> {
        let name = path[path.len() - 1];
        if matches!(name, b"" | b"." | b"..") {
            return Err(self.tree.corrupt(path, "is not a name that can be hidden"));
        }
        match self.tree.stat(folder, path)? {
            None => rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|errno| self.io("hide", path, errno)),
            Some(stat) if kind(&stat) == FileType::Directory => {
                let own = self.tree.open_made(folder, path)?;
                self.tree.set_opaque(&own, path)
            }
            Some(_) => Ok(()),
        }
    }

    fn opaque(&mut self, folders: &Names<'_>) -> Result<()> {
        if folders.is_empty() {
            self.tally.opaque = true;
            return Ok(());
        }
        let folder = self.tree.folder(&mut self.here, folders)?;
        self.tree.set_opaque(&folder, folders)
    }

    fn io(&self, action: &'static str, path: &Names<'_>, errno: Errno) -> Error {
        match errno {
            // The name is what the archive says, and what no Linux file system can hold.
            Errno::NAMETOOLONG => self.tree.corrupt(path, "has too long a name"),
            errno => Error::io(action, &self.tree.shown(path), errno),
        }
    }
}
