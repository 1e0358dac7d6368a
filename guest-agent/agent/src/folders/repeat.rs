//! Repeats changes of the host in the guest, so that its kernel tells who watches.
//!
//! The system call that makes a change is what has the kernel tell of it; fsnotify knows no other way,
//! and the kernel is the distribution's own. The share's device answers as if it had carried the call
//! out, and does nothing: it knows the thread that armed the change (see [`arm`]). Events belong to the
//! file and not to a mount, so also those hear who have it through a read-only mount.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use linkspan_proto::v1::{FolderChange, FolderChangeKind, FolderChanges};
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps,
        UTIME_OMIT, mkdirat, mknodat, open, openat, openat2, renameat, statat, statx, symlinkat,
        unlinkat, utimensat,
    },
    io::Errno,
};

/// All changes of one batch, in their order. Blocking; on one thread, which the device knows. One that
/// fails is let go: what it was about has changed again, and that is told by another.
///
/// # Errors
/// When the share cannot be opened.
pub(super) fn all(share: &Path, changes: &FolderChanges) -> Result<(), Errno> {
    let share = open(share, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for (number, change) in changes.changes.iter().enumerate() {
        let word = format!(".linkspan-{}-{number}", changes.token);
        if let Err(errno) = one(&share, &word, change) {
            let (kind, reason) = (change.kind().as_str_name(), errno.to_string());
            let path = String::from_utf8_lossy(&change.path);
            tracing::debug!(%path, kind, reason, "a change of the host could not be repeated");
        }
    }
    Ok(())
}

fn one(share: &OwnedFd, word: &str, change: &FolderChange) -> Result<(), Errno> {
    let at = Named::open(share, &change.path)?;
    arm(&at.folder, word)?;
    let is_folder = FileType::from_raw_mode(change.file_type) == FileType::Directory;
    match change.kind() {
        FolderChangeKind::Created => create(&at, change),
        FolderChangeKind::Modified => modify(&at, change.closed),
        FolderChangeKind::Closed => open_to_write(&at).map(drop),
        FolderChangeKind::Attributes => touch(&at, true),
        FolderChangeKind::Removed => {
            let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            unlinkat(&at.folder, at.name, flags)
        }
        FolderChangeKind::Renamed => {
            let to = Named::open(share, &change.new_path)?;
            arm(&to.folder, word)?;
            renameat(&at.folder, at.name, &to.folder, to.name)
        }
        FolderChangeKind::Unspecified => Err(Errno::OPNOTSUPP),
    }
}

/// A name in a folder of the share.
struct Named<'a> {
    folder: OwnedFd,
    name: &'a OsStr,
}

impl<'a> Named<'a> {
    /// Over no link: containers can make some.
    fn open(share: &OwnedFd, path: &'a [u8]) -> Result<Self, Errno> {
        let path = Path::new(OsStr::from_bytes(path));
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(Self { folder: openat2(share, parent, flags, Mode::empty(), resolve)?, name })
    }
}

/// From now on the device takes this thread's requests for a repetition of the change that `word`
/// names, and carries out none. Only its own answer says so: without that nothing may be done, because
/// it would be done.
fn arm(folder: &OwnedFd, word: &str) -> Result<(), Errno> {
    match statat(folder, word, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::ALREADY) => Ok(()),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

fn create(at: &Named<'_>, change: &FolderChange) -> Result<(), Errno> {
    let mode = Mode::RUSR | Mode::WUSR;
    let file_type = FileType::from_raw_mode(change.file_type);
    match file_type {
        FileType::Directory => mkdirat(&at.folder, at.name, mode),
        FileType::Symlink => symlinkat(".", &at.folder, at.name),
        _ => mknodat(&at.folder, at.name, file_type, mode, 0),
    }?;
    if file_type != FileType::RegularFile {
        return Ok(());
    }
    if statat(&at.folder, at.name, AtFlags::SYMLINK_NOFOLLOW)?.st_size > 0 {
        modify(at, change.closed)
    } else if change.closed {
        open_to_write(at).map(drop)
    } else {
        Ok(())
    }
}

/// As a program would that opens the file, writes to it and closes it, or has yet to close it.
fn modify(at: &Named<'_>, closed: bool) -> Result<(), Errno> {
    // The kernel asks for the attributes and drops what it has kept of the content, if that is old.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    statx(&at.folder, at.name, flags, StatxFlags::BASIC_STATS)?;
    // A program that is being executed cannot be opened so: there is no close to tell of then.
    let opened = if closed { open_to_write(at).ok() } else { None };
    let touched = touch(at, false);
    drop(opened);
    touched
}

fn open_to_write(at: &Named<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(&at.folder, at.name, flags, Mode::empty())
}

/// The time of modification alone is told as a modification, both times as changed attributes
/// (`fsnotify_change`, include/linux/fsnotify.h). Which time does not matter: none is set.
fn touch(at: &Named<'_>, attributes: bool) -> Result<(), Errno> {
    let any = Timespec { tv_sec: 0, tv_nsec: 0 };
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times =
        Timestamps { last_access: if attributes { any } else { omitted }, last_modification: any };
    utimensat(&at.folder, at.name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
