//! Mounts: the interface of Linux 5.2 (`fsopen`, `fsconfig`, `fsmount`, `open_tree`,
//! `move_mount`, `mount_setattr`), `pivot_root`, and path resolution that cannot be led astray
//! (`openat2`).
//!
//! The new interface works on descriptors: a mount is made without a place, gets its attributes,
//! and is attached to a folder that has been resolved and checked before. With mount(2) the path
//! would be resolved once more, and a container's symbolic link could have the say.

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::NixPath;
pub use nix::mount::{MntFlags, MsFlags};

use crate::{Errno, Result, check};

/// MOUNT_ATTR_* of linux/mount.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(u64);

impl Attributes {
    /// None.
    pub const NONE: Self = Self(0);
    /// Nothing can be written.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Set-user-id bits and file capabilities are ignored.
    pub const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes do not work.
    pub const NO_DEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Nothing can be executed.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);
    /// Access times are not kept.
    pub const NO_ATIME: Self = Self(libc::MOUNT_ATTR_NOATIME);
    /// Access times are kept at each access.
    pub const STRICT_ATIME: Self = Self(libc::MOUNT_ATTR_STRICTATIME);
    /// Access times of folders are not kept.
    pub const NO_DIR_ATIME: Self = Self(libc::MOUNT_ATTR_NODIRATIME);
    /// Symbolic links are not followed.
    pub const NO_SYMLINKS: Self = Self(libc::MOUNT_ATTR_NOSYMFOLLOW);
    /// The field that says how access times are kept: to be cleared before it is set.
    pub const ATIME: Self = Self(libc::MOUNT_ATTR__ATIME);

    /// The bits, to travel as a number.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Takes [`Self::bits`] back.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `self` when `condition` holds, nothing otherwise.
    #[must_use]
    pub const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    /// Whether there is nothing to set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The kernel has just made `fd` for us.
fn own(fd: libc::c_long) -> OwnedFd {
    // SAFETY: only called with the fresh result of a system call that makes a descriptor, which
    // nobody else knows.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// A file system being set up (fsopen(2)).
#[derive(Debug)]
pub struct FsContext(OwnedFd);

impl FsContext {
    /// `ENODEV`: the kernel has no file system of that name.
    pub fn open<P: ?Sized + NixPath>(fstype: &P) -> Result<Self> {
        const FSOPEN_CLOEXEC: libc::c_uint = 1;
        let fd = fstype.with_nix_path(|name| {
            // SAFETY: the name is a C string that lives during the call.
            check(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })
        })??;
        Ok(Self(own(fd)))
    }

    fn config(
        &self,
        command: libc::c_uint,
        key: Option<&std::ffi::CStr>,
        value: Option<&std::ffi::CStr>,
    ) -> Result<()> {
        let pointer =
            |text: Option<&std::ffi::CStr>| text.map_or(std::ptr::null(), std::ffi::CStr::as_ptr);
        let (fd, key, value) = (self.0.as_raw_fd(), pointer(key), pointer(value));
        // SAFETY: key and value are null or C strings that live during the call.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key, value, 0) }).map(drop)
    }

    /// Sets `key` to `value`.
    pub fn set<K: ?Sized + NixPath, V: ?Sized + NixPath>(&self, key: &K, value: &V) -> Result<()> {
        const FSCONFIG_SET_STRING: libc::c_uint = 1;
        key.with_nix_path(|key| {
            value.with_nix_path(|value| self.config(FSCONFIG_SET_STRING, Some(key), Some(value)))
        })??
    }

    /// Sets an option without a value.
    pub fn set_flag<K: ?Sized + NixPath>(&self, key: &K) -> Result<()> {
        const FSCONFIG_SET_FLAG: libc::c_uint = 0;
        key.with_nix_path(|key| self.config(FSCONFIG_SET_FLAG, Some(key), None))?
    }

    /// Makes the file system and a mount of it, attached nowhere yet.
    pub fn mount(self, attributes: Attributes) -> Result<OwnedFd> {
        const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
        const FSMOUNT_CLOEXEC: libc::c_uint = 1;
        self.config(FSCONFIG_CMD_CREATE, None, None)?;
        let fd = self.0.as_raw_fd();
        // SAFETY: integers in, a new descriptor out.
        check(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes.0) })
            .map(own)
    }
}

/// A copy of the mount at `path`, attached nowhere yet: what a bind mount is made from.
pub fn clone_tree<P: ?Sized + NixPath>(path: &P, recursive: bool) -> Result<OwnedFd> {
    path.with_nix_path(|path| open_tree(libc::AT_FDCWD, path, clone_flags(recursive)))?
}

/// The same for what a descriptor (of any kind, O_PATH too) stands for.
pub fn clone_tree_of(fd: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    let flags = clone_flags(recursive) | libc::AT_EMPTY_PATH.cast_unsigned();
    open_tree(fd.as_fd().as_raw_fd(), c"", flags)
}

fn clone_flags(recursive: bool) -> libc::c_uint {
    const AT_RECURSIVE: libc::c_uint = 0x8000;
    const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC.cast_unsigned();
    libc::OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 }
}

fn open_tree(folder: RawFd, path: &std::ffi::CStr, flags: libc::c_uint) -> Result<OwnedFd> {
    // SAFETY: the path is a C string that lives during the call.
    check(unsafe { libc::syscall(libc::SYS_open_tree, folder, path.as_ptr(), flags) }).map(own)
}

/// Adds attributes to the mount that `mount` is the root of, and with `recursive` to all below.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, recursive: bool) -> Result<()> {
    let attr =
        libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_attr(mount, &attr, recursive)
}

/// Takes attributes away from a mount, then adds others; with `recursive` all below too.
pub fn change_attributes(
    mount: impl AsFd,
    set: Attributes,
    clear: Attributes,
    recursive: bool,
) -> Result<()> {
    let attr =
        libc::mount_attr { attr_set: set.0, attr_clr: clear.0, propagation: 0, userns_fd: 0 };
    set_attr(mount, &attr, recursive)
}

/// Lays the mappings of a user namespace on a mount that is attached nowhere yet: a file of user N
/// on the disk is shown as the one that the namespace's user N is outside, and stored as N again
/// (mount_setattr(2), "ID-mapped mounts"). `EINVAL`: its file system cannot do that.
pub fn set_id_mapping(mount: impl AsFd, namespace: impl AsFd, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_fd().as_raw_fd().cast_unsigned()),
    };
    set_attr(mount, &attr, recursive)
}

fn set_attr(mount: impl AsFd, attr: &libc::mount_attr, recursive: bool) -> Result<()> {
    const AT_RECURSIVE: libc::c_uint = 0x8000;
    let flags = libc::AT_EMPTY_PATH.cast_unsigned() | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the kernel reads one mount_attr of the given size, which lives during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Changes how mounts and unmounts spread (mount_namespaces(7), "Shared subtrees"): `propagation` is
/// one of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; with `recursive`, of all mounts below too.
pub fn set_propagation(mount: impl AsFd, propagation: MsFlags, recursive: bool) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: 0,
        attr_clr: 0,
        propagation: propagation.bits(),
        userns_fd: 0,
    };
    set_attr(mount, &attr, recursive)
}

/// Attaches a mount that is attached nowhere yet to what `target` stands for.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
    let empty = c"".as_ptr();
    // SAFETY: both paths are C strings of static lifetime.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) }).map(drop)
}

/// The same to a path, which is resolved as usual, symbolic links included.
pub fn attach_at<P: ?Sized + NixPath>(mount: impl AsFd, target: &P) -> Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_SYMLINKS;
    let from = mount.as_fd().as_raw_fd();
    target.with_nix_path(|to| {
        let (empty, to) = (c"".as_ptr(), to.as_ptr());
        // SAFETY: both paths are C strings that live during the call.
        check(unsafe {
            libc::syscall(libc::SYS_move_mount, from, empty, libc::AT_FDCWD, to, flags)
        })
    })??;
    Ok(())
}

/// Opens `path` as if `root` were `/`: neither `..` nor symbolic links lead out of it, and the
/// magic links of procfs are refused (`ELOOP`). Closed on exec.
pub fn open_in_root<P: ?Sized + NixPath>(
    root: impl AsFd,
    path: &P,
    flags: nix::fcntl::OFlag,
    mode: u32,
) -> Result<OwnedFd> {
    use nix::fcntl::{OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new()
        .flags(flags | nix::fcntl::OFlag::O_CLOEXEC)
        .mode(nix::sys::stat::Mode::from_bits_truncate(mode))
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // openat2(2), EAGAIN: somewhere in the system something was renamed or mounted while a `..`
    // was resolved, so that the kernel cannot be sure of it. It asks for another try.
    let mut attempts = 128;
    loop {
        attempts -= 1;
        match openat2(&root, path, how) {
            Err(Errno::EAGAIN) if attempts > 0 => {}
            other => return other,
        }
    }
}

/// Makes the working directory, which has to be a mount, the root of this mount namespace and of
/// the process, and lets go of the old root with all that is mounted there.
///
/// `EINVAL`: the working directory is no mount point, the present root is the initial ramfs
/// itself, or mounts are shared with other namespaces.
pub fn pivot_to_working_directory() -> Result<()> {
    // pivot_root(2), NOTES: with "." twice the old root is stacked over the new one, so that no
    // folder is needed to put it in; detaching "." then removes exactly it.
    nix::unistd::pivot_root(".", ".")?;
    nix::mount::umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")
}
