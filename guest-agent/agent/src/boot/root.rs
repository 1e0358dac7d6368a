//! The root folder and the standard mounts of the VM.

use std::{fs, os::unix::fs::symlink, path::Path};

use linkspan_sys::boot::BootCalls;
use nix::{
    errno::Errno,
    mount::MsFlags,
    unistd::{chdir, chroot},
};

use super::BootError;

/// Makes the initramfs a root that containers can leave.
///
/// The first process's root is the kernel's `rootfs`, which has no parent mount; `pivot_root(2)`
/// refuses to work from there (EINVAL). Bind-mounting it onto itself, moving that mount to `/` and
/// entering it gives the same files a mount that has a parent. Nothing is copied.
pub(super) fn make_pivotable(kernel: &dyn BootCalls) -> Result<(), BootError> {
    let step = |what: &str, target: &str| {
        let (what, target) = (what.to_owned(), target.into());
        move |errno| BootError::Mount { what, target, errno }
    };
    fs::create_dir_all("/sysroot").map_err(BootError::file("create", "/sysroot"))?;
    kernel
        .mount("/", Path::new("/sysroot"), "", MsFlags::MS_BIND, "")
        .map_err(step("the root", "/sysroot"))?;
    chdir("/sysroot").map_err(step("the root", "/sysroot"))?;
    kernel.mount(".", Path::new("/"), "", MsFlags::MS_MOVE, "").map_err(step("the root", "/"))?;
    chroot(".").map_err(step("the root", "/"))?;
    chdir("/").map_err(step("the root", "/"))
}

/// One standard mount.
struct Standard {
    fstype: &'static str,
    target: &'static str,
    flags: MsFlags,
    data: &'static str,
}

/// Mounts /proc, /sys, /dev, /run and /tmp, and cgroup2.
pub(super) fn mount_standard(kernel: &dyn BootCalls) -> Result<(), BootError> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    let mounts = [
        Standard { fstype: "proc", target: "/proc", flags: quiet, data: "" },
        Standard { fstype: "sysfs", target: "/sys", flags: quiet, data: "" },
        Standard {
            fstype: "devtmpfs",
            target: "/dev",
            flags: MsFlags::MS_NOSUID,
            data: "mode=0755",
        },
        Standard {
            fstype: "devpts",
            target: "/dev/pts",
            flags: MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
            data: "mode=0620,gid=5,ptmxmode=0666",
        },
        Standard { fstype: "tmpfs", target: "/dev/shm", flags: quiet, data: "mode=1777" },
        Standard {
            fstype: "tmpfs",
            target: "/run",
            flags: MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            data: "mode=0755",
        },
        Standard {
            fstype: "tmpfs",
            target: "/tmp",
            flags: MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            data: "mode=1777",
        },
        // nsdelegate: a cgroup namespace is a delegation boundary (cgroup-v2.rst), so a container
        // cannot move its processes out of its cgroup.
        Standard {
            fstype: "cgroup2",
            target: "/sys/fs/cgroup",
            flags: quiet,
            data: "nsdelegate,memory_recursiveprot",
        },
    ];
    for mount in mounts {
        let target = Path::new(mount.target);
        if !target.exists() {
            fs::create_dir_all(target).map_err(BootError::file("create", target))?;
        }
        match kernel.mount(mount.fstype, target, mount.fstype, mount.flags, mount.data) {
            // CONFIG_DEVTMPFS_MOUNT does not apply to an initramfs, but a host may do it.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(errno) => {
                return Err(BootError::Mount {
                    what: mount.fstype.into(),
                    target: target.into(),
                    errno,
                });
            }
        }
    }
    for (link, to) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        // Only convenience for the machine's own shell.
        let _ = symlink(to, link);
    }
    for (path, value) in SETTINGS {
        // A kernel without the setting works too; containers would see its absence.
        if let Err(error) = fs::write(path, value) {
            tracing::debug!(path, %error, "not set");
        }
    }
    fs::create_dir_all("/run/linkspan").map_err(BootError::file("create", "/run/linkspan"))
}

/// Kernel parameters that container hosts have.
const SETTINGS: &[(&str, &str)] = &[
    // Databases (Redis says so at its start) expect overcommit from a container host.
    ("/proc/sys/vm/overcommit_memory", "1"),
    // What inotify users in many containers share; the kernel's default is for one desktop.
    ("/proc/sys/fs/inotify/max_user_instances", "8192"),
    ("/proc/sys/fs/inotify/max_user_watches", "1048576"),
    // Docker's hosts have it through systemd; Elasticsearch and others refuse to start below it.
    ("/proc/sys/vm/max_map_count", "1048576"),
    // Ports below 1024 inside a container are the container's own business, as in Docker (20.10+).
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
];
