//! What every container has unless it says otherwise: Docker's mounts, devices, and paths that
//! are masked or read-only (moby, `oci/defaults.go`).

use std::path::PathBuf;

use crate::plan::{Device, Mount, MountKind, Rlimit, UserNamespace};

/// The size of /dev/shm when nobody asks for another, in bytes.
pub const SHM_SIZE: u64 = 64 * 1024 * 1024;

/// The mounts of a container, in order. Privileged: /sys and /sys/fs/cgroup can be written.
#[must_use]
pub fn mounts(privileged: bool, shm_size: u64) -> Vec<Mount> {
    let shm = format!("mode=1777,size={shm_size}");
    vec![
        fs("/proc", "proc", "proc", "", false, Restrict::NO_SUID_DEV_EXEC),
        fs("/dev", "tmpfs", "tmpfs", "mode=755,size=65536k", false, Restrict::NO_SUID),
        fs(
            "/dev/pts",
            "devpts",
            "devpts",
            "newinstance,ptmxmode=0666,mode=0620,gid=5",
            false,
            Restrict::NO_SUID_EXEC,
        ),
        fs("/sys", "sysfs", "sysfs", "", !privileged, Restrict::NO_SUID_DEV_EXEC),
        fs("/sys/fs/cgroup", "cgroup2", "cgroup", "", !privileged, Restrict::NO_SUID_DEV_EXEC),
        fs("/dev/mqueue", "mqueue", "mqueue", "", false, Restrict::NO_SUID_DEV_EXEC),
        fs("/dev/shm", "tmpfs", "shm", &shm, false, Restrict::NO_SUID_DEV_EXEC),
    ]
}

struct Restrict {
    nosuid: bool,
    nodev: bool,
    noexec: bool,
}

impl Restrict {
    const NO_SUID: Self = Self { nosuid: true, nodev: false, noexec: false };
    const NO_SUID_EXEC: Self = Self { nosuid: true, nodev: false, noexec: true };
    const NO_SUID_DEV_EXEC: Self = Self { nosuid: true, nodev: true, noexec: true };
}

fn fs(
    destination: &str,
    fstype: &str,
    source: &str,
    data: &str,
    readonly: bool,
    restrict: Restrict,
) -> Mount {
    Mount {
        destination: PathBuf::from(destination),
        kind: MountKind::Fs {
            fstype: fstype.to_owned(),
            source: source.to_owned(),
            data: data.to_owned(),
        },
        readonly,
        nosuid: restrict.nosuid,
        nodev: restrict.nodev,
        noexec: restrict.noexec,
    }
}

/// The device nodes of a container. /dev/ptmx is a link into its own devpts, /dev/console the
/// terminal, when it has one.
#[must_use]
pub fn devices() -> Vec<Device> {
    [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ]
    .into_iter()
    .map(|(name, major, minor)| Device {
        path: PathBuf::from("/dev").join(name),
        block: false,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    })
    .collect()
}

/// Kernel interfaces that a container must not read. Not for privileged ones.
#[must_use]
pub fn masked_paths() -> Vec<PathBuf> {
    [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ]
    .map(PathBuf::from)
    .to_vec()
}

/// Kernel interfaces that a container must not write. Not for privileged ones.
#[must_use]
pub fn readonly_paths() -> Vec<PathBuf> {
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        .map(PathBuf::from)
        .to_vec()
}

/// Resource limits when nobody asks for others: the 1024 open files that programs using select(2)
/// expect, and room to raise it for those that need more (what systemd gives every service).
#[must_use]
pub fn rlimits() -> Vec<Rlimit> {
    vec![Rlimit { kind: "nofile".to_owned(), soft: 1024, hard: 524_288 }]
}

/// Kernel parameters when nobody asks for others: unprivileged ports from 0 and ping without
/// CAP_NET_RAW, as Docker sets them in a network namespace of the container's own. Groups that are
/// not mapped cannot be named there.
#[must_use]
pub fn sysctls(ids: Option<&UserNamespace>) -> Vec<(String, String)> {
    let mapped = |ids: &UserNamespace| {
        let from_0 = ids.gid_mappings.iter().find(|mapping| mapping.container_id == 0);
        from_0.map_or(0, |mapping| mapping.size.saturating_sub(1))
    };
    let last = ids.map_or(i32::MAX.cast_unsigned(), mapped);
    vec![
        ("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned()),
        ("net.ipv4.ping_group_range".to_owned(), format!("0 {last}")),
    ]
}

/// The kernel parameters that are an IPC namespace's own (ipc_namespaces(7)), beside `fs.mqueue.*`.
pub const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];
