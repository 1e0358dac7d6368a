//! The last stretch, the same for the first process of a container and any later one: limits,
//! user, session, privileges, filter, execve(2).

use std::ffi::CString;
use std::os::fd::AsFd as _;

use linkspan_runtime::plan::{CapabilitySets, Process};
use linkspan_runtime::rlimits;
use linkspan_runtime::wire::{Failure, Step};
use linkspan_sys::process::{
    CStrArray, close_on_exec_from, default_signals, raise_hard_limit, set_gid, set_groups,
    set_rlimit, set_uid,
};
use linkspan_sys::{Errno, caps, seccomp, tty};
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown, setsid};

use crate::bundle::{Waiting, set_schedule};
use crate::program;
use crate::reaper;
use crate::report::{About as _, Fault, Report};
use crate::terminal::Terminal;
use crate::user::{self, User};
use crate::userns::give_streams;

/// Becomes the program; returns only when something is in the way.
pub(crate) fn become_it(
    report: &mut Report,
    process: &Process,
    terminal: Option<Terminal>,
    waiting: Option<Waiting<'_>>,
) -> Result<(), Failure> {
    report.step(Step::Rlimits, || set_rlimits(process))?;
    if process.mapped_root.is_none() {
        set_oom_score(report, process)?;
    }
    let ids = waiting.as_ref().map(|waiting| &waiting.bundle.ids);
    let user = report.step(Step::User, || match ids {
        None => user::find(&process.user),
        Some(ids) => user::exactly(ids),
    })?;
    report.step(Step::Session, || start_session(terminal, &user))?;
    let (arguments, environment) = report.step(Step::Execute, || strings(process, &user))?;
    let mut mask = 0o022;
    let first_private = report.socket_number();
    if let Some(waiting) = &waiting {
        mask = waiting.bundle.umask;
        if process.mapped_root.is_none() {
            report.step(Step::Schedule, || set_schedule(waiting.bundle))?;
        }
        waiting.for_start(report)?;
    }
    // Everything that must not be filtered, or needs privileges, comes before they go.
    report.step(Step::Privileges, || Ok(close_on_exec_from(first_private)?))?;
    if let Some(waiting) = &waiting {
        let placed = waiting.place_descriptors(report);
        report.step(Step::Privileges, || placed)?;
    }
    report.step(Step::Privileges, || {
        default_signals()?;
        umask(Mode::from_bits_truncate(mask));
        drop_bounding(process.capabilities.bounding)
    })?;
    // Without no_new_privs the filter needs CAP_SYS_ADMIN, so it comes before that goes, and has
    // to allow the few calls that follow. With it, it can wait until nothing follows.
    let filter = || {
        seccomp::install(&process.seccomp)
            .about(|| format!("{} instructions", process.seccomp.len()))
    };
    let filtered = !process.seccomp.is_empty();
    if filtered && !process.no_new_privileges {
        report.step(Step::Seccomp, filter)?;
    }
    report.step(Step::Privileges, || change_user(&user, &process.capabilities))?;
    if process.no_new_privileges {
        report.step(Step::Privileges, || Ok(caps::set_no_new_privileges()?))?;
        if filtered {
            report.step(Step::Seccomp, filter)?;
        }
    }
    if let Some(waiting) = &waiting {
        waiting.last(report)?;
    }
    let ready = report.ready();
    report.step(Step::Execute, || ready)?;
    if process.init {
        report.step(Step::Execute, || reaper::split().about(|| "--init".to_owned()))?;
    }
    report.step(Step::Execute, || Err(program::execute(process, &arguments, &environment)))
}

/// With mapped ids: what only the VM's root may do for the process, and is inherited from here on.
pub(crate) fn prepare_outside(report: &mut Report, process: &Process) -> Result<(), Failure> {
    let Some(root) = process.mapped_root else { return Ok(()) };
    report.step(Step::Rlimits, || {
        each_limit(process, |number, _, hard| raise_hard_limit(number, hard))
    })?;
    set_oom_score(report, process)?;
    report.step(Step::Session, || give_streams(root))
}

fn set_oom_score(report: &mut Report, process: &Process) -> Result<(), Failure> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    report.step(Step::OomScore, || {
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).about(|| score.to_string())
    })
}

fn set_rlimits(process: &Process) -> Result<(), Fault> {
    each_limit(process, set_rlimit)
}

fn each_limit(
    process: &Process,
    set: impl Fn(u32, u64, u64) -> Result<(), Errno>,
) -> Result<(), Fault> {
    for limit in &process.rlimits {
        let number = rlimits::number(&limit.kind)
            .ok_or_else(|| Fault::new(format!("there is no limit `{}`", limit.kind)))?;
        set(number, limit.soft, limit.hard)
            .about(|| format!("`{}` to {}:{}", limit.kind, limit.soft, limit.hard))?;
    }
    Ok(())
}

/// A session of its own, with the terminal as its controlling one, and standard streams that
/// belong to the user: /dev/stdout leads to them, and opening it is checked against the owner.
fn start_session(terminal: Option<Terminal>, user: &User) -> Result<(), Fault> {
    match setsid() {
        // EPERM: it leads a group already; the first process of a pid namespace may.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    if let Some(Terminal { slave, .. }) = terminal {
        dup2_stdin(&slave)?;
        dup2_stdout(&slave)?;
        dup2_stderr(&slave)?;
        tty::set_controlling(&slave)?;
    }
    if user.uid != 0 {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        for stream in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
            // Devices such as /dev/null are everybody's; only terminals and pipes are ours to give.
            let kind = fstat(stream)?;
            let is_null = kind.st_rdev == nix::sys::stat::makedev(1, 3);
            if !is_null {
                match fchown(stream, Some(Uid::from_raw(user.uid)), None) {
                    // A file of a read-only or foreign file system: its owner has decided.
                    Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
    }
    Ok(())
}

fn strings(process: &Process, user: &User) -> Result<(CStrArray, CStrArray), Fault> {
    let convert = |text: &str| {
        CString::new(text).map_err(|_| Fault {
            errno: Errno::EINVAL as i32,
            detail: format!("exec: {text:?} has a zero byte in it"),
        })
    };
    let arguments = process.args.iter().map(|text| convert(text)).collect::<Result<_, _>>()?;
    let mut environment =
        process.env.iter().map(|text| convert(text)).collect::<Result<Vec<_>, _>>()?;
    if !process.env.iter().any(|entry| entry.starts_with("HOME=")) {
        environment.push(convert(&format!("HOME={}", user.home))?);
    }
    Ok((CStrArray::new(arguments), CStrArray::new(environment)))
}

fn drop_bounding(keep: u64) -> Result<(), Fault> {
    for capability in 0..u64::BITS {
        if keep & (1 << capability) != 0 {
            continue;
        }
        match caps::drop_bounding(capability) {
            Ok(()) => {}
            // The kernel knows no capability of this number: none above it either.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).about(|| format!("capability {capability}")),
        }
    }
    Ok(())
}

/// Groups, user, capability sets.
fn change_user(user: &User, sets: &CapabilitySets) -> Result<(), Fault> {
    set_groups(&user.groups).about(|| format!("groups {:?}", user.groups))?;
    set_gid(user.gid).about(|| format!("group {}", user.gid))?;
    // Leaving user 0 empties the effective and permitted sets. Whatever the plan says, execve(2)
    // would do the same for a user who is not root, except for what is ambient.
    let keep = user.uid != 0 && (sets.ambient | sets.inheritable) != 0;
    if keep {
        caps::set_keep_caps(true)?;
    }
    if user.uid != 0 {
        set_uid(user.uid).about(|| format!("user {}", user.uid))?;
    }
    if user.uid == 0 || keep {
        let wanted = caps::Sets {
            effective: sets.effective,
            permitted: sets.permitted,
            inheritable: sets.inheritable,
        };
        caps::set(wanted).about(|| format!("capabilities {wanted:x?}"))?;
    }
    for capability in (0..u64::BITS).filter(|bit| sets.ambient & (1 << bit) != 0) {
        caps::raise_ambient(capability).about(|| format!("ambient capability {capability}"))?;
    }
    Ok(())
}
