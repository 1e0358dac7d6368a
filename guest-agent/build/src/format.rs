//! Durations and sizes as Go reads them, and values as Go prints them in an image's history.

/// Go's `time.ParseDuration`, in nanoseconds; None for what is none or negative.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    const UNITS: &[(&str, f64)] = &[
        // `ms` before `m`: the longer first.
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        nanos += number * factor;
        rest = &rest[end + unit.len()..];
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked against the range")]
    let whole = (!text.is_empty() && nanos < 9.2e18).then_some(nanos.round() as i64);
    whole
}

/// Go's `Duration.String` for what is no less than a millisecond: `1m30s`, `0s`, `1.5s`.
pub(crate) fn duration(nanos: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let fraction = |value: i64, unit: i64, name: &str| {
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", value / unit, value % unit);
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < SECOND {
        return fraction(nanos, 1_000_000, "ms");
    }
    let (hours, minutes) = (nanos / (3600 * SECOND), nanos / (60 * SECOND) % 60);
    let seconds = fraction(nanos % (60 * SECOND), SECOND, "s");
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// Docker's sizes: bytes, or with k, m, g, t in powers of 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches('b').trim_end_matches('i');
    let (number, shift) = match number.char_indices().next_back()? {
        (at, 'k') => (&number[..at], 10),
        (at, 'm') => (&number[..at], 20),
        (at, 'g') => (&number[..at], 30),
        (at, 't') => (&number[..at], 40),
        _ => (number, 0),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `["a" "b"]`, Go's `%q` of a list.
pub(crate) fn quoted_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("[{}]", quoted.join(" "))
}

/// Go's `%q` for text: only what cannot be printed is escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            c if c.is_ascii_control() => out += &format!("\\x{:02x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_in_go() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("30s", 30_000_000_000, "30s"),
            ("1m", 60_000_000_000, "1m0s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("100ms", 100_000_000, "100ms"),
            ("2h5m", 7_500_000_000_000, "2h5m0s"),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
            assert_eq!(duration(nanos), printed);
        }
        for text in ["", "5", "s", "-1s", "1x", "1s2", "9999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_in_powers_of_1024() {
        for (text, size) in [("64", 64), ("1k", 1024), ("64m", 64 << 20), ("2GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Some(size), "{text}");
        }
        for text in ["", "m", "-1", "1.5.m", "99999999999999t"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
