//! Owner, mode, attributes and time of what was made.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::Result;
use crate::tarball::{Entry, Time};

use super::super::tree::Names;
use super::Unpacker;

impl Unpacker<'_> {
    /// Owner, mode and attributes of something open. `fresh`: it was just made with this mode.
    pub(super) fn dress(
        &self,
        fd: &OwnedFd,
        path: &Names<'_>,
        entry: &Entry,
        fresh: bool,
    ) -> Result<()> {
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
    pub(super) fn dress_by_name(
        &self,
        folder: &OwnedFd,
        path: &Names<'_>,
        entry: &Entry,
    ) -> Result<()> {
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

pub(super) fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
