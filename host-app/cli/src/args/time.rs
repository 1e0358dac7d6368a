//! Points in time and spans, as `--since`, `--until` and `--health-interval` take them.

use jiff::{Timestamp, civil, tz::TimeZone};
use linkspan_docker_types::time::{span_nanos, unix};

/// Nanoseconds since the Unix epoch: a span before `now` (`10m`, `1h30m`), an RFC 3339 time or
/// date (without a zone: the local one), or seconds since the epoch with up to nine decimals.
///
/// # Errors
/// When it is none of these.
pub(crate) fn moment(text: &str, now: Timestamp) -> Result<i64, String> {
    let nanos = |time: Timestamp| {
        i64::try_from(time.as_nanosecond()).map_err(|_| format!("`{text}` is too far away"))
    };
    if let Some(seconds) = unix(text) {
        return Ok(seconds);
    }
    if let Some(span) = span_nanos(text) {
        return Ok(nanos(now)?.saturating_sub(span));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return nanos(time);
    }
    let local = text
        .parse::<civil::DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0)));
    match local {
        Ok(time) => {
            nanos(time.to_zoned(TimeZone::system()).map_err(|error| error.to_string())?.timestamp())
        }
        Err(_) => Err(format!(
            "`{text}` is not a time: give a span (`10m`), a date and time \
             (`2026-01-31T12:00:00Z`) or seconds since 1970"
        )),
    }
}

/// A span of time in nanoseconds, as Go writes it: `30s`, `1m30s`, `500ms`.
///
/// # Errors
/// When it is none.
pub(crate) fn span(text: &str) -> Result<u64, String> {
    let nanos = if text == "0" { Some(0) } else { span_nanos(text) };
    nanos
        .and_then(|nanos| u64::try_from(nanos).ok())
        .ok_or_else(|| format!("`{text}` is not a span of time, such as `30s` or `1m30s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_a_date_or_seconds() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().expect("valid");
        let at = |text: &str| {
            i64::try_from(text.parse::<Timestamp>().expect("valid").as_nanosecond()).expect("near")
        };
        for (text, expected) in [
            ("10m", at("2026-01-31T11:50:00Z")),
            ("1h30m", at("2026-01-31T10:30:00Z")),
            ("1.5s", at("2026-01-31T11:59:58.5Z")),
            ("2026-01-30T12:00:00Z", at("2026-01-30T12:00:00Z")),
            ("2026-01-30T12:00:00.25+01:00", at("2026-01-30T11:00:00.25Z")),
            ("1700000000", 1_700_000_000_000_000_000),
            ("1700000000.5", 1_700_000_000_500_000_000),
        ] {
            assert_eq!(moment(text, now), Ok(expected), "{text}");
        }
        assert!(moment("2026-01-30", now).is_ok());
        assert!(moment("2026-01-30T01:02:03", now).is_ok());
        for text in ["", "yesterday", "10", "5x", "m", "1.2.3", "-5m"] {
            // A plain number is seconds since the epoch.
            assert_eq!(moment(text, now).is_ok(), text == "10", "{text}");
        }
        assert_eq!(span("1m30s"), Ok(90_000_000_000));
        assert!(span("0").is_ok() && span("10").is_err() && span("-1s").is_err());
    }
}
