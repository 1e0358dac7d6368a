//! Times and sizes as Docker words them (`go-units`).

use jiff::{Timestamp, tz::TimeZone};
pub(crate) use linkspan_docker_types::size::{binary as binary_size, decimal as size};
pub(crate) use linkspan_docker_types::time::{ago, duration, rfc3339, rfc3339_nanos, since};

/// Go's `time.Time.String` in the local zone: `2026-01-31 12:00:00 +0000 UTC`.
pub(crate) fn local_time(unix_nanos: i64) -> String {
    match Timestamp::from_nanosecond(unix_nanos.into()) {
        Ok(time) if unix_nanos != 0 => {
            time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
        }
        _ => "N/A".into(),
    }
}

/// `1 container`, `2 containers`.
pub(crate) fn count(number: impl ToString, thing: &str) -> String {
    let number = number.to_string();
    let ending = if number == "1" { "" } else { "s" };
    format!("{number} {thing}{ending}")
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
    fn ids_and_texts_are_cut() {
        assert_eq!(short_id("sha256:0123456789abcdef", false), "0123456789ab");
        assert_eq!(short_id("sha256:0123456789abcdef", true), "sha256:0123456789abcdef");
        assert_eq!(short_id("abc", false), "abc");
        assert_eq!(ellipsis("sleep 1000000000000000", 20), "sleep 1000000000000…");
        assert_eq!(ellipsis("sleep 1", 20), "sleep 1");
        assert_eq!([0, 1, 2].map(|n| count(n, "CPU")), ["0 CPUs", "1 CPU", "2 CPUs"]);
        assert_eq!(micros(812), "812 µs");
        assert_eq!(micros(12_345), "12.3 ms");
        assert_eq!(micros(1_840_000), "1.84 s");
    }
}
