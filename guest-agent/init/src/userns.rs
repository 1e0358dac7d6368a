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
//! Where a file system cannot map ids (virtiofs before Linux 6.12, so shared folders of the host),
//! ids of files are the VM's: those not in the mapped range are shown as the overflow id, 65534.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use linkspan_runtime::plan::{HostIds, IdMapping, Plan, UserNamespace};
use linkspan_runtime::wire::{CGROUP_FD, Failure, InitMessage, Step, TARGET_FD, USER_FD};
use linkspan_sys::Errno;
use linkspan_sys::mount::{attach, clone_tree};
use linkspan_sys::process::{fork, set_gid, set_groups, set_uid, setns, take_inherited};
use linkspan_sys::spawn::{Forked, fork_as_sibling};
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, fstat};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Pid, Uid, chdir, fchown};

use crate::report::{About as _, Fault, Report};
use crate::{devices, mounts, process, rootfs, start};

/// What the first process leaves to the second.
struct Prepared {
    root: OwnedFd,
    sources: Vec<Option<OwnedFd>>,
    devices: Vec<OwnedFd>,
}

/// Becomes the container's first process, or returns, Ok, as the one that has prepared it.
pub(crate) fn run(report: &mut Report, plan: &Plan, ids: &UserNamespace) -> Result<(), Failure> {
    // All that was passed, before a new descriptor gets a number that was left free.
    let (target, user) = (take_inherited(TARGET_FD), take_inherited(USER_FD));
    let cgroup = report.step(Step::UserNamespace, || {
        take_inherited(CGROUP_FD)
            .ok_or_else(|| Fault::new(format!("no cgroup was passed as descriptor {CGROUP_FD}")))
    })?;
    start::join_network(report)?;
    let ipc = start::join_others(report)?;
    let namespace = report.step(Step::UserNamespace, || make(ids))?;
    let sources = report.step(Step::Sources, || {
        let sources = mounts::open_sources(&plan.mounts, ipc.as_ref())?;
        mounts::map_ids(&plan.mounts, &sources, &namespace)?;
        Ok(sources)
    })?;
    // After the sources, which keep how they spread.
    report.step(Step::Overlay, rootfs::make_private)?;
    let devices =
        report.step(Step::Devices, || devices::mounts_of(&plan.devices, &plan.rootfs.work, ids))?;
    let root = report.step(Step::Overlay, || {
        rootfs::mount_mapped_overlay(&plan.rootfs, &namespace, ids.root())?;
        clone_tree(&plan.rootfs.work, false).about(|| plan.rootfs.work.display().to_string())
    })?;
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
        return second(report, plan, Prepared { root, sources, devices });
    };
    let message = InitMessage::Process { pid: child.pid.as_raw() };
    let told = report.hand_over(&message, child.pidfd.as_fd());
    // Not told: the child ends with the socket, as the agent kills what it does not get.
    report.step(Step::UserNamespace, || told)
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
    report.await_go();
    report.wait_for_go();
    report.step(Step::Unshare, || {
        let mut flags = CloneFlags::CLONE_NEWNS;
        flags.set(CloneFlags::CLONE_NEWCGROUP, plan.namespaces.cgroup);
        Ok(unshare(flags)?)
    })?;
    start::loopback(report, plan)?;
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
    let (mut ours, mut theirs) = UnixStream::pair().about(|| "a socket pair".to_owned())?;
    let Some(child) = fork()? else {
        drop(ours);
        let errno = unshare(CloneFlags::CLONE_NEWUSER).err().map_or(0, |errno| errno as i32);
        let told = theirs.write_all(&errno.to_le_bytes());
        if told.is_ok() {
            // Until the other end is closed.
            let _ = theirs.read(&mut [0]);
        }
        std::process::exit(0);
    };
    drop(theirs);
    let namespace = map(&mut ours, child, ids);
    drop(ours);
    waitpid(child, None)?;
    namespace
}

fn map(child: &mut UnixStream, pid: Pid, ids: &UserNamespace) -> Result<OwnedFd, Fault> {
    let mut errno = [0; 4];
    child.read_exact(&mut errno).about(|| "a process for it has ended".to_owned())?;
    match i32::from_le_bytes(errno) {
        0 => {}
        errno => return Err(Errno::from_raw(errno).into()),
    }
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
