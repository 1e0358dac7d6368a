//! Copies a tree into a folder: contents, owners, modes, times, extended attributes, hard links.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::changes::raw_names;
use crate::error::{Error, Result};
use crate::merged::{Folder, Leaf, Node, READ};

/// Overlayfs' own marks are not part of what it shows.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// Copies what is in `from` into the empty folder `to`, which becomes as `from` is.
///
/// # Errors
/// Names what could not be copied. What was copied before stays.
pub fn tree(from: &Folder, to: impl AsFd) -> Result<()> {
    Copier::default().folder(from, &to)
}

/// Removes a name from the top layer of a folder, with all that is below it. Nothing there: nothing to do.
///
/// # Errors
/// Names what could not be removed.
pub fn remove(from: &Folder, name: &OsStr) -> Result<()> {
    let path = from.path().join(name);
    let top = from.top()?;
    match rustix::fs::unlinkat(top, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::io("remove", &path)(errno)),
    }
    let flags = READ | OFlags::DIRECTORY;
    let folder = rustix::fs::openat(top, name, flags, Mode::empty());
    let folder = Folder::plain(folder.map_err(Error::io("remove", &path))?);
    for below in raw_names(&folder)? {
        remove(&folder, &below)?;
    }
    rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR).map_err(Error::io("remove", &path))
}

#[derive(Default)]
struct Copier {
    /// Files with several names: where the first of them went.
    links: HashMap<(u64, u64), (Rc<OwnedFd>, std::ffi::OsString)>,
}

impl Copier {
    fn folder(&mut self, from: &Folder, to: &impl AsFd) -> Result<()> {
        let here = to.as_fd().try_clone_to_owned().map_err(|source| Error::Io {
            action: "copy",
            path: from.path().to_owned(),
            source,
        })?;
        let here = Rc::new(here);
        for name in from.names()? {
            match from.child(&name)? {
                // It has gone since the names were read.
                None => {}
                Some(Node::Folder(folder)) => {
                    let failed = |errno| Error::io("copy", folder.path())(errno);
                    let mode = Mode::from_raw_mode(0o700);
                    rustix::fs::mkdirat(&*here, &*name, mode).map_err(failed)?;
                    let flags = READ | OFlags::DIRECTORY;
                    let made =
                        rustix::fs::openat(&*here, &*name, flags, Mode::empty()).map_err(failed)?;
                    self.folder(&folder, &made)?;
                }
                Some(Node::Leaf(leaf)) => self.leaf(&leaf, &here, &name)?,
            }
        }
        // Last: filling a folder changes its times.
        dress(from.top()?, &*here, &from.stat()?, from.path())
    }

    fn leaf(&mut self, leaf: &Leaf, folder: &Rc<OwnedFd>, name: &OsStr) -> Result<()> {
        let failed = |errno| Error::io("copy", leaf.path())(errno);
        let stat = leaf.stat();
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some((place, first)) = self.links.get(&key) {
                let flags = AtFlags::empty();
                return rustix::fs::linkat(&**place, &**first, &**folder, name, flags)
                    .map_err(failed);
            }
            self.links.insert(key, (Rc::clone(folder), name.to_owned()));
        }
        match leaf.kind() {
            FileType::RegularFile => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o600);
                let to = rustix::fs::openat(&**folder, name, flags, mode).map_err(failed)?;
                let (mut source, mut target) = (File::from(leaf.open()?), File::from(to));
                // copy_file_range(2) where the file system has it.
                std::io::copy(&mut source, &mut target).map_err(|source| Error::Io {
                    action: "copy",
                    path: leaf.path().to_owned(),
                    source,
                })?;
                return dress(&source, &target, stat, leaf.path());
            }
            FileType::Symlink => {
                rustix::fs::symlinkat(leaf.target()?, &**folder, name).map_err(failed)?;
            }
            kind @ (FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice) => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(&**folder, name, kind, mode, stat.st_rdev).map_err(failed)?;
            }
            // A socket is its listener's, which is not copied.
            _ => return Ok(()),
        }
        let (uid, gid) = owner(stat);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&**folder, name, uid, gid, nofollow).map_err(failed)?;
        if leaf.kind() != FileType::Symlink {
            let mode = Mode::from_raw_mode(stat.st_mode);
            rustix::fs::chmodat(&**folder, name, mode, AtFlags::empty()).map_err(failed)?;
        }
        rustix::fs::utimensat(&**folder, name, &times(stat), nofollow).map_err(failed)
    }
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps {
        last_access: time(stat.st_atime, i64::try_from(stat.st_atime_nsec).unwrap_or(0)),
        last_modification: time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
    }
}

/// Owner, mode, attributes and times of something open.
fn dress(from: impl AsFd, to: impl AsFd, stat: &Stat, path: &Path) -> Result<()> {
    let failed = |errno| Error::io("copy", path)(errno);
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(&to, uid, gid).map_err(failed)?;
    // After the owner, because that change clears the set-id bits.
    rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(failed)?;
    for (name, value) in attributes(from).map_err(failed)? {
        match rustix::fs::fsetxattr(&to, &*name, &value, XattrFlags::empty()) {
            // What this file system cannot have is left out, as Docker does.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    rustix::fs::futimens(&to, &times(stat)).map_err(failed)
}

/// Extended attributes without overlayfs' own.
pub(crate) fn attributes(of: impl AsFd) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::flistxattr(&of, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(OVERLAY) {
            continue;
        }
        // As long as a value can be (xattr(7)).
        let mut value = vec![0; 64 * 1024];
        match rustix::fs::fgetxattr(&of, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            // It has gone since the names were read.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        }
        found.push((name.to_vec(), value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn a_copy_is_as_the_original() {
        let work = tempfile::tempdir().unwrap();
        let (from, to) = (work.path().join("from"), work.path().join("to"));
        fs::create_dir_all(from.join("sub/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::hard_link(from.join("sub/file"), from.join("again")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let old = fs::File::open(from.join("sub/file")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(5, 7)).unwrap();
        drop(old);

        let folder = fs::File::open(&to).unwrap();
        tree(&Folder::of_layers(&[&from]).unwrap(), &folder).unwrap();

        let file = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!(fs::read_to_string(to.join("again")).unwrap(), "content");
        assert_eq!((file.mode() & 0o7777, file.mtime(), file.mtime_nsec()), (0o4751, 5, 7));
        assert_eq!(file.ino(), fs::metadata(to.join("again")).unwrap().ino());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o1777);
        assert!(to.join("sub/deep").is_dir());
    }

    #[test]
    fn what_is_removed_goes_with_all_below_it_and_without_what_it_points_to() {
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name);
        fs::create_dir_all(path("top/below/deep")).unwrap();
        fs::write(path("top/below/file"), "x").unwrap();
        fs::create_dir(path("kept")).unwrap();
        fs::write(path("kept/file"), "x").unwrap();
        symlink(path("kept"), path("top/link")).unwrap();
        let folder = Folder::of_layers(&[work.path()]).unwrap();
        for name in ["top", "nothing"] {
            remove(&folder, OsStr::new(name)).unwrap();
        }
        assert!(!path("top").exists() && path("kept/file").exists());
    }
}
