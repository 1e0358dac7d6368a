//! Nodes and links in /dev.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::{Node, NodeKind};
use linkspan_runtime::plan::Device;
use linkspan_sys::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, SFlag, fstatat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::paths::{Root, split};
use crate::report::{About as _, Fault};

/// config-linux.md, "Default Devices" and "Dev symbolic links".
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    // The devpts in the container is an instance of its own, and so is its ptmx.
    ("pts/ptmx", "ptmx"),
];

/// Makes the nodes of the plan and the usual links. What is there already stays: the user has
/// mounted a /dev of their own, or the image has brought it.
pub(crate) fn make_all(root: &Root, devices: &[Device]) -> Result<(), Fault> {
    // Nearly all are in /dev: resolved once.
    let mut last: Option<(PathBuf, OwnedFd)> = None;
    for device in devices {
        let subject = || format!("`{}`", device.path.display());
        let (parent, name) = split(&device.path).about(subject)?;
        let folder = match &last {
            Some((path, folder)) if path == parent => folder,
            _ => {
                let folder = root.folder(parent).about(subject)?;
                &last.insert((parent.to_owned(), folder)).1
            }
        };
        let kind = if device.block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
        let mode = Mode::from_bits_truncate(device.mode);
        let number = makedev(device.major.into(), device.minor.into());
        unless_there(mknodat(folder, name, kind, mode, number)).about(subject)?;
    }
    let dev = match last {
        Some((path, folder)) if path == Path::new("/dev") => folder,
        _ => root.folder(Path::new("/dev")).about(|| "`/dev`".to_owned())?,
    };
    for (target, name) in LINKS {
        unless_there(symlinkat(target, &dev, name)).about(|| format!("`/dev/{name}`"))?;
    }
    Ok(())
}

/// Makes nodes and named pipes of an OCI bundle. Something else in their place is an error
/// (config-linux.md, "Devices").
pub(crate) fn make_nodes(root: &Root, nodes: &[Node]) -> Result<(), Fault> {
    for node in nodes {
        let subject = || format!("`{}`", node.path.display());
        let (parent, name) = split(&node.path).about(subject)?;
        let folder = root.folder(parent).about(subject)?;
        let kind = match node.kind {
            NodeKind::Character => SFlag::S_IFCHR,
            NodeKind::Block => SFlag::S_IFBLK,
            NodeKind::Pipe => SFlag::S_IFIFO,
        };
        let number = makedev(node.major.into(), node.minor.into());
        match mknodat(&folder, name, kind, Mode::from_bits_truncate(node.mode), number) {
            Err(Errno::EEXIST) => {
                let there = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).about(subject)?;
                let same = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT == kind
                    && (kind == SFlag::S_IFIFO || there.st_rdev == number);
                if !same {
                    let detail = format!("`{}`: there is something else", node.path.display());
                    return Err(Fault { errno: Errno::EEXIST as i32, detail });
                }
            }
            other => other.about(subject)?,
        }
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        fchownat(&folder, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .about(subject)?;
    }
    Ok(())
}

fn unless_there(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}
