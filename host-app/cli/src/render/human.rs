//! Times and sizes as Docker words them (`go-units`).

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// `2 minutes`, `About an hour`.
pub(crate) fn duration(elapsed: Duration) -> String {
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
pub(crate) fn since(unix_nanos: i64, now: Timestamp) -> Duration {
    let elapsed = now.as_nanosecond() - i128::from(unix_nanos);
    Duration::from_nanos(u64::try_from(elapsed.max(0)).unwrap_or(u64::MAX))
}

/// `2 minutes ago`; `N/A` when it never was.
pub(crate) fn ago(unix_nanos: i64, now: Timestamp) -> String {
    if unix_nanos == 0 {
        return "N/A".into();
    }
    format!("{} ago", duration(since(unix_nanos, now)))
}

/// Go's `time.Time.String` in the local zone: `2026-01-31 12:00:00 +0000 UTC`.
pub(crate) fn local_time(unix_nanos: i64) -> String {
    match timestamp(unix_nanos) {
        Some(time) => {
            time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
        }
        None => "N/A".into(),
    }
}

/// RFC 3339 with as many decimals as needed; Go's zero time when it never was.
pub(crate) fn rfc3339(unix_nanos: i64) -> String {
    match timestamp(unix_nanos) {
        Some(time) => time.to_string(),
        None => "0001-01-01T00:00:00Z".into(),
    }
}

/// RFC 3339 with nine decimals, so that the columns of a log line up.
pub(crate) fn rfc3339_nanos(unix_nanos: i64) -> String {
    match Timestamp::from_nanosecond(i128::from(unix_nanos)) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => "0001-01-01T00:00:00.000000000Z".into(),
    }
}

fn timestamp(unix_nanos: i64) -> Option<Timestamp> {
    (unix_nanos != 0).then(|| Timestamp::from_nanosecond(i128::from(unix_nanos)).ok()).flatten()
}

/// Decimal units and three significant digits: `1.24MB`.
pub(crate) fn size(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Binary units and four significant digits: `1.5GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = match value {
        v if v >= 1000.0 => 4,
        v if v >= 100.0 => 3,
        v if v >= 10.0 => 2,
        _ => 1,
    };
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", units[unit])
}

/// At most `length` characters, the last one an ellipsis when it was cut.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// An id without its algorithm, and its first twelve digits unless all are wanted.
pub(crate) fn short_id(id: &str, all: bool) -> &str {
    if all {
        return id;
    }
    let id = id.split_once(':').map_or(id, |(_, digits)| digits);
    id.get(..12).unwrap_or(id)
}

/// Microseconds, in the unit that shows three or four digits: `812 µs`, `12.3 ms`, `1.84 s`.
pub(crate) fn micros(micros: u64) -> String {
    #[allow(clippy::cast_precision_loss)]
    let value = micros as f64;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.2} ms", value / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
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
    fn sizes_have_three_digits() {
        for (bytes, expected) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_240_000, "1.24MB"),
            (77_800_000, "77.8MB"),
            (187_654_321, "188MB"),
            (1_000_000_000, "1GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(binary_size(1536 << 20), "1.5GiB");
        assert_eq!(binary_size(1023 << 20), "1023MiB");
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
    fn ids_and_texts_are_cut() {
        assert_eq!(short_id("sha256:0123456789abcdef", false), "0123456789ab");
        assert_eq!(short_id("sha256:0123456789abcdef", true), "sha256:0123456789abcdef");
        assert_eq!(short_id("abc", false), "abc");
        assert_eq!(ellipsis("sleep 1000000000000000", 20), "sleep 1000000000000…");
        assert_eq!(ellipsis("sleep 1", 20), "sleep 1");
        assert_eq!(micros(812), "812 µs");
        assert_eq!(micros(12_345), "12.3 ms");
        assert_eq!(micros(1_840_000), "1.84 s");
    }
}
