//! Nodes and links in /dev.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::{Node, NodeKind};
use linkspan_runtime::plan::{Device, UserNamespace};
use linkspan_sys::Errno;
use linkspan_sys::mount::{Attributes, FsContext, MntFlags, attach, attach_at, clone_tree_of};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc::dev_t;
use nix::mount::umount2;
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
        match mknodat(folder, name, kind, mode, number) {
            Err(Errno::EEXIST) => {}
            made => {
                made.and_then(|()| give(folder, name, device.uid, device.gid)).about(subject)?
            }
        }
    }
    let dev = match last {
        Some((path, folder)) if path == Path::new("/dev") => folder,
        _ => root.folder(Path::new("/dev")).about(|| "`/dev`".to_owned())?,
    };
    make_links(&dev)
}

/// Who makes a node is root, and so is nearly every owner.
fn give(folder: &OwnedFd, name: &Path, uid: u32, gid: u32) -> Result<(), Errno> {
    if (uid, gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    fchownat(folder, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Nodes for a container in a user namespace, which must not make any: mounts of them, attached
/// nowhere yet. `place`: a folder that nobody looks into for the moment.
pub(crate) fn mounts_of(
    devices: &[Device],
    place: &Path,
    ids: &UserNamespace,
) -> Result<Vec<OwnedFd>, Fault> {
    // Before Linux 6.15 only what is attached somewhere can be copied.
    let folder = FsContext::open("tmpfs")
        .and_then(|context| context.mount(Attributes::NONE))
        .and_then(|folder| attach_at(&folder, place).map(|()| folder))
        .about(|| "a folder for devices".to_owned())?;
    let mut mounts = Vec::with_capacity(devices.len());
    for (index, device) in devices.iter().enumerate() {
        let name = PathBuf::from(index.to_string());
        // Who is not mapped owns nothing that its root could give.
        let owner = ids.outside(device.uid, device.gid).unwrap_or_else(|| ids.root());
        let kind = if device.block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
        let mode = Mode::from_bits_truncate(device.mode);
        let number = makedev(device.major.into(), device.minor.into());
        let make = || {
            mknodat(&folder, &name, kind, mode, number)?;
            give(&folder, &name, owner.uid, owner.gid)?;
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            clone_tree_of(openat(&folder, &name, flags, Mode::empty())?, false)
        };
        mounts.push(make().about(|| format!("`{}`", device.path.display()))?);
    }
    umount2(place, MntFlags::MNT_DETACH).about(|| "a folder for devices".to_owned())?;
    Ok(mounts)
}

/// As [`make_all`], with the mounts of [`mounts_of`].
pub(crate) fn mount_all(
    root: &Root,
    devices: &[Device],
    mounts: Vec<OwnedFd>,
) -> Result<(), Fault> {
    for (device, mount) in devices.iter().zip(mounts) {
        let put = || match root.place(&device.path) {
            Err(Errno::ENOENT) => attach(mount, root.file(&device.path)?),
            other => other.map(drop),
        };
        put().about(|| format!("`{}`", device.path.display()))?;
    }
    make_links(&root.folder(Path::new("/dev")).about(|| "`/dev`".to_owned())?)
}

fn make_links(dev: &OwnedFd) -> Result<(), Fault> {
    for (target, name) in LINKS {
        unless_there(symlinkat(target, dev, name)).about(|| format!("`/dev/{name}`"))?;
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
        let (kind, number) = kind_and_number(node);
        match mknodat(&folder, name, kind, Mode::from_bits_truncate(node.mode), number) {
            Err(Errno::EEXIST) => same_is_there(&folder, name, node)?,
            other => other.about(subject)?,
        }
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        fchownat(&folder, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .about(subject)?;
    }
    Ok(())
}

/// As [`make_nodes`], with mounts of those that are no pipes, in their order: see [`mounts_of`].
pub(crate) fn mount_nodes(root: &Root, nodes: &[Node], mounts: Vec<OwnedFd>) -> Result<(), Fault> {
    let mut mounts = mounts.into_iter();
    for node in nodes {
        if node.kind == NodeKind::Pipe {
            make_nodes(root, std::slice::from_ref(node))?;
            continue;
        }
        let subject = || format!("`{}`", node.path.display());
        let mount = mounts.next().ok_or_else(|| Fault::new(subject()))?;
        let (parent, name) = split(&node.path).about(subject)?;
        let folder = root.folder(parent).about(subject)?;
        match fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {
                root.file(&node.path).and_then(|place| attach(mount, place)).about(subject)?;
            }
            _ => same_is_there(&folder, name, node)?,
        }
    }
    Ok(())
}

fn kind_and_number(node: &Node) -> (SFlag, dev_t) {
    let kind = match node.kind {
        NodeKind::Character => SFlag::S_IFCHR,
        NodeKind::Block => SFlag::S_IFBLK,
        NodeKind::Pipe => SFlag::S_IFIFO,
    };
    (kind, makedev(node.major.into(), node.minor.into()))
}

fn same_is_there(folder: &OwnedFd, name: &Path, node: &Node) -> Result<(), Fault> {
    let subject = || format!("`{}`", node.path.display());
    let (kind, number) = kind_and_number(node);
    let there = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).about(subject)?;
    let same = SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT == kind
        && (kind == SFlag::S_IFIFO || there.st_rdev == number);
    if same {
        return Ok(());
    }
    let detail = format!("{}: there is something else", subject());
    Err(Fault { errno: Errno::EEXIST as i32, detail })
}

fn unless_there(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}
