//! The root file system: layers become one tree, the tree becomes `/`.

use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::RootPropagation;
use linkspan_runtime::plan::{HostIds, Rootfs};
use linkspan_sys::caps;
use linkspan_sys::mount::{
    Attributes, FsContext, MsFlags, attach_at, clone_tree, pivot_to_working_directory,
    set_id_mapping, set_propagation,
};
use nix::mount::mount;
use nix::unistd::{Gid, Uid, chdir, fchdir, setfsgid, setfsuid, symlinkat};

use crate::paths::Root;
use crate::report::{About as _, Fault};

/// mount(2) takes at most a page of options, the terminating zero included.
const LONGEST_OPTIONS: usize = 4095;

/// Makes the root a mount of its own and enters it: the layers as one file system, or the only
/// layer as it is.
pub(crate) fn enter(rootfs: &Rootfs, propagation: RootPropagation) -> Result<(), Fault> {
    // Nothing that is mounted from here on shall show up in the VM.
    let kind = match propagation {
        RootPropagation::Slave => MsFlags::MS_SLAVE,
        _ => MsFlags::MS_PRIVATE,
    };
    spread_all(kind)?;
    match &*rootfs.lower {
        [folder] if rootfs.upper.as_os_str().is_empty() => bind_folder(folder),
        _ => mount_overlay(rootfs),
    }
}

/// Nothing that is mounted from here on shall show up in the VM.
pub(crate) fn make_private() -> Result<(), Fault> {
    spread_all(MsFlags::MS_PRIVATE)
}

fn spread_all(kind: MsFlags) -> Result<(), Fault> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | kind, None::<&str>)
        .about(|| "cannot make mounts private".to_owned())
}

/// pivot_root(2) wants a mount, so the folder is mounted over itself, with what lies below it.
fn bind_folder(folder: &Path) -> Result<(), Fault> {
    let bind = || {
        let tree = clone_tree(folder, true)?;
        attach_at(&tree, folder)?;
        fchdir(&tree)
    };
    bind().about(|| format!("`{}`", folder.display()))
}

/// Sets how mounts spread to and from the root, once it is the root.
pub(crate) fn propagate(root: &Root, propagation: RootPropagation) -> Result<(), Fault> {
    let kind = match propagation {
        // As it was mounted.
        RootPropagation::Private | RootPropagation::Slave => return Ok(()),
        RootPropagation::Shared => MsFlags::MS_SHARED,
        RootPropagation::Unbindable => MsFlags::MS_UNBINDABLE,
    };
    set_propagation(root.fd(), kind, false).about(|| "`/`".to_owned())
}

/// Mounts the layers as one file system, in this mount namespace only, and enters it.
///
/// It is mounted over its own work folder: a folder that surely exists, that nobody needs to
/// see, and that hides nothing else. overlayfs holds on to the folder beneath by itself.
fn mount_overlay(rootfs: &Rootfs) -> Result<(), Fault> {
    let options = match plain_options(rootfs) {
        Some(options) => options,
        None => linked_options(rootfs)?,
    };
    mount(Some("overlay"), &rootfs.work, Some("overlay"), MsFlags::empty(), Some(&*options))
        .about(|| {
            format!("{} layers, changes in `{}`", rootfs.lower.len(), rootfs.upper.display())
        })?;
    chdir(&rootfs.work).about(|| rootfs.work.display().to_string())
}

/// The same with mapped ids: who `root` is in the VM owns what root of the container does. To be
/// called when mounts are private.
///
/// overlayfs itself cannot map ids, but its layers can be on mounts that do (Linux 5.19). It works
/// on them with the credentials of whoever mounts it, and makes files that nobody sees (in its work
/// folder, and whiteouts): so for that moment this process has file system ids that are mapped.
pub(crate) fn mount_mapped_overlay(
    rootfs: &Rootfs,
    namespace: &OwnedFd,
    root: HostIds,
) -> Result<(), Fault> {
    // Upper and work folder have to be on the same mount.
    let own = rootfs.upper.parent().filter(|parent| rootfs.work.starts_with(parent));
    let own = own.ok_or_else(|| {
        Fault::new(format!("`{}` is not beside its work folder", rootfs.upper.display()))
    })?;
    for folder in rootfs.lower.iter().map(PathBuf::as_path).chain([own]) {
        let cover = || {
            let tree = clone_tree(folder, false)?;
            set_id_mapping(&tree, namespace, false)?;
            attach_at(tree, folder)
        };
        cover().about(|| format!("cannot map ids of `{}`", folder.display()))?;
    }
    let whole = caps::get()?;
    setfsgid(Gid::from_raw(root.gid));
    setfsuid(Uid::from_raw(root.uid));
    // Leaving user 0 has taken those that concern files.
    caps::set(whole)?;
    let mounted = mount_overlay(rootfs);
    setfsuid(Uid::from_raw(0));
    setfsgid(Gid::from_raw(0));
    mounted
}

/// The options with the paths as they are. None: too long, or a path has a character that is
/// special there (escaping it makes the kernels differ).
fn plain_options(rootfs: &Rootfs) -> Option<String> {
    let mut options = String::with_capacity(512);
    // overlayfs wants the top layer first.
    for (index, layer) in rootfs.lower.iter().rev().enumerate() {
        let separator = if index == 0 { "lowerdir=" } else { ":" };
        write!(options, "{separator}{}", plain(layer)?).ok()?;
    }
    write!(options, ",upperdir={},workdir={}", plain(&rootfs.upper)?, plain(&rootfs.work)?).ok()?;
    (options.len() <= LONGEST_OPTIONS).then_some(options)
}

fn plain(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| !text.contains([':', ',', '\\', '"']))
}

/// The options with short names, whatever the paths are and however many: links in a tmpfs that
/// is the working directory while the kernel resolves them, and is never attached anywhere.
///
/// Linux 6.8 can take layers one by one (fsconfig, `lowerdir+`). This works on older kernels as
/// well, for as many layers as overlayfs itself takes (500), so there is no second way.
fn linked_options(rootfs: &Rootfs) -> Result<String, Fault> {
    let links = FsContext::open("tmpfs")
        .and_then(|context| context.mount(Attributes::NONE))
        .about(|| "a folder for links to the layers".to_owned())?;
    fchdir(&links).about(|| "the folder for links to the layers".to_owned())?;
    let link = |target: &Path, name: &str| {
        symlinkat(target, &links, name).about(|| target.display().to_string())
    };
    let mut lower = String::new();
    for (index, layer) in rootfs.lower.iter().enumerate().rev() {
        let name = index.to_string();
        link(layer, &name)?;
        if !lower.is_empty() {
            lower.push(':');
        }
        lower.push_str(&name);
    }
    link(&rootfs.upper, "u")?;
    link(&rootfs.work, "w")?;
    Ok(format!("lowerdir={lower},upperdir=u,workdir=w"))
}

/// Makes the tree that was entered the root, and lets go of the VM's.
pub(crate) fn pivot() -> Result<(), Fault> {
    Ok(pivot_to_working_directory()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs(lower: &[&str]) -> Rootfs {
        Rootfs {
            lower: lower.iter().map(Into::into).collect(),
            upper: "/c/upper".into(),
            work: "/c/work".into(),
            readonly: false,
        }
    }

    #[test]
    fn the_top_layer_comes_first() {
        assert_eq!(
            plain_options(&rootfs(&["/base", "/top"])).unwrap(),
            "lowerdir=/top:/base,upperdir=/c/upper,workdir=/c/work"
        );
    }

    #[test]
    fn special_characters_and_too_many_layers_go_the_other_way() {
        for path in ["/a:b", "/a,b", "/a\\b"] {
            assert_eq!(plain_options(&rootfs(&[path])), None, "{path}");
        }
        let long = "/x".repeat(40);
        let many = vec![long.as_str(); 60];
        assert_eq!(plain_options(&rootfs(&many)), None);
    }
}
