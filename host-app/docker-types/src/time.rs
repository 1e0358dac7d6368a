//! Points in time as Docker writes and reads them, and spans in its words (`go-units`).

use std::time::Duration;

use jiff::Timestamp;

use crate::error::Malformed;

/// What Go prints for a time that never was.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with as many decimals as needed; Go's zero time when it never was.
#[must_use]
pub fn rfc3339(unix_nanos: i64) -> String {
    match timestamp(unix_nanos) {
        Some(time) => time.to_string(),
        None => ZERO.into(),
    }
}

/// RFC 3339 with nine decimals, so that the columns of a log line up.
#[must_use]
pub fn rfc3339_nanos(unix_nanos: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(unix_nanos)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => "0001-01-01T00:00:00.000000000Z".into(),
    }
}

fn timestamp(unix_nanos: i64) -> Option<Timestamp> {
    (unix_nanos != 0).then(|| Timestamp::from_nanosecond(i128::from(unix_nanos)).ok()).flatten()
}

/// `2 minutes`, `About an hour`.
#[must_use]
pub fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let minutes = seconds / 60;
    // Rounded, as Docker does from here on.
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes, hours) {
        (0, _, _) => "Less than a second".into(),
        (1, _, _) => "1 second".into(),
        (2..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// The time between a moment and `now`; none when the moment is in the future.
#[must_use]
pub fn since(unix_nanos: i64, now: Timestamp) -> Duration {
    let elapsed = now.as_nanosecond() - i128::from(unix_nanos);
    Duration::from_nanos(u64::try_from(elapsed.max(0)).unwrap_or(u64::MAX))
}

/// `2 minutes ago`; `N/A` when it never was.
#[must_use]
pub fn ago(unix_nanos: i64, now: Timestamp) -> String {
    if unix_nanos == 0 {
        return "N/A".into();
    }
    format!("{} ago", duration(since(unix_nanos, now)))
}

/// `since` and `until` of a query as nanoseconds since the Unix epoch: seconds with up to nine
/// decimals, an RFC 3339 time, or a span before `now`. Empty and `0`: 0, no bound.
///
/// # Errors
/// When it is none of these.
pub fn moment(text: &str, now: Timestamp) -> Result<i64, Malformed> {
    let bad = || Malformed::Time(text.to_owned());
    let nanos = |time: Timestamp| i64::try_from(time.as_nanosecond()).map_err(|_| bad());
    if text.is_empty() {
        return Ok(0);
    }
    if let Some(nanos) = unix(text) {
        return Ok(nanos);
    }
    if let Some(span) = span_nanos(text) {
        return Ok(nanos(now)?.saturating_sub(span));
    }
    text.parse::<Timestamp>().map_err(|_| bad()).and_then(nanos)
}

/// Seconds since the epoch, with up to nine decimals, as nanoseconds.
#[must_use]
pub fn unix(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(seconds) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Go's durations: numbers with the units ns, us, ms, s, m, h, one after the other.
#[must_use]
pub fn span_nanos(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * scale;
        rest = &rest[unit..];
    }
    #[allow(clippy::cast_possible_truncation)]
    (total < 9e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_worded_as_docker_words_them() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 29 * MINUTE, "About an hour"),
            (HOUR + 31 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn what_never_was_is_said_so() {
        assert_eq!(ago(0, Timestamp::UNIX_EPOCH), "N/A");
        assert_eq!(rfc3339(0), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(rfc3339_nanos(1_500_000_000), "1970-01-01T00:00:01.500000000Z");
    }

    #[test]
    fn a_clock_that_is_behind_makes_no_negative_age() {
        assert_eq!(ago(5_000_000_000, Timestamp::UNIX_EPOCH), "Less than a second ago");
    }

    #[test]
    fn a_querys_time_is_seconds_a_date_or_a_span() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let at = |text: &str| i64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond());
        for (text, expected) in [
            ("", 0),
            ("0", 0),
            ("1700000000", 1_700_000_000_000_000_000),
            ("1700000000.000000005", 1_700_000_000_000_000_005),
            ("10m", at("2026-01-31T11:50:00Z").unwrap()),
            ("2026-01-30T12:00:00.25+01:00", at("2026-01-30T11:00:00.25Z").unwrap()),
        ] {
            assert_eq!(moment(text, now), Ok(expected), "{text}");
        }
        assert!(moment("yesterday", now).is_err());
    }
}
