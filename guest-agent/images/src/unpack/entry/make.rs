//! Making what an entry is, by its kind, in place of what has its name.

use std::io::BufRead;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::tarball::{Entry, Kind, Map, Reader};

use super::super::tree::{Names, Tree, is_whiteout, join, kind};
use super::Unpacker;
use super::dress::times;

impl Unpacker<'_> {
    pub(super) fn make<R: BufRead>(
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
}
