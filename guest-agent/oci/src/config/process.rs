//! `process` and `hooks`.

use linkspan_runtime::bundle::{Hook, Ids, Scheduler};
use linkspan_runtime::capabilities::{Capability, bit};
use linkspan_runtime::plan::{CapabilitySets, Process, Rlimit, TerminalSize, UserSpec};
use linkspan_runtime::{capabilities, seccomp};
use linkspan_sys::nix::libc;
use oci_spec::runtime::{
    Capabilities, IOPriorityClass, LinuxCapabilities, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    Process as Wanted, Spec,
};
use serde_json::Value;

use super::{ConfigError, filled, invalid, unsupported};

/// `process`, in two parts.
pub(super) struct Converted {
    pub(super) process: Process,
    pub(super) ids: Ids,
    pub(super) umask: u32,
    pub(super) io_priority: Option<u16>,
    pub(super) scheduler: Option<Scheduler>,
}

/// Takes capabilities that nobody knows out, with a warning: they cannot be granted, and that is
/// no error (config.md, "Linux Process").
pub(super) fn drop_unknown_capabilities(config: &mut Value, warnings: &mut Vec<String>) {
    let Some(sets) = config.pointer_mut("/process/capabilities").and_then(Value::as_object_mut)
    else {
        return;
    };
    for (set, names) in sets {
        let Some(names) = names.as_array_mut() else { continue };
        names.retain(|name| {
            let known = name.as_str().is_none_or(|name| name.parse::<Capability>().is_ok());
            if !known {
                warnings.push(format!("`process.capabilities.{set}`: {name} is not known here"));
            }
            known
        });
    }
}

pub(super) fn convert(spec: &Spec, warnings: &mut Vec<String>) -> Result<Converted, ConfigError> {
    let Some(wanted) = spec.process() else {
        return invalid("process", "it is required to start a container");
    };
    for (property, there, reason) in [
        (
            "process.apparmorProfile",
            filled(wanted.apparmor_profile()),
            "the kernel has no AppArmor",
        ),
        ("process.selinuxLabel", filled(wanted.selinux_label()), "the kernel has no SELinux"),
        ("process.commandLine", filled(wanted.command_line()), "this is a Linux runtime"),
    ] {
        if there {
            return unsupported(property, reason);
        }
    }
    if !wanted.cwd().is_absolute() {
        return invalid("process.cwd", format!("`{}` is not absolute", wanted.cwd().display()));
    }
    let args = wanted.args().clone().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return invalid("process.args", "there is no program to execute");
    }
    let sets = wanted
        .capabilities()
        .as_ref()
        .map_or_else(CapabilitySets::default, |wanted| capability_sets(wanted, warnings));
    let linux = spec.linux().as_ref();
    let filter = match linux.and_then(|linux| linux.seccomp().as_ref()) {
        None => Vec::new(),
        Some(profile) => seccomp_filter(profile, sets.bounding)?,
    };
    let process = Process {
        mapped_root: None,
        args,
        env: environment(wanted)?,
        cwd: wanted.cwd().clone(),
        user: UserSpec::default(),
        terminal: terminal(wanted)?,
        capabilities: sets,
        no_new_privileges: wanted.no_new_privileges().unwrap_or(false),
        rlimits: rlimits(wanted)?,
        seccomp: filter,
        oom_score_adj: wanted.oom_score_adj(),
        init: false,
    };
    let user = wanted.user();
    let umask = user.umask().unwrap_or(0o022);
    if umask > 0o777 {
        return invalid("process.user.umask", format!("{umask:o} is more than 777"));
    }
    Ok(Converted {
        process,
        ids: Ids {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
        },
        umask,
        io_priority: io_priority(wanted)?,
        scheduler: scheduler(wanted),
    })
}

/// execve(2) would take anything; the specification wants KEY=VALUE.
fn environment(wanted: &Wanted) -> Result<Vec<String>, ConfigError> {
    let env = wanted.env().clone().unwrap_or_default();
    match env.iter().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
        Some(entry) => invalid("process.env", format!("`{entry}` is not KEY=VALUE")),
        None => Ok(env),
    }
}

fn terminal(wanted: &Wanted) -> Result<Option<TerminalSize>, ConfigError> {
    if !wanted.terminal().unwrap_or(false) {
        // Runtimes MUST ignore `consoleSize` then.
        return Ok(None);
    }
    let Some(size) = wanted.console_size() else {
        return Ok(Some(TerminalSize { rows: 0, columns: 0 }));
    };
    match (u16::try_from(size.height()), u16::try_from(size.width())) {
        (Ok(rows), Ok(columns)) => Ok(Some(TerminalSize { rows, columns })),
        _ => invalid("process.consoleSize", "it is more than 65535"),
    }
}

fn rlimits(wanted: &Wanted) -> Result<Vec<Rlimit>, ConfigError> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for limit in wanted.rlimits().iter().flatten() {
        let kind = limit.typ().to_string();
        if limits.iter().any(|known| known.kind == kind) {
            return invalid("process.rlimits", format!("there are two of the type `{kind}`"));
        }
        limits.push(Rlimit { kind, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(limits)
}

fn capability_sets(wanted: &LinuxCapabilities, warnings: &mut Vec<String>) -> CapabilitySets {
    let set = |names: &Option<Capabilities>| {
        names
            .iter()
            .flatten()
            .filter_map(|name| name.to_string().parse::<Capability>().ok())
            .fold(0, |set, capability| set | bit(capability))
    };
    let bounding = set(wanted.bounding());
    let permitted = set(wanted.permitted());
    // What the kernel would refuse cannot be granted, which is a warning (capabilities(7)).
    let mut within = |name: &str, set: u64, limit: u64, of: &str| {
        for capability in capabilities::names(set & !limit) {
            warnings.push(format!(
                "`process.capabilities.{name}`: {capability} is not granted: it is not {of}"
            ));
        }
        set & limit
    };
    let inheritable = within("inheritable", set(wanted.inheritable()), bounding, "in `bounding`");
    let both = "in `permitted` and `inheritable`";
    CapabilitySets {
        bounding,
        permitted,
        effective: within("effective", set(wanted.effective()), permitted, "in `permitted`"),
        ambient: within("ambient", set(wanted.ambient()), permitted & inheritable, both),
        inheritable,
    }
}

fn seccomp_filter(
    profile: &oci_spec::runtime::LinuxSeccomp,
    bounding: u64,
) -> Result<Vec<u64>, ConfigError> {
    let failed = |reason: String| ConfigError::Invalid { property: "linux.seccomp".into(), reason };
    if profile.listener_metadata().is_some() && profile.listener_path().is_none() {
        return Err(failed("`listenerMetadata` needs `listenerPath`".to_owned()));
    }
    if profile.syscalls().iter().flatten().any(|entry| entry.names().is_empty()) {
        return Err(failed("an entry of `syscalls` has no names".to_owned()));
    }
    let rules =
        profile.syscalls().iter().flatten().map(|entry| (entry.action(), entry.errno_ret()));
    let default = (profile.default_action(), profile.default_errno_ret());
    for (action, errno) in std::iter::once(default).chain(rules) {
        use oci_spec::runtime::LinuxSeccompAction::{ScmpActErrno, ScmpActTrace};
        if errno.is_some() && !matches!(action, ScmpActErrno | ScmpActTrace) {
            return Err(failed(format!("the action `{action}` has no errno")));
        }
    }
    let mut profile = profile.clone();
    // It is ignored when no action notifies; one that does is refused.
    profile.set_listener_path(None);
    let json = serde_json::to_string(&profile).map_err(|error| failed(error.to_string()))?;
    seccomp::profile_filter(&json, bounding).map_err(|error| failed(error.to_string()))
}

/// `class << 13 | level` of linux/ioprio.h.
fn io_priority(wanted: &Wanted) -> Result<Option<u16>, ConfigError> {
    let Some(priority) = wanted.io_priority() else { return Ok(None) };
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(priority.priority()) {
        Ok(level @ 0..=7) => Ok(Some(class << 13 | level)),
        _ => invalid("process.ioPriority.priority", "it is not 0 to 7"),
    }
}

fn scheduler(wanted: &Wanted) -> Option<Scheduler> {
    let wanted = wanted.scheduler().as_ref()?;
    let policy = match wanted.policy() {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        // Reserved in the kernel: it will refuse it.
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
    };
    let flags = wanted.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSchedulerFlag::SchedResetOnFork => 1,
                LinuxSchedulerFlag::SchedFlagReclaim => 2,
                LinuxSchedulerFlag::SchedFlagDLOverrun => 4,
                LinuxSchedulerFlag::SchedFlagKeepPolicy => 8,
                LinuxSchedulerFlag::SchedFlagKeepParams => 16,
                LinuxSchedulerFlag::SchedFlagUtilClampMin => 32,
                LinuxSchedulerFlag::SchedFlagUtilClampMax => 64,
            }
    });
    Some(Scheduler {
        policy: policy.unsigned_abs(),
        flags,
        nice: wanted.nice().unwrap_or(0),
        priority: wanted.priority().unwrap_or(0).unsigned_abs(),
        runtime: wanted.runtime().unwrap_or(0),
        deadline: wanted.deadline().unwrap_or(0),
        period: wanted.period().unwrap_or(0),
    })
}

/// One list of hooks.
pub(super) fn hooks(
    property: &str,
    list: &[oci_spec::runtime::Hook],
) -> Result<Vec<Hook>, ConfigError> {
    list.iter()
        .map(|hook| {
            let property = format!("hooks.{property}");
            if !hook.path().is_absolute() {
                let path = hook.path().display();
                return invalid(property, format!("the path `{path}` is not absolute"));
            }
            let timeout = match hook.timeout() {
                None => None,
                Some(seconds @ 1..) => Some(seconds.unsigned_abs()),
                Some(_) => return invalid(property, "`timeout` is not greater than zero"),
            };
            Ok(Hook {
                path: hook.path().clone(),
                args: hook.args().clone().unwrap_or_default(),
                env: hook.env().clone().unwrap_or_default(),
                timeout,
            })
        })
        .collect()
}
