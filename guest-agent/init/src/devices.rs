//! Nodes and links in /dev.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linkspan_runtime::plan::Device;
use linkspan_sys::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::symlinkat;

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

fn unless_there(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}
