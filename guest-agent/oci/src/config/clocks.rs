//! `linux.timeOffsets`.

use linkspan_runtime::bundle::{Clock, ClockOffset};
use oci_spec::runtime::Linux;

use super::{ConfigError, invalid};

/// The offsets of a new time namespace. None: there is no new one.
pub(super) fn convert(
    linux: Option<&Linux>,
    new: bool,
) -> Result<Option<Vec<ClockOffset>>, ConfigError> {
    let wanted = linux.and_then(|linux| linux.time_offsets().as_ref());
    let mut offsets = Vec::new();
    for (name, wanted) in wanted.into_iter().flatten() {
        let property = || format!("linux.timeOffsets.{name}");
        let clock = match name.as_str() {
            "monotonic" => Clock::Monotonic,
            "boottime" => Clock::Boottime,
            _ => return invalid(property(), "only `monotonic` and `boottime` have offsets"),
        };
        let nanoseconds = wanted.nanosecs().unwrap_or(0);
        if nanoseconds >= 1_000_000_000 {
            return invalid(property(), format!("{nanoseconds} ns are a second or more"));
        }
        offsets.push(ClockOffset { clock, seconds: wanted.secs().unwrap_or(0), nanoseconds });
    }
    match (new, offsets.is_empty()) {
        (true, _) => Ok(Some(offsets)),
        (false, true) => Ok(None),
        (false, false) => invalid("linux.timeOffsets", "they need a new time namespace"),
    }
}
