//! The first process of a container. This process was made in the container's new namespaces and
//! in its cgroup; everything else is done here, in an order that mostly cannot be another one.

use std::os::fd::{AsFd as _, OwnedFd};

use linkspan_runtime::bundle::{Bundle, RootPropagation};
use linkspan_runtime::plan::Plan;
use linkspan_runtime::wire::{
    CGROUP_NAMESPACE_FD, Failure, IPC_FD, InitMessage, NETWORK_FD, Step, TARGET_FD, UTS_FD,
};
use linkspan_sys::net::interface_up;
use linkspan_sys::process::{set_domain_name, setns, take_inherited};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::sethostname;

use crate::bundle::Waiting;
use crate::exec::{Side, enter_pid_namespace};
use crate::paths::{Root, sysctl};
use crate::report::{About as _, Fault, Report};
use crate::{bundle, clocks, cwd, devices, mounts, process, rootfs, terminal, userns};

/// Becomes the container's first process. Returns when something is in the way, and, Ok, when the
/// first process is another one, made in the pid namespace that is joined.
///
/// `bundle`: it is only created here, and started by somebody else.
pub(crate) fn run(
    report: &mut Report,
    plan: &Plan,
    bundle: Option<&Bundle>,
) -> Result<(), Failure> {
    // Modes of what is made here are meant as they are written.
    umask(Mode::empty());
    if let Some(ids) = &plan.user_namespace {
        return userns::run(report, plan, ids, bundle);
    }
    if let Some(target) = take_inherited(TARGET_FD)
        && enter_pid_namespace(report, &target)? == Side::Messenger
    {
        return Ok(());
    }
    if plan.namespaces.cgroup {
        // Not at clone3: the root of a cgroup namespace is the cgroup of whoever makes it.
        report.step(Step::Unshare, || Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?))?;
    }
    join_bundle_namespaces(report, bundle)?;
    if let Some(bundle) = bundle {
        clocks::enter(report, bundle)?;
    }
    join_network(report)?;
    let ipc = join_others(report)?;
    loopback(report, plan)?;
    // Layers and bind sources are paths in the VM. From the pivot on, none of those is left and
    // every path is the container's: so no path of the container is ever resolved in the VM.
    // Before the overlay, which lies over a folder of the VM.
    let sources =
        report.step(Step::Sources, || mounts::open_sources(&plan.mounts, ipc.as_ref()))?;
    let propagation = bundle.map_or(RootPropagation::Private, |bundle| bundle.root_propagation);
    report.step(Step::Overlay, || rootfs::enter(&plan.rootfs, propagation))?;
    let Some(bundle) = bundle else {
        report.step(Step::Pivot, rootfs::pivot)?;
        return inside(report, plan, sources, Devices::Nodes);
    };
    ahead(report, plan, bundle, sources, Devices::Nodes, None)
}

/// What follows once the root of a bundle is the working directory. `nodes`: mounts of those of its
/// devices that are no pipes, where they must not be made.
pub(crate) fn ahead(
    report: &mut Report,
    plan: &Plan,
    bundle: &Bundle,
    sources: Vec<Option<OwnedFd>>,
    devices: Devices,
    nodes: Option<Vec<OwnedFd>>,
) -> Result<(), Failure> {
    let root = report.step(Step::Mounts, || Ok(Root::ahead()?))?;
    furnish(report, plan, &root, sources, devices)?;
    report.step(Step::Devices, || match nodes {
        None => devices::make_nodes(&root, &bundle.nodes),
        Some(mounts) => devices::mount_nodes(&root, &bundle.nodes, mounts),
    })?;
    let states = bundle::before_pivot(report, bundle)?;
    report.step(Step::Pivot, rootfs::pivot)?;
    report.step(Step::Pivot, || rootfs::propagate(&root, bundle.root_propagation))?;
    finish(report, plan, &root, Some(Waiting { bundle, states }))
}

/// How device nodes come about.
pub(crate) enum Devices {
    /// They are made.
    Nodes,
    /// A user namespace must not make any: these, of the plan's in their order, are mounted.
    Mounted(Vec<OwnedFd>),
}

/// What follows once the root is the container's.
pub(crate) fn inside(
    report: &mut Report,
    plan: &Plan,
    sources: Vec<Option<OwnedFd>>,
    nodes: Devices,
) -> Result<(), Failure> {
    let root = report.step(Step::Mounts, || Ok(Root::open()?))?;
    furnish(report, plan, &root, sources, nodes)?;
    finish(report, plan, &root, None)
}

/// What the plan has in the root.
fn furnish(
    report: &mut Report,
    plan: &Plan,
    root: &Root,
    sources: Vec<Option<OwnedFd>>,
    nodes: Devices,
) -> Result<(), Failure> {
    report.step(Step::Mounts, || mounts::mount_all(root, &plan.mounts, sources))?;
    report.step(Step::Devices, || match nodes {
        Devices::Nodes => devices::make_all(root, &plan.devices),
        Devices::Mounted(mounts) => devices::mount_all(root, &plan.devices, mounts),
    })
}

/// Everything after that, to the process itself.
fn finish(
    report: &mut Report,
    plan: &Plan,
    root: &Root,
    bundle: Option<Waiting<'_>>,
) -> Result<(), Failure> {
    let terminal = match plan.process.terminal {
        None => None,
        Some(size) => Some(report.step(Step::Terminal, || {
            let terminal = terminal::open(root, size)?;
            terminal::bind_console(root, &terminal)?;
            Ok(terminal)
        })?),
    };
    let names = plan.namespaces.uts
        || bundle.as_ref().is_some_and(|waiting| waiting.bundle.names_joined_uts);
    if names {
        report.step(Step::Hostname, || set_names(plan))?;
    }
    if !plan.sysctls.is_empty() {
        // Before /proc/sys becomes read-only.
        report.step(Step::Sysctls, || set_sysctls(&plan.sysctls))?;
    }
    // Before the root becomes read-only.
    report.step(Step::WorkingDirectory, || cwd::enter_or_make(root, &plan.process.cwd))?;
    report.step(Step::Protect, || {
        mounts::make_readonly(root, &plan.readonly_paths)?;
        mounts::mask(root, &plan.masked_paths)?;
        if plan.rootfs.readonly {
            mounts::make_root_readonly(root)?;
        }
        Ok(())
    })?;
    if let Some(terminal) = &terminal {
        let sent = report.hand_over(&InitMessage::PtyMaster, terminal.master.as_fd());
        report.step(Step::Terminal, || sent)?;
    }
    process::become_it(report, &plan.process, terminal, bundle)
}

/// Joins what only the namespaces of a bundle's list name.
pub(crate) fn join_bundle_namespaces(
    report: &mut Report,
    bundle: Option<&Bundle>,
) -> Result<(), Failure> {
    if bundle.is_none() {
        return Ok(());
    }
    report.step(Step::JoinOthers, || {
        if let Some(namespace) = take_inherited(CGROUP_NAMESPACE_FD) {
            setns(&namespace, CloneFlags::CLONE_NEWCGROUP).about(|| "cgroup".to_owned())?;
        }
        clocks::join()
    })
}

/// Joins another container's network namespace, if there is one to join.
pub(crate) fn join_network(report: &mut Report) -> Result<(), Failure> {
    let Some(namespace) = take_inherited(NETWORK_FD) else { return Ok(()) };
    report.step(Step::JoinNetwork, || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?))
}

/// Joins other containers' IPC and UTS namespaces; the pidfd of the first one's, whose shared
/// memory is joined too.
pub(crate) fn join_others(report: &mut Report) -> Result<Option<OwnedFd>, Failure> {
    let ipc = take_inherited(IPC_FD);
    report.step(Step::JoinOthers, || join(ipc.as_ref()))?;
    Ok(ipc)
}

/// Brings the loopback interface of a new network namespace up.
pub(crate) fn loopback(report: &mut Report, plan: &Plan) -> Result<(), Failure> {
    if plan.namespaces.network {
        report.step(Step::Loopback, || Ok(interface_up("lo")?))?;
    }
    Ok(())
}

fn join(ipc: Option<&OwnedFd>) -> Result<(), Fault> {
    if let Some(target) = ipc {
        setns(target, CloneFlags::CLONE_NEWIPC).about(|| "IPC".to_owned())?;
    }
    if let Some(target) = take_inherited(UTS_FD) {
        setns(&target, CloneFlags::CLONE_NEWUTS).about(|| "UTS".to_owned())?;
    }
    Ok(())
}

/// Only in a UTS namespace of the container's: it would rename the VM otherwise.
fn set_names(plan: &Plan) -> Result<(), Fault> {
    if !plan.hostname.is_empty() {
        sethostname(&plan.hostname).about(|| format!("`{}`", plan.hostname))?;
    }
    if !plan.domainname.is_empty() {
        set_domain_name(&plan.domainname).about(|| format!("`{}`", plan.domainname))?;
    }
    Ok(())
}

fn set_sysctls(sysctls: &[(String, String)]) -> Result<(), Fault> {
    for (name, value) in sysctls {
        let path = sysctl(name)
            .ok_or_else(|| Fault::new(format!("`{name}` is not a parameter's name")))?;
        // No O_CREAT: a parameter that the kernel does not have is an error.
        let write = std::fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()));
        write.about(|| format!("`{name}` to `{value}`"))?;
    }
    Ok(())
}
