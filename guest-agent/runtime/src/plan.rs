//! What a container is, worked out to the last detail, before any process exists.
//!
//! A [`Plan`] has the shape of the OCI runtime configuration (config.md, config-linux.md), reduced
//! to what has been decided: names are numbers, defaults are filled in, images are directories.
//! `linkspan-init` carries it out literally and decides nothing. It is plain data: built by
//! `containers`, checked here, sent to the child as one message.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::devices::DeviceRule;

/// One container, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The first process.
    pub process: Process,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Mounts inside the root, in this order.
    pub mounts: Vec<Mount>,
    /// UTS host name.
    pub hostname: String,
    /// UTS NIS domain name; empty: untouched.
    pub domainname: String,
    /// Which namespaces are new. What is not listed is shared with the VM.
    pub namespaces: Namespaces,
    /// Its ids are mapped, in a user namespace that owns the new ones. None: it has the VM's.
    pub user_namespace: Option<UserNamespace>,
    /// The cgroup, relative to the cgroup2 mount, such as `linkspan/containers/4f1c...`.
    pub cgroup: PathBuf,
    /// Limits written to that cgroup before the process is born in it.
    pub resources: Resources,
    /// Device nodes made in the root.
    pub devices: Vec<Device>,
    /// What the device filter allows beside [`crate::devices::STANDARD_RULES`].
    pub device_rules: Vec<DeviceRule>,
    /// No device filter at all (privileged).
    pub all_devices: bool,
    /// Covered so that nothing can be read (files by /dev/null, folders by an empty tmpfs).
    pub masked_paths: Vec<PathBuf>,
    /// Remounted read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// Kernel parameters of the new namespaces: `net.ipv4.ip_forward` = `1`.
    pub sysctls: Vec<(String, String)>,
}

/// A process of a container: its first one, or one more (`exec`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Never empty. The first is looked up in the container's PATH when it has no slash.
    pub args: Vec<String>,
    /// KEY=VALUE, no duplicates.
    pub env: Vec<String>,
    /// Absolute, inside the container; made when missing (as Docker does) for the first process.
    pub cwd: PathBuf,
    /// Who it runs as. Names are resolved inside the container's root, by `linkspan-init`.
    pub user: UserSpec,
    /// A pseudo-terminal of the container's own devpts instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// What is left of root.
    pub capabilities: CapabilitySets,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// The system call filter as compiled classic BPF; empty: unconfined.
    pub seccomp: Vec<u64>,
    /// /proc/self/oom_score_adj; None: untouched.
    pub oom_score_adj: Option<i32>,
    /// `linkspan-init` stays, passes signals on and reaps; the program is its child.
    pub init: bool,
    /// Who its container's root is in the VM, when ids are mapped: [`UserNamespace::root`].
    pub mapped_root: Option<HostIds>,
}

/// A user as the image or the command line names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct UserSpec {
    /// `name|uid[:group|gid]`; empty: root. Numbers need no passwd entry.
    pub user: String,
    /// Supplementary groups, names or numbers, beside those of the group file.
    pub additional_groups: Vec<String>,
}

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Bit sets over capability numbers (linux/capability.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CapabilitySets {
    /// What execve can ever give.
    pub bounding: u64,
    /// What the process may use, for root.
    pub effective: u64,
    /// The upper bound of effective.
    pub permitted: u64,
    /// Kept over execve when the file says so.
    pub inheritable: u64,
    /// Kept over execve without the file saying so.
    pub ambient: u64,
}

/// setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile`, `nproc`, ...: Docker's `--ulimit` names.
    pub kind: String,
    /// Soft limit; `u64::MAX`: unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Layers' directories, base first. Never empty.
    pub lower: Vec<PathBuf>,
    /// Where the container's changes go. An empty path: into the only layer, which is the root
    /// as it is (an OCI bundle).
    pub upper: PathBuf,
    /// overlayfs' scratch folder: empty, same file system as `upper`.
    pub work: PathBuf,
    /// Remounted read-only once everything is in place.
    pub readonly: bool,
}

/// The files of a container that does not run, to be looked at from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// The root file system.
    pub rootfs: Rootfs,
    /// Mounts inside the root, in this order.
    pub mounts: Vec<Mount>,
}

/// One mount inside the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, inside the container. Resolved within the root, never through it.
    pub destination: PathBuf,
    /// What to mount.
    pub kind: MountKind,
    /// MS_RDONLY.
    pub readonly: bool,
    /// MS_NOSUID.
    pub nosuid: bool,
    /// MS_NODEV.
    pub nodev: bool,
    /// MS_NOEXEC.
    pub noexec: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A new instance of a file system: proc, sysfs, tmpfs, devpts, mqueue, cgroup2.
    Fs {
        /// The type.
        fstype: String,
        /// What /proc/mounts shows as the source.
        source: String,
        /// File system specific options, comma separated.
        data: String,
    },
    /// Memory. Without a `mode` among its options it takes that of the folder it covers.
    Tmpfs {
        /// Options of tmpfs(5), comma separated.
        data: String,
    },
    /// A file or folder of the VM.
    Bind(Bind),
    /// The /dev/shm of the container whose IPC namespace is joined.
    JoinedSharedMemory,
    /// One of the others, with all that an OCI bundle can say of it.
    Detailed(Box<Detailed>),
}

/// A mount in the terms of the kernel, beside [`Mount`]'s four flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detailed {
    /// What is mounted: `Fs` or `Bind`.
    pub kind: MountKind,
    /// MOUNT_ATTR_*: set on the mount.
    pub set: u64,
    /// Taken away before: a bind mount has those of its source.
    pub clear: u64,
    /// Set on the mount and those below it.
    pub set_below: u64,
    /// Taken away from the mount and those below it.
    pub clear_below: u64,
    /// In this order.
    pub propagation: Vec<Propagation>,
    /// A tmpfs begins with what the folder that it covers has (`tmpcopyup`).
    pub copy_up: bool,
}

/// Where a bind mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute, in the VM.
    pub source: PathBuf,
    /// What of the source, relative to it; empty: all. Resolved within the source, never through
    /// it: what lies there may have been written by a container.
    pub within: PathBuf,
    /// MS_REC.
    pub recursive: bool,
    /// A read-only mount makes those below it read-only too.
    pub readonly_below: bool,
    /// How mounts and unmounts spread. None: as they do in the VM.
    pub propagation: Option<Propagation>,
}

impl Bind {
    /// All of a file or folder, without what is mounted below it.
    #[must_use]
    pub fn of(source: PathBuf) -> Self {
        Self {
            source,
            within: PathBuf::new(),
            recursive: false,
            readonly_below: false,
            propagation: None,
        }
    }
}

/// How mounts and unmounts spread to and from a mount (mount_namespaces(7), "Shared subtrees").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// Which way.
    pub kind: PropagationKind,
    /// Of the mounts below too.
    pub recursive: bool,
}

/// Which way mounts and unmounts spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagationKind {
    /// No way.
    Private,
    /// From the VM to the container.
    Slave,
    /// Both ways.
    Shared,
    /// No way, and the mount cannot be bind-mounted.
    Unbindable,
}

/// Which namespaces are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// CLONE_NEWPID.
    pub pid: bool,
    /// CLONE_NEWUTS.
    pub uts: bool,
    /// CLONE_NEWIPC.
    pub ipc: bool,
    /// CLONE_NEWNET; the loopback interface is brought up.
    pub network: bool,
    /// CLONE_NEWCGROUP.
    pub cgroup: bool,
}

/// Mappings of a user namespace (config-linux.md, "User namespace mappings").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Of user ids. Id 0 has to be among them.
    pub uid_mappings: Vec<IdMapping>,
    /// Of group ids. Id 0 has to be among them.
    pub gid_mappings: Vec<IdMapping>,
}

impl UserNamespace {
    /// Who its root is outside.
    #[must_use]
    pub fn root(&self) -> HostIds {
        // The kernel refuses whatever follows when it is nobody.
        self.outside(0, 0).unwrap_or(HostIds { uid: 0, gid: 0 })
    }

    /// Who a user and a group are outside; None: nobody.
    #[must_use]
    pub fn outside(&self, uid: u32, gid: u32) -> Option<HostIds> {
        let (uid, gid) = (outside(&self.uid_mappings, uid)?, outside(&self.gid_mappings, gid)?);
        Some(HostIds { uid, gid })
    }

    /// Who a user and a group of the VM are inside; None: nobody.
    #[must_use]
    pub fn inside(&self, ids: HostIds) -> Option<(u32, u32)> {
        Some((inside(&self.uid_mappings, ids.uid)?, inside(&self.gid_mappings, ids.gid)?))
    }
}

fn outside(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| moved(id, mapping.container_id, mapping.host_id, mapping))
}

fn inside(mappings: &[IdMapping], id: u32) -> Option<u32> {
    mappings.iter().find_map(|mapping| moved(id, mapping.host_id, mapping.container_id, mapping))
}

fn moved(id: u32, from: u32, to: u32, mapping: &IdMapping) -> Option<u32> {
    let offset = id.checked_sub(from).filter(|offset| *offset < mapping.size)?;
    to.checked_add(offset)
}

/// A range of ids, as OCI and the kernel have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first one inside.
    pub container_id: u32,
    /// The one that it is outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A user and a group of a container as the VM knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIds {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute, inside the container.
    pub path: PathBuf,
    /// `true`: a block device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// The same.
    pub gid: u32,
}

/// cgroup v2 limits (Documentation/admin-guide/cgroup-v2.rst). None: the file is not written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Resources {
    /// memory.max, bytes.
    pub memory_max: Option<u64>,
    /// memory.swap.max, bytes (swap alone, unlike Docker's flag); `u64::MAX`: `max`.
    pub swap_max: Option<u64>,
    /// memory.low, bytes.
    pub memory_low: Option<u64>,
    /// cpu.max: quota and period, microseconds.
    pub cpu_max: Option<(u64, u64)>,
    /// cpu.weight, 1 to 10000.
    pub cpu_weight: Option<u64>,
    /// cpuset.cpus.
    pub cpuset_cpus: Option<String>,
    /// cpuset.mems.
    pub cpuset_mems: Option<String>,
    /// pids.max.
    pub pids_max: Option<u64>,
    /// The share of disk bandwidth against others, as blkio of cgroup v1 counted it: 10 to 1000.
    pub io_weight: Option<u64>,
    /// The same for one device each. 0: as the others.
    pub io_weights: Vec<(DiskNumber, u64)>,
    /// io.max.
    pub io_max: Vec<IoMax>,
}

/// The number of a block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DiskNumber {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
}

/// The most a cgroup may do with one disk. None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoMax {
    /// Which.
    pub disk: DiskNumber,
    /// Bytes read in a second.
    pub read_bytes: Option<u64>,
    /// Bytes written in a second.
    pub written_bytes: Option<u64>,
    /// Reads in a second.
    pub reads: Option<u64>,
    /// Writes in a second.
    pub writes: Option<u64>,
}

impl IoMax {
    /// No limit.
    #[must_use]
    pub fn none(disk: DiskNumber) -> Self {
        Self { disk, read_bytes: None, written_bytes: None, reads: None, writes: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_both_ways_within_their_ranges() {
        let of = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let ids = UserNamespace {
            uid_mappings: vec![of(0, 100_000, 1000), of(2000, 7, 1)],
            gid_mappings: vec![of(0, 200_000, 3000)],
        };
        assert_eq!(ids.root(), HostIds { uid: 100_000, gid: 200_000 });
        assert_eq!(ids.outside(999, 2999), Some(HostIds { uid: 100_999, gid: 202_999 }));
        assert_eq!(ids.outside(2000, 0), Some(HostIds { uid: 7, gid: 200_000 }));
        for (uid, gid) in [(1000, 0), (0, 3000), (u32::MAX, 0)] {
            assert_eq!(ids.outside(uid, gid), None, "{uid}:{gid}");
        }
        assert_eq!(ids.inside(HostIds { uid: 7, gid: 200_001 }), Some((2000, 1)));
        assert_eq!(ids.inside(HostIds { uid: 0, gid: 200_000 }), None);
    }
}
