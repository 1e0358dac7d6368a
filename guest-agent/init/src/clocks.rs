//! A time namespace: clocks that are ahead of the machine's, or behind (time_namespaces(7)).

use std::fmt::Write as _;

use linkspan_runtime::bundle::{Bundle, Clock, ClockOffset};
use linkspan_runtime::wire::{Failure, Step, TIME_FD};
use linkspan_sys::process::{CLONE_NEWTIME, setns, take_inherited};
use nix::fcntl::OFlag;
use nix::sched::unshare;
use nix::sys::stat::Mode;

use crate::report::{About as _, Fault, Report};

/// Joins the one that was passed, if any.
pub(crate) fn join() -> Result<(), Fault> {
    match take_inherited(TIME_FD) {
        Some(namespace) => setns(&namespace, CLONE_NEWTIME).about(|| "time".to_owned()),
        None => Ok(()),
    }
}

/// Makes the one that the bundle wants, if any, and enters it. The machine's /proc is needed.
pub(crate) fn enter(report: &mut Report, bundle: &Bundle) -> Result<(), Failure> {
    match &bundle.clocks {
        Some(offsets) => report.step(Step::Clocks, || enter_new(offsets)),
        None => Ok(()),
    }
}

fn enter_new(offsets: &[ClockOffset]) -> Result<(), Fault> {
    unshare(CLONE_NEWTIME)?;
    // Only while nobody is in it: the unsharing process itself is not, yet.
    if !offsets.is_empty() {
        let text = lines(offsets);
        std::fs::write("/proc/self/timens_offsets", &text)
            .about(|| format!("`{}`", text.trim_end()))?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let path = "/proc/self/ns/time_for_children";
    let namespace = nix::fcntl::open(path, flags, Mode::empty()).about(|| format!("`{path}`"))?;
    Ok(setns(&namespace, CLONE_NEWTIME)?)
}

/// One clock a line.
fn lines(offsets: &[ClockOffset]) -> String {
    offsets.iter().fold(String::new(), |mut text, offset| {
        let clock = match offset.clock {
            Clock::Monotonic => "monotonic",
            Clock::Boottime => "boottime",
        };
        // To a string: it cannot fail.
        let _ = writeln!(text, "{clock} {} {}", offset.seconds, offset.nanoseconds);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_one_clock_a_line() {
        let of = |clock, seconds, nanoseconds| ClockOffset { clock, seconds, nanoseconds };
        let text = lines(&[of(Clock::Monotonic, -5, 7), of(Clock::Boottime, 86_400, 0)]);
        assert_eq!(text, "monotonic -5 7\nboottime 86400 0\n");
    }
}
