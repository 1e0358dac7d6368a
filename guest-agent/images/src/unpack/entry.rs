//! One entry after the other: made, owned, dated; or a whiteout (OCI image-spec, layer.md, "Whiteouts").

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};
use crate::recipe;
use crate::tarball::{Entry, Kind, Map, Reader, Time};

use super::tree::{Names, Tree, Walk, is_whiteout, join, kind, names};
use super::{Limits, Target};

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

    fn make<R: BufRead>(
        &mut self,
        folder: &OwnedFd,
        path: &Names<'_>,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        match entry.kind {
            Kind::Folder => self.folder(folder, path, entry),
            Kind::File => self.file(folder, path, entry, reader),
            Kind::HardLink => self.hard_link(folder, path, entry),
            Kind::Symlink => self.symlink(folder, path, entry),
            Kind::Fifo => self.node(folder, path, entry, FileType::Fifo, 0),
            Kind::Char { major, minor } => {
                let device = rustix::fs::makedev(major, minor);
                self.node(folder, path, entry, FileType::CharacterDevice, device)
            }
            Kind::Block { major, minor } => {
                let device = rustix::fs::makedev(major, minor);
                self.node(folder, path, entry, FileType::BlockDevice, device)
            }
        }
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

    fn folder(&mut self, folder: &OwnedFd, path: &Names<'_>, entry: &Entry) -> Result<()> {
        let name = path[path.len() - 1];
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let (mut fresh, mut opaque) = (true, false);
        match rustix::fs::mkdirat(folder, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = self.tree.stat(folder, path)?;
                if stat.as_ref().is_some_and(|stat| kind(stat) == FileType::Directory) {
                    // Its contents stay, and the rest is as the last entry says.
                    fresh = false;
                } else {
                    opaque = stat.as_ref().is_some_and(is_whiteout);
                    self.displace(folder, path)?;
                    rustix::fs::mkdirat(folder, name, mode)
                        .map_err(|e| self.io("create", path, e))?;
                }
            }
            Err(errno) => return Err(self.io("create", path, errno)),
        }
        let made = self.tree.open_made(folder, path)?;
        self.dress(&made, path, entry, fresh)?;
        if opaque {
            self.tree.set_opaque(&made, path)?;
        }
        self.setgid |= entry.mode & 0o2000 != 0;
        self.folder_times.insert(join(path), entry.mtime);
        // The walk stands in the parent, unless something was displaced.
        let parent = &path[..path.len() - 1];
        self.tree.folder(&mut self.here, parent)?;
        self.here.enter(name, made);
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        folder: &OwnedFd,
        path: &Names<'_>,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let name = path[path.len() - 1];
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self.create(folder, path, || rustix::fs::openat(folder, name, flags, mode))?;
        let size = match &entry.sparse {
            None => {
                self.record(&file, path, 0)?;
                self.fill(&file, path, reader)?
            }
            Some(map) => self.fill_sparse(&file, path, map, reader)?,
        };
        if let Some(recipe) = self.recipe {
            recipe.borrow_mut().end();
        }
        self.tally.size_bytes = self.tally.size_bytes.saturating_add(size);
        self.dress(&file, path, entry, true)?;
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(|e| self.io("date", path, e))
    }

    /// The next contents are this file's, from this offset on.
    fn record(&self, file: &OwnedFd, path: &Names<'_>, offset: u64) -> Result<()> {
        if let Some(recipe) = self.recipe {
            let stat = rustix::fs::fstat(file).map_err(|e| self.io("look at", path, e))?;
            recipe.borrow_mut().begin(&join(path), stat.st_ino, offset);
        }
        Ok(())
    }

    fn fill<R: BufRead>(
        &self,
        file: &OwnedFd,
        path: &Names<'_>,
        reader: &mut Reader<R>,
    ) -> Result<u64> {
        let mut size = 0;
        loop {
            let bytes = reader.contents().map_err(|fault| fault.about(self.what))?;
            if bytes.is_empty() {
                return Ok(size);
            }
            let n = match rustix::io::write(file, bytes) {
                Err(Errno::INTR) => 0,
                other => other.map_err(|errno| self.io("write", path, errno))?,
            };
            reader.consume(n);
            size += n as u64;
        }
    }

    fn fill_sparse<R: BufRead>(
        &self,
        file: &OwnedFd,
        path: &Names<'_>,
        map: &Map,
        reader: &mut Reader<R>,
    ) -> Result<u64> {
        // Holes cost nothing here, but a copy of the file does.
        let limit = self.limits.layer_bytes;
        if self.tally.size_bytes.saturating_add(map.real_size) > limit {
            return Err(Error::TooLarge { what: self.what.to_owned(), limit, unit: "bytes" });
        }
        for (offset, length) in &map.segments {
            let (mut at, end) = (*offset, offset + length);
            self.record(file, path, at)?;
            while at < end {
                let bytes = reader.contents().map_err(|fault| fault.about(self.what))?;
                let wanted = bytes.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
                let n = match rustix::io::pwrite(file, &bytes[..wanted], at) {
                    Err(Errno::INTR) => 0,
                    other => other.map_err(|errno| self.io("write", path, errno))?,
                };
                reader.consume(n);
                at += n as u64;
            }
        }
        rustix::fs::ftruncate(file, map.real_size).map_err(|e| self.io("write", path, e))?;
        Ok(map.real_size)
    }

    /// The target is a name in the archive: an absolute one begins at the layer's top.
    fn hard_link(&mut self, folder: &OwnedFd, path: &Names<'_>, entry: &Entry) -> Result<()> {
        let target: Vec<Vec<u8>> =
            self.names(&entry.link)?.into_iter().map(<[u8]>::to_vec).collect();
        let target: Vec<&[u8]> = target.iter().map(Vec::as_slice).collect();
        if *target == *path {
            return Ok(());
        }
        let missing =
            |tree: &Tree<'_>| tree.corrupt(path, "is a hard link to nothing in the layer");
        let Some((name, folders)) = target.split_last() else { return Err(missing(&self.tree)) };
        let found = self.tree.find(&mut self.there, folders)?;
        let there = found.ok_or_else(|| missing(&self.tree))?;
        match self.tree.stat(&there, &target)? {
            None => return Err(missing(&self.tree)),
            Some(stat) if is_whiteout(&stat) => return Err(missing(&self.tree)),
            Some(stat) if kind(&stat) == FileType::Directory => {
                return Err(self.tree.corrupt(path, "is a hard link to a folder"));
            }
            Some(_) => {}
        }
        let new = path[path.len() - 1];
        let link = || rustix::fs::linkat(&*there, *name, folder, new, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => self.displace(folder, path)?,
            other => return other.map_err(|errno| self.io("create", path, errno)),
        }
        match link() {
            Ok(()) => Ok(()),
            // It lay in the folder that was replaced.
            Err(Errno::NOENT) => Err(missing(&self.tree)),
            Err(errno) => Err(self.io("create", path, errno)),
        }
    }

    fn symlink(&mut self, folder: &OwnedFd, path: &Names<'_>, entry: &Entry) -> Result<()> {
        if entry.link.is_empty() || entry.link.contains(&0) {
            return Err(self.tree.corrupt(path, "is a symbolic link without a target"));
        }
        let name = path[path.len() - 1];
        self.create(folder, path, || rustix::fs::symlinkat(&*entry.link, folder, name))?;
        self.dress_by_name(folder, path, entry)
    }

    fn node(
        &mut self,
        folder: &OwnedFd,
        path: &Names<'_>,
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<()> {
        let name = path[path.len() - 1];
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.create(folder, path, || rustix::fs::mknodat(folder, name, kind, mode, device))?;
        self.dress_by_name(folder, path, entry)?;
        // After the owner, because that change clears the set-id bits. It is no symbolic link.
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(folder, name, mode, AtFlags::empty())
            .map_err(|errno| self.io("set the mode of", path, errno))
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

    /// Makes something new, in place of what has the name.
    fn create<T>(
        &mut self,
        folder: &OwnedFd,
        path: &Names<'_>,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        let made = match make() {
            Err(Errno::EXIST) => {
                self.displace(folder, path)?;
                make()
            }
            other => other,
        };
        made.map_err(|errno| self.io("create", path, errno))
    }

    /// The last entry of a name wins, as with tar; all of a folder goes when it becomes a file.
    fn displace(&mut self, folder: &OwnedFd, path: &Names<'_>) -> Result<()> {
        let Some(stat) = self.tree.stat(folder, path)? else { return Ok(()) };
        self.tree.remove(folder, path, &stat)?;
        if let Some(recipe) = self.recipe {
            recipe.borrow_mut().displace();
        }
        match kind(&stat) {
            FileType::RegularFile if stat.st_nlink == 1 => {
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.tally.size_bytes = self.tally.size_bytes.saturating_sub(size);
            }
            FileType::Directory | FileType::Symlink => {
                self.here.forget();
                self.there.forget();
                let (path, below) = (join(path), [&join(path)[..], b"/"].concat());
                self.folder_times.remove(&path);
                let inside = |key: &&Vec<u8>| key.starts_with(&below);
                let gone: Vec<Vec<u8>> = self
                    .folder_times
                    .range(below.clone()..)
                    .map(|(key, _)| key)
                    .take_while(inside)
                    .cloned()
                    .collect();
                for key in gone {
                    self.folder_times.remove(&key);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Owner, mode and attributes of something open. `fresh`: it was just made with this mode.
    fn dress(&self, fd: &OwnedFd, path: &Names<'_>, entry: &Entry, fresh: bool) -> Result<()> {
        let plain = fresh && !self.setgid;
        if !plain || entry.uid != 0 || entry.gid != 0 {
            let (uid, gid) = owner(entry);
            rustix::fs::fchown(fd, uid, gid).map_err(|e| self.io("set the owner of", path, e))?;
        }
        // After the owner, because that change clears the set-id bits.
        if !plain || entry.mode & (0o7000 | self.umask) != 0 {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))
                .map_err(|e| self.io("set the mode of", path, e))?;
        }
        for (name, value) in wanted_xattrs(entry) {
            let set = rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty());
            self.check_xattr(set, path, name)?;
        }
        Ok(())
    }

    /// Owner, attributes and time of something that cannot be opened.
    fn dress_by_name(&self, folder: &OwnedFd, path: &Names<'_>, entry: &Entry) -> Result<()> {
        let name = path[path.len() - 1];
        if self.setgid || entry.uid != 0 || entry.gid != 0 {
            let (uid, gid) = owner(entry);
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| self.io("set the owner of", path, e))?;
        }
        for (attribute, value) in wanted_xattrs(entry) {
            let by_fd = Path::new("/proc/self/fd").join(folder.as_fd().as_raw_fd().to_string());
            let file = [by_fd.as_os_str().as_encoded_bytes(), b"/", name].concat();
            let set = rustix::fs::lsetxattr(&*file, attribute, value, XattrFlags::empty());
            self.check_xattr(set, path, attribute)?;
        }
        rustix::fs::utimensat(folder, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.io("date", path, e))
    }

    /// An attribute that the file system or this kind of file cannot have is left out, as Docker
    /// does.
    fn check_xattr(
        &self,
        set: rustix::io::Result<()>,
        path: &Names<'_>,
        name: &[u8],
    ) -> Result<()> {
        match set {
            Err(Errno::OPNOTSUPP | Errno::PERM) => {
                let (path, name) = (self.tree.shown(path), String::from_utf8_lossy(name));
                tracing::debug!(path = %path.display(), %name, "attribute left out");
                Ok(())
            }
            other => other.map_err(|e| self.io("set an attribute of", path, e)),
        }
    }

    fn io(&self, action: &'static str, path: &Names<'_>, errno: Errno) -> Error {
        match errno {
            // The name is what the archive says, and what no Linux file system can hold.
            Errno::NAMETOOLONG => self.tree.corrupt(path, "has too long a name"),
            errno => Error::io(action, &self.tree.shown(path), errno),
        }
    }
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// Without those that would speak to the VM instead of the container: overlayfs' own marks could
/// redirect lookups into other layers, SELinux labels belong to the machine that made them.
fn wanted_xattrs(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    const UNWANTED: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];
    let wanted = |name: &[u8]| {
        !name.is_empty() && !name.contains(&0) && !UNWANTED.iter().any(|u| name.starts_with(u))
    };
    entry
        .xattrs
        .iter()
        .filter(move |(name, _)| wanted(name))
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
}

fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
