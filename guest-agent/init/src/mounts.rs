//! What is mounted inside the root, and what is hidden or write-protected there.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linkspan_runtime::plan::{Bind, Detailed, Mount, MountKind, Propagation, PropagationKind};
use linkspan_sys::mount::{
    Attributes, FsContext, MsFlags, attach, change_attributes, clone_tree, clone_tree_of,
    open_in_root, set_attributes, set_id_mapping, set_propagation,
};
use linkspan_sys::process::setns;
use linkspan_sys::{Errno, Result as SysResult};
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, fstat};

use crate::copy_up::copy_up;
use crate::paths::{Root, is_folder};
use crate::report::{About as _, Fault};

/// Copies of the mounts behind all bind sources, in the order of the plan: taken while the VM's
/// tree can still be seen, attached once it cannot.
/// `ipc`: a process of the container whose IPC namespace is joined.
pub(crate) fn open_sources(
    mounts: &[Mount],
    ipc: Option<&OwnedFd>,
) -> Result<Vec<Option<OwnedFd>>, Fault> {
    mounts.iter().map(|mount| source_of(&mount.kind, ipc)).collect()
}

fn source_of(kind: &MountKind, ipc: Option<&OwnedFd>) -> Result<Option<OwnedFd>, Fault> {
    match kind {
        MountKind::Fs { .. } | MountKind::Tmpfs { .. } => Ok(None),
        MountKind::Bind(bind) => {
            open_source(bind).map(Some).about(|| format!("`{}`", whole(bind).display()))
        }
        MountKind::JoinedSharedMemory => {
            let donor = ipc.ok_or_else(|| Fault::new("no IPC namespace is joined"))?;
            shared_memory_of(donor).map(Some).about(|| "the other's `/dev/shm`".to_owned())
        }
        MountKind::Detailed(detailed) => source_of(&detailed.kind, ipc),
    }
}

/// Lays the mappings of a user namespace on bind sources, so that a file of the disk's user N is
/// user N's in the container. What cannot map ids keeps the VM's.
pub(crate) fn map_ids(
    mounts: &[Mount],
    sources: &[Option<OwnedFd>],
    namespace: &OwnedFd,
) -> Result<(), Fault> {
    for (mount, source) in mounts.iter().zip(sources) {
        let (MountKind::Bind(bind), Some(tree)) = (&mount.kind, source) else { continue };
        let mapped = match set_id_mapping(tree, namespace, bind.recursive) {
            // One below cannot; this one may.
            Err(Errno::EINVAL) if bind.recursive => set_id_mapping(tree, namespace, false),
            other => other,
        };
        match mapped {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno).about(|| format!("`{}`", whole(bind).display())),
        }
    }
    Ok(())
}

/// Mounts, attached nowhere yet, of what a user namespace may only mount while it sees another
/// one of it: the process file system and sysfs.
pub(crate) fn open_revealing(
    mounts: &[Mount],
    sources: &mut [Option<OwnedFd>],
) -> Result<(), Fault> {
    for (mount, source) in mounts.iter().zip(sources) {
        let MountKind::Fs { fstype, source: name, data } = &mount.kind else { continue };
        if matches!(fstype.as_str(), "proc" | "sysfs") {
            let made = new_mount(mount, fstype, name, data).about(|| subject(mount))?;
            *source = Some(made);
        }
    }
    Ok(())
}

/// A new instance of a file system, attached nowhere yet.
fn new_mount(mount: &Mount, fstype: &str, source: &str, data: &str) -> SysResult<OwnedFd> {
    let context = FsContext::open(fstype)?;
    context.set("source", source)?;
    set_options(&context, data)?;
    context.mount(attributes(mount))
}

fn attributes(mount: &Mount) -> Attributes {
    Attributes::READ_ONLY
        .when(mount.readonly)
        .and(Attributes::NO_SUID.when(mount.nosuid))
        .and(Attributes::NO_DEV.when(mount.nodev))
        .and(Attributes::NO_EXEC.when(mount.noexec))
}

/// A copy of what is mounted at /dev/shm in another container. It can only be made there; the
/// path is resolved below that container's own root, whatever it has put there.
fn shared_memory_of(donor: &OwnedFd) -> SysResult<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let own = nix::fcntl::open("/proc/self/ns/mnt", flags, Mode::empty())?;
    setns(donor, CloneFlags::CLONE_NEWNS)?;
    let tree = clone_tree(Path::new("/dev/shm"), false);
    setns(&own, CloneFlags::CLONE_NEWNS)?;
    tree
}

fn open_source(bind: &Bind) -> SysResult<OwnedFd> {
    if bind.within.as_os_str().is_empty() {
        return clone_tree(&bind.source, bind.recursive);
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = nix::fcntl::open(&bind.source, flags, Mode::empty())?;
    let place = open_in_root(&folder, &bind.within, OFlag::O_PATH, 0)?;
    clone_tree_of(place, bind.recursive)
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
    let attributes = attributes(mount);
    match (&mount.kind, source) {
        (MountKind::JoinedSharedMemory, Some(tree)) => {
            if !attributes.is_empty() {
                set_attributes(&tree, attributes, false)?;
            }
            attach(tree, root.folder(&mount.destination)?)
        }
        (MountKind::Bind(bind), Some(tree)) => {
            if !attributes.is_empty() {
                set_attributes(&tree, attributes, bind.recursive && bind.readonly_below)?;
            }
            if let Some(propagation) = bind.propagation {
                spread(&tree, propagation)?;
            }
            attach_like(root, &mount.destination, tree)
        }
        (MountKind::Fs { fstype, source, data }, None) => {
            attach(new_mount(mount, fstype, source, data)?, root.folder(&mount.destination)?)
        }
        (MountKind::Fs { .. }, Some(made)) => attach(made, root.folder(&mount.destination)?),
        (MountKind::Tmpfs { data }, None) => {
            let target = root.folder(&mount.destination)?;
            let context = FsContext::open("tmpfs")?;
            context.set("source", "tmpfs")?;
            // First, so that the options have the last word.
            context.set("mode", format!("{:o}", fstat(&target)?.st_mode & 0o7777).as_str())?;
            set_options(&context, data)?;
            attach(context.mount(attributes)?, target)
        }
        (MountKind::Detailed(detailed), source) => one_detailed(root, mount, detailed, source),
        // open_sources gives a source to exactly those that have one.
        _ => Err(Errno::EINVAL),
    }
}

/// Attaches a tree to a folder or a file, whichever it is itself.
fn attach_like(root: &Root, destination: &Path, tree: OwnedFd) -> SysResult<()> {
    let target =
        if is_folder(&tree)? { root.folder(destination)? } else { root.file(destination)? };
    attach(tree, target)
}

fn spread(tree: &OwnedFd, propagation: Propagation) -> SysResult<()> {
    let kind = match propagation.kind {
        PropagationKind::Private => MsFlags::MS_PRIVATE,
        PropagationKind::Slave => MsFlags::MS_SLAVE,
        PropagationKind::Shared => MsFlags::MS_SHARED,
        PropagationKind::Unbindable => MsFlags::MS_UNBINDABLE,
    };
    set_propagation(tree, kind, propagation.recursive)
}

fn one_detailed(
    root: &Root,
    mount: &Mount,
    detailed: &Detailed,
    source: Option<OwnedFd>,
) -> SysResult<()> {
    let tree = match (&detailed.kind, source) {
        (MountKind::Fs { fstype, source, data }, None) => {
            let context = FsContext::open(fstype.as_str())?;
            context.set("source", source.as_str())?;
            set_options(&context, data)?;
            context.mount(Attributes::NONE)?
        }
        (MountKind::Bind(_), Some(tree)) => tree,
        _ => return Err(Errno::EINVAL),
    };
    if detailed.copy_up {
        match root.place(&mount.destination) {
            Ok(covered) => copy_up(&covered, &tree)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    let bits = Attributes::from_bits;
    for (set, clear, below) in
        [(detailed.set, detailed.clear, false), (detailed.set_below, detailed.clear_below, true)]
    {
        if set | clear != 0 {
            change_attributes(&tree, bits(set), bits(clear), below)?;
        }
    }
    for propagation in &detailed.propagation {
        spread(&tree, *propagation)?;
    }
    attach_like(root, &mount.destination, tree)
}

fn whole(bind: &Bind) -> PathBuf {
    // Joining nothing would add a slash.
    if bind.within.as_os_str().is_empty() {
        return bind.source.clone();
    }
    bind.source.join(&bind.within)
}

fn set_options(context: &FsContext, data: &str) -> SysResult<()> {
    for option in data.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some((key, value)) => context.set(key, value)?,
            None => context.set_flag(option)?,
        }
    }
    Ok(())
}

fn subject(mount: &Mount) -> String {
    let destination = mount.destination.display();
    let kind = match &mount.kind {
        MountKind::Detailed(detailed) => &detailed.kind,
        plain => plain,
    };
    match kind {
        MountKind::Detailed(_) => format!("`{destination}`"),
        MountKind::JoinedSharedMemory => format!("the other's shared memory at `{destination}`"),
        MountKind::Tmpfs { data } if data.is_empty() => format!("tmpfs at `{destination}`"),
        MountKind::Tmpfs { data } => format!("tmpfs ({data}) at `{destination}`"),
        MountKind::Fs { fstype, data, .. } if data.is_empty() => {
            format!("{fstype} at `{destination}`")
        }
        MountKind::Fs { fstype, data, .. } => format!("{fstype} ({data}) at `{destination}`"),
        MountKind::Bind(bind) => {
            format!("`{}` at `{destination}`", whole(bind).display())
        }
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
                return attach(clone_tree_of(null.as_ref().ok_or(Errno::ENOENT)?, false)?, target);
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
                Some(made) => attach(clone_tree_of(made, false)?, target),
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
            let tree = clone_tree_of(&target, false)?;
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
