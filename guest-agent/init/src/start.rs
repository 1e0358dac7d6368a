//! The first process of a container. This process was made in the container's new namespaces and
//! in its cgroup; everything else is done here, in an order that mostly cannot be another one.

use std::os::fd::{AsFd as _, OwnedFd};

use linkspan_runtime::bundle::{Bundle, HookStates, RootPropagation};
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
use crate::{bundle, cwd, devices, mounts, process, rootfs, terminal};

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
    if let Some(target) = take_inherited(TARGET_FD)
        && enter_pid_namespace(report, &target)? == Side::Messenger
    {
        return Ok(());
    }
    if plan.namespaces.cgroup {
        // Not at clone3: the root of a cgroup namespace is the cgroup of whoever makes it.
        report.step(Step::Unshare, || Ok(unshare(CloneFlags::CLONE_NEWCGROUP)?))?;
    }
    if bundle.is_some()
        && let Some(namespace) = take_inherited(CGROUP_NAMESPACE_FD)
    {
        report.step(Step::JoinOthers, || {
            setns(&namespace, CloneFlags::CLONE_NEWCGROUP).about(|| "cgroup".to_owned())
        })?;
    }
    if let Some(namespace) = take_inherited(NETWORK_FD) {
        report.step(Step::JoinNetwork, || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?))?;
    }
    let ipc = take_inherited(IPC_FD);
    report.step(Step::JoinOthers, || join_others(ipc.as_ref()))?;
    if plan.namespaces.network {
        report.step(Step::Loopback, || Ok(interface_up("lo")?))?;
    }
    // Layers and bind sources are paths in the VM. From the pivot on, none of those is left and
    // every path is the container's: so no path of the container is ever resolved in the VM.
    // Before the overlay, which lies over a folder of the VM.
    let sources =
        report.step(Step::Sources, || mounts::open_sources(&plan.mounts, ipc.as_ref()))?;
    let propagation = bundle.map_or(RootPropagation::Private, |bundle| bundle.root_propagation);
    report.step(Step::Overlay, || rootfs::enter(&plan.rootfs, propagation))?;
    let mut hook_states = HookStates::default();
    let root = match bundle {
        None => {
            report.step(Step::Pivot, rootfs::pivot)?;
            let root = report.step(Step::Mounts, || Ok(Root::open()?))?;
            furnish(report, plan, &root, sources)?;
            root
        }
        Some(bundle) => {
            let root = report.step(Step::Mounts, || Ok(Root::ahead()?))?;
            furnish(report, plan, &root, sources)?;
            report.step(Step::Devices, || devices::make_nodes(&root, &bundle.nodes))?;
            hook_states = bundle::before_pivot(report, bundle)?;
            report.step(Step::Pivot, rootfs::pivot)?;
            report.step(Step::Pivot, || rootfs::propagate(&root, propagation))?;
            root
        }
    };
    let terminal = match plan.process.terminal {
        None => None,
        Some(size) => Some(report.step(Step::Terminal, || {
            let terminal = terminal::open(&root, size)?;
            terminal::bind_console(&root, &terminal)?;
            Ok(terminal)
        })?),
    };
    let names = plan.namespaces.uts || bundle.is_some_and(|bundle| bundle.names_joined_uts);
    if names {
        report.step(Step::Hostname, || set_names(plan))?;
    }
    if !plan.sysctls.is_empty() {
        // Before /proc/sys becomes read-only.
        report.step(Step::Sysctls, || set_sysctls(&plan.sysctls))?;
    }
    // Before the root becomes read-only.
    report.step(Step::WorkingDirectory, || cwd::enter_or_make(&root, &plan.process.cwd))?;
    report.step(Step::Protect, || {
        mounts::make_readonly(&root, &plan.readonly_paths)?;
        mounts::mask(&root, &plan.masked_paths)?;
        if plan.rootfs.readonly {
            mounts::make_root_readonly(&root)?;
        }
        Ok(())
    })?;
    if let Some(terminal) = &terminal {
        let sent = report.hand_over(&InitMessage::PtyMaster, terminal.master.as_fd());
        report.step(Step::Terminal, || sent)?;
    }
    let bundle = bundle.map(|bundle| Waiting { bundle, states: hook_states });
    process::become_it(report, &plan.process, terminal, bundle)
}

/// What the plan has in the root.
fn furnish(
    report: &mut Report,
    plan: &Plan,
    root: &Root,
    sources: Vec<Option<OwnedFd>>,
) -> Result<(), Failure> {
    report.step(Step::Mounts, || mounts::mount_all(root, &plan.mounts, sources))?;
    report.step(Step::Devices, || devices::make_all(root, &plan.devices))
}

fn join_others(ipc: Option<&OwnedFd>) -> Result<(), Fault> {
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
