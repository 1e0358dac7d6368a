//! What the process of an OCI bundle does beside: hooks, and the wait between `create` and `start`.

use std::os::unix::net::UnixListener;

use linkspan_runtime::bundle::{Bundle, Hook, HookStates};
use linkspan_runtime::wire::{Failure, SOCKET_FD, START_FD, Step};
use linkspan_sys::process::{place_descriptors, take_inherited};
use linkspan_sys::schedule;

use crate::report::{About as _, Fault, Report};

/// A bundle whose process has yet to be started.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) states: HookStates,
}

/// Namespaces and mounts are there and the machine's files can still be seen: the time of the
/// runtime's hooks, and after them of `createContainer` (config.md, "POSIX-platform Hooks").
pub(crate) fn before_pivot(report: &mut Report, bundle: &Bundle) -> Result<HookStates, Failure> {
    if !bundle.hooks {
        return Ok(HookStates::default());
    }
    let states = report.environment();
    let states = report.step(Step::Hooks, || states)?;
    report.step(Step::Hooks, || run_all(&bundle.create_container, &states.creating))?;
    Ok(states)
}

fn run_all(hooks: &[Hook], state: &str) -> Result<(), Fault> {
    for hook in hooks {
        hook.run(state).map_err(|error| Fault::new(error.to_string()))?;
    }
    Ok(())
}

impl Waiting<'_> {
    /// Says that the container is created, and returns when somebody starts it. It still has its
    /// privileges and no filter: a filter of the bundle need not allow what is done here.
    pub(crate) fn for_start(&self, report: &mut Report) -> Result<(), Failure> {
        let listener = report.step(Step::AwaitStart, || {
            let socket = take_inherited(START_FD)
                .ok_or_else(|| Fault::new(format!("descriptor {START_FD} was not passed")))?;
            Ok(UnixListener::from(socket))
        })?;
        let ready = report.ready();
        report.step(Step::AwaitStart, || ready)?;
        let started = report.answer(&listener);
        report.step(Step::AwaitStart, || started)
    }

    /// Puts the descriptors that the program is to have at their numbers, once all others are
    /// marked to be closed.
    pub(crate) fn place_descriptors(&self, report: &mut Report) -> Result<(), Fault> {
        let preserved = &self.bundle.preserved;
        if preserved.is_empty() {
            return Ok(());
        }
        let first = SOCKET_FD;
        let end = first + i32::try_from(preserved.len()).unwrap_or(i32::MAX - first);
        report.move_above(end)?;
        Ok(place_descriptors(preserved, first)?)
    }

    /// The last before execve(2), with the rights of the program.
    pub(crate) fn last(&self, report: &mut Report) -> Result<(), Failure> {
        report.step(Step::Hooks, || run_all(&self.bundle.start_container, &self.states.created))
    }
}

/// Priorities: by who has the machine's rights, and inherited.
pub(crate) fn set_schedule(bundle: &Bundle) -> Result<(), Fault> {
    if let Some(priority) = bundle.io_priority {
        schedule::set_io_priority(priority).about(|| "disk priority".to_owned())?;
    }
    if let Some(wanted) = bundle.scheduler {
        let attributes = schedule::Attributes {
            policy: wanted.policy,
            flags: wanted.flags,
            nice: wanted.nice,
            priority: wanted.priority,
            runtime: wanted.runtime,
            deadline: wanted.deadline,
            period: wanted.period,
        };
        schedule::set(attributes).about(|| format!("policy {}", wanted.policy))?;
    }
    Ok(())
}
