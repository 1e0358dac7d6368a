//! `tmpcopyup`: a tmpfs begins with what the folder that it covers has.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linkspan_sys::{Errno, Result};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstatat, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

/// Copies folders, files, links and nodes with their modes and owners, in one file system.
pub(crate) fn copy_up(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let from = openat(from, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let to = openat(to, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    copy_folder(from, to.as_fd())
}

fn copy_folder(from: OwnedFd, to: BorrowedFd<'_>) -> Result<()> {
    let mut folder = Dir::from_fd(from)?;
    let names: Vec<_> = folder
        .iter()
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect::<Result<_>>()?;
    let device = nix::sys::stat::fstat(&folder)?.st_dev;
    for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        let status = fstatat(&folder, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if status.st_dev == device {
            copy_one(folder.as_fd(), to, name, &status)?;
        }
    }
    Ok(())
}

fn copy_one(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    status: &FileStat,
) -> Result<()> {
    let mode = Mode::from_bits_truncate(status.st_mode);
    let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match kind {
        SFlag::S_IFDIR => {
            mkdirat(to, name, mode)?;
            let inner = openat(from, name, flags | OFlag::O_DIRECTORY, Mode::empty())?;
            let made = openat(to, name, flags | OFlag::O_DIRECTORY, Mode::empty())?;
            copy_folder(inner, made.as_fd())?;
        }
        SFlag::S_IFREG => {
            let source = openat(from, name, flags, Mode::empty())?;
            let create = flags | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
            let made = openat(to, name, create, mode)?;
            let (mut source, mut made) = (std::fs::File::from(source), std::fs::File::from(made));
            std::io::copy(&mut source, &mut made)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        }
        SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?,
        other => mknodat(to, name, other, mode, status.st_rdev)?,
    }
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    fchownat(to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if kind != SFlag::S_IFLNK {
        // A change of the owner takes set-user-id bits away.
        fchmodat(to, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    Ok(())
}
