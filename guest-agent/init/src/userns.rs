//! The first process of a container whose ids are mapped: in a user namespace, which owns its
//! other namespaces, so that its root is nobody in the VM.
//!
//! Two processes, because a user namespace has to be entered before the pid namespace that it
//! shall own is made, and after everything that needs the VM's root. The first one prepares:
//!
//! - a user namespace with the mappings (or, when namespaces of another container are joined, that
//!   one's, which owns them);
//! - the layers, bind sources and devices as detached mounts on which the mappings are laid
//!   (`MOUNT_ATTR_IDMAP`), so that files keep the ids on the disk that they have in the container:
//!   nothing is copied or chowned, and the same layers and volumes serve containers with and
//!   without mapped ids;
//! - what only the VM's root may do: the overlay, hard limits, the OOM score, owners of streams.
//!
//! Then it enters the user namespace, makes the others and forks the second one, which waits until
//! the agent has prepared the network, and goes on as any container's first process does.
//!
//! The root and the mounts of an OCI bundle are taken as they are: whoever made the bundle has given
//! its files to the ids outside (config-linux.md, "User namespace mappings").
//!
//! Where a file system cannot map ids (virtiofs before Linux 6.12, so shared folders of the host),
//! ids of files are the VM's: those not in the mapped range are shown as the overflow id, 65534.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::{Bundle, NodeKind};
use linkspan_runtime::plan::{Device, HostIds, IdMapping, Plan, UserNamespace};
use linkspan_runtime::wire::{CGROUP_FD, Failure, InitMessage, Step, TARGET_FD, USER_FD};
use linkspan_sys::Errno;
use linkspan_sys::mount::{attach, clone_tree};
use linkspan_sys::process::{beside, set_gid, set_groups, set_uid, setns, take_inherited};
use linkspan_sys::spawn::{Forked, fork_as_sibling};
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{Gid, Pid, Uid, chdir, fchdir, fchown};

use crate::report::{About as _, Fault, Report};
use crate::{bundle, clocks, devices, mounts, process, rootfs, start};

/// What the first process leaves to the second.
struct Prepared {
    root: OwnedFd,
    sources: Vec<Option<OwnedFd>>,
    devices: Vec<OwnedFd>,
}

/// Becomes the container's first process, or returns, Ok, as the one that has prepared it.
pub(crate) fn run(
    report: &mut Report,
    plan: &Plan,
    ids: &UserNamespace,
    bundle: Option<&Bundle>,
) -> Result<(), Failure> {
    // All that was passed, before a new descriptor gets a number that was left free.
    let (target, user) = (take_inherited(TARGET_FD), take_inherited(USER_FD));
    let cgroup = report.step(Step::UserNamespace, || {
        take_inherited(CGROUP_FD)
            .ok_or_else(|| Fault::new(format!("no cgroup was passed as descriptor {CGROUP_FD}")))
    })?;
    start::join_bundle_namespaces(report, bundle)?;
    start::join_network(report)?;
    let ipc = start::join_others(report)?;
    let namespace = report.step(Step::UserNamespace, || make(ids))?;
    let prepared = match bundle {
        None => prepare(report, plan, ids, ipc.as_ref(), &namespace)?,
        Some(bundle) => prepare_bundle(report, plan, ids, ipc.as_ref(), bundle)?,
    };
    process::prepare_outside(report, &plan.process)?;
    if let Some(target) = target {
        report.step(Step::Join, || Ok(setns(&target, CloneFlags::CLONE_NEWPID)?))?;
    }
    report.step(Step::UserNamespace, || {
        setns(user.as_ref().unwrap_or(&namespace), CloneFlags::CLONE_NEWUSER)?;
        Ok(unshare(new_ones(plan))?)
    })?;
    // Still with the VM's user 0, to whom the cgroup belongs.
    let forked = report.step(Step::UserNamespace, || Ok(fork_as_sibling(Some(cgroup.as_fd()))?))?;
    let Forked::Parent(child) = forked else {
        return match bundle {
            None => second(report, plan, prepared),
            Some(bundle) => second_of_bundle(report, plan, prepared, bundle),
        };
    };
    let message = InitMessage::Process { pid: child.pid.as_raw() };
    let told = report.hand_over(&message, child.pidfd.as_fd());
    // Not told: the child ends with the socket, as the agent kills what it does not get.
    report.step(Step::UserNamespace, || told)
}

/// With the mappings laid on everything.
fn prepare(
    report: &mut Report,
    plan: &Plan,
    ids: &UserNamespace,
    ipc: Option<&OwnedFd>,
    namespace: &OwnedFd,
) -> Result<Prepared, Failure> {
    let sources = report.step(Step::Sources, || {
        let sources = mounts::open_sources(&plan.mounts, ipc)?;
        mounts::map_ids(&plan.mounts, &sources, namespace)?;
        Ok(sources)
    })?;
    // After the sources, which keep how they spread.
    report.step(Step::Overlay, rootfs::make_private)?;
    let devices =
        report.step(Step::Devices, || devices::mounts_of(&plan.devices, &plan.rootfs.work, ids))?;
    let root = report.step(Step::Overlay, || {
        rootfs::mount_mapped_overlay(&plan.rootfs, namespace, ids.root())?;
        clone_tree(&plan.rootfs.work, false).about(|| plan.rootfs.work.display().to_string())
    })?;
    Ok(Prepared { root, sources, devices })
}

/// As it is, but for devices, which follow those of the plan.
fn prepare_bundle(
    report: &mut Report,
    plan: &Plan,
    ids: &UserNamespace,
    ipc: Option<&OwnedFd>,
    bundle: &Bundle,
) -> Result<Prepared, Failure> {
    let sources = report.step(Step::Sources, || mounts::open_sources(&plan.mounts, ipc))?;
    report.step(Step::Overlay, || rootfs::enter(&plan.rootfs, bundle.root_propagation))?;
    let nodes = bundle.nodes.iter().filter(|node| node.kind != NodeKind::Pipe);
    let nodes = nodes.map(|node| Device {
        path: node.path.clone(),
        block: node.kind == NodeKind::Block,
        major: node.major,
        minor: node.minor,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
    });
    let wanted: Vec<Device> = plan.devices.iter().cloned().chain(nodes).collect();
    // For that moment, over the root.
    let place = plan.rootfs.lower.first().map_or(Path::new("/"), PathBuf::as_path);
    let devices = report.step(Step::Devices, || devices::mounts_of(&wanted, place, ids))?;
    let root = report.step(Step::Overlay, || {
        clone_tree(Path::new("."), true).about(|| place.display().to_string())
    })?;
    report.step(Step::Schedule, || bundle::set_schedule(bundle))?;
    Ok(Prepared { root, sources, devices })
}

fn new_ones(plan: &Plan) -> CloneFlags {
    let mut flags = CloneFlags::empty();
    flags.set(CloneFlags::CLONE_NEWPID, plan.namespaces.pid);
    flags.set(CloneFlags::CLONE_NEWUTS, plan.namespaces.uts);
    flags.set(CloneFlags::CLONE_NEWIPC, plan.namespaces.ipc);
    flags.set(CloneFlags::CLONE_NEWNET, plan.namespaces.network);
    flags
}

/// The process itself: in all its namespaces but those of mounts and cgroups.
fn second(report: &mut Report, plan: &Plan, mut prepared: Prepared) -> Result<(), Failure> {
    begin_second(report, plan)?;
    // While the VM's own can still be seen: the kernel refuses these to a user namespace that
    // sees none (mount_too_revealing() in fs/namespace.c).
    report.step(Step::Mounts, || mounts::open_revealing(&plan.mounts, &mut prepared.sources))?;
    report.step(Step::Pivot, || {
        // The copy: a mount that came with the namespace's making is locked in its place.
        attach(&prepared.root, open_here()?)?;
        chdir(&plan.rootfs.work)?;
        rootfs::pivot()
    })?;
    // The VM's user 0 from before has no number here, and can make no file.
    report.step(Step::UserNamespace, become_root)?;
    let devices = start::Devices::Mounted(prepared.devices);
    start::inside(report, plan, prepared.sources, devices)
}

/// The same of a bundle, whose hooks see the mounts before the root is changed.
fn second_of_bundle(
    report: &mut Report,
    plan: &Plan,
    prepared: Prepared,
    bundle: &Bundle,
) -> Result<(), Failure> {
    let Prepared { root, sources, mut devices } = prepared;
    begin_second(report, plan)?;
    clocks::enter(report, bundle)?;
    report.step(Step::Overlay, || {
        attach(&root, open_here()?)?;
        become_root()?;
        // By descriptor: the folders above it may be closed to this root.
        Ok(fchdir(&root)?)
    })?;
    let nodes = devices.split_off(plan.devices.len());
    start::ahead(report, plan, bundle, sources, start::Devices::Mounted(devices), Some(nodes))
}

/// Waits until it may go on, and enters what has to be entered by the process itself.
fn begin_second(report: &mut Report, plan: &Plan) -> Result<(), Failure> {
    report.await_go();
    report.wait_for_go();
    report.step(Step::Unshare, || {
        let mut flags = CloneFlags::CLONE_NEWNS;
        flags.set(CloneFlags::CLONE_NEWCGROUP, plan.namespaces.cgroup);
        Ok(unshare(flags)?)
    })?;
    start::loopback(report, plan)
}

fn open_here() -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(".", flags, Mode::empty())
}

/// User and group 0 of the user namespace that was joined, with every capability in it.
pub(crate) fn become_root() -> Result<(), Fault> {
    set_groups(&[]).about(|| "no groups".to_owned())?;
    set_gid(0).about(|| "group 0".to_owned())?;
    set_uid(0).about(|| "user 0".to_owned())
}

/// Gives standard streams to the container's root, who could not open /dev/stdout otherwise.
pub(crate) fn give_streams(root: HostIds) -> Result<(), Fault> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        if fstat(stream)?.st_rdev == nix::sys::stat::makedev(1, 3) {
            continue;
        }
        let (uid, gid) = (Uid::from_raw(root.uid), Gid::from_raw(root.gid));
        match fchown(stream, Some(uid), Some(gid)) {
            // A file of a read-only or foreign file system: its owner has decided.
            Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// A user namespace with these mappings. It has no process: one was in it until they were written,
/// because only a process outside may write more than its own id.
fn make(ids: &UserNamespace) -> Result<OwnedFd, Fault> {
    beside(|| unshare(CloneFlags::CLONE_NEWUSER), |child| map(child, ids))
}

fn map(pid: Pid, ids: &UserNamespace) -> Result<OwnedFd, Fault> {
    for (name, mappings) in [("uid_map", &ids.uid_mappings), ("gid_map", &ids.gid_mappings)] {
        let text = lines(mappings);
        // In one write(2), as the kernel wants it.
        std::fs::write(format!("/proc/{pid}/{name}"), &text)
            .about(|| format!("{name} `{}`", text.trim_end()))?;
    }
    let path = format!("/proc/{pid}/ns/user");
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path.as_str(), flags, Mode::empty()).about(|| format!("`{path}`"))
}

/// user_namespaces(7), "User and group ID mappings".
fn lines(mappings: &[IdMapping]) -> String {
    let line = |mapping: &IdMapping| {
        format!("{} {} {}\n", mapping.container_id, mapping.host_id, mapping.size)
    };
    mappings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_written_one_a_line() {
        let of = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(lines(&[of(0, 100_000, 1000), of(1000, 7, 1)]), "0 100000 1000\n1000 7 1\n");
    }
}
