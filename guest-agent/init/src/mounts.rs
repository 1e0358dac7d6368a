//! What is mounted inside the root, and what is hidden or write-protected there.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linkspan_runtime::plan::{Mount, MountKind};
use linkspan_sys::mount::{
    Attributes, FsContext, attach, clone_tree, clone_tree_of, set_attributes,
};
use linkspan_sys::{Errno, Result as SysResult};

use crate::paths::{Root, is_folder};
use crate::report::{About as _, Fault};

/// Copies of the mounts behind all bind sources, in the order of the plan: taken while the VM's
/// tree can still be seen, attached once it cannot.
pub(crate) fn open_sources(mounts: &[Mount]) -> Result<Vec<Option<OwnedFd>>, Fault> {
    mounts
        .iter()
        .map(|mount| match &mount.kind {
            MountKind::Fs { .. } => Ok(None),
            MountKind::Bind { source, recursive } => {
                clone_tree(source, *recursive).map(Some).about(|| format!("`{}`", source.display()))
            }
        })
        .collect()
}

/// Attaches the mounts of the plan, in its order, making mount points that are missing.
pub(crate) fn mount_all(
    root: &Root,
    mounts: &[Mount],
    sources: Vec<Option<OwnedFd>>,
) -> Result<(), Fault> {
    for (mount, source) in mounts.iter().zip(sources) {
        one(root, mount, source).about(|| subject(mount))?;
    }
    Ok(())
}

fn one(root: &Root, mount: &Mount, source: Option<OwnedFd>) -> SysResult<()> {
    let attributes = Attributes::READ_ONLY
        .when(mount.readonly)
        .and(Attributes::NO_SUID.when(mount.nosuid))
        .and(Attributes::NO_DEV.when(mount.nodev))
        .and(Attributes::NO_EXEC.when(mount.noexec));
    match (&mount.kind, source) {
        (MountKind::Bind { recursive, .. }, Some(tree)) => {
            if !attributes.is_empty() {
                set_attributes(&tree, attributes, *recursive)?;
            }
            let target = if is_folder(&tree)? {
                root.folder(&mount.destination)?
            } else {
                root.file(&mount.destination)?
            };
            attach(tree, target)
        }
        (MountKind::Fs { fstype, source, data }, None) => {
            let context = FsContext::open(fstype.as_str())?;
            context.set("source", source.as_str())?;
            for option in data.split(',').filter(|option| !option.is_empty()) {
                match option.split_once('=') {
                    Some((key, value)) => context.set(key, value)?,
                    None => context.set_flag(option)?,
                }
            }
            attach(context.mount(attributes)?, root.folder(&mount.destination)?)
        }
        // open_sources gives exactly the binds a source.
        _ => Err(Errno::EINVAL),
    }
}

fn subject(mount: &Mount) -> String {
    let destination = mount.destination.display();
    match &mount.kind {
        MountKind::Fs { fstype, data, .. } if data.is_empty() => {
            format!("{fstype} at `{destination}`")
        }
        MountKind::Fs { fstype, data, .. } => format!("{fstype} ({data}) at `{destination}`"),
        MountKind::Bind { source, .. } => format!("`{}` at `{destination}`", source.display()),
    }
}

/// Covers files with /dev/null and folders with an empty, read-only tmpfs. What is not there
/// needs no cover: kernels differ in what they show.
pub(crate) fn mask(root: &Root, paths: &[PathBuf]) -> Result<(), Fault> {
    let mut null = None;
    let mut empty = None;
    for path in paths {
        let Some(target) = existing(root, path)? else { continue };
        let mut cover = |target: &OwnedFd| {
            if !is_folder(target)? {
                if null.is_none() {
                    null = Some(root.place(Path::new("/dev/null"))?);
                }
                return attach(clone_tree_of(null.as_ref().ok_or(Errno::ENOENT)?)?, target);
            }
            match &empty {
                // Before Linux 6.15 only a mount that is attached somewhere can be copied, so the
                // first cover is the original.
                None => {
                    let made = FsContext::open("tmpfs")?.mount(Attributes::READ_ONLY)?;
                    attach(&made, target)?;
                    empty = Some(made);
                    Ok(())
                }
                Some(made) => attach(clone_tree_of(made)?, target),
            }
        };
        cover(&target).about(|| path.display().to_string())?;
    }
    Ok(())
}

/// Mounts paths over themselves, read-only.
pub(crate) fn make_readonly(root: &Root, paths: &[PathBuf]) -> Result<(), Fault> {
    for path in paths {
        let Some(target) = existing(root, path)? else { continue };
        let cover = || {
            let tree = clone_tree_of(&target)?;
            set_attributes(&tree, Attributes::READ_ONLY, false)?;
            attach(tree, &target)
        };
        cover().about(|| path.display().to_string())?;
    }
    Ok(())
}

fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>, Fault> {
    match root.place(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).about(|| path.display().to_string()),
    }
}

/// Makes the root itself read-only, but nothing that is mounted in it.
pub(crate) fn make_root_readonly(root: &Root) -> Result<(), Fault> {
    set_attributes(root.fd(), Attributes::READ_ONLY, false).about(|| "/".to_owned())
}
