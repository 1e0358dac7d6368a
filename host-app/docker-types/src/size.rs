//! Amounts of bytes in Docker's words (`go-units`).

/// Decimal units and three significant digits: `1.24MB`.
#[must_use]
pub fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, DECIMAL)
}

/// Decimal units and four significant digits, as in a line of progress: `1.234MB`.
#[must_use]
pub fn precise(bytes: u64) -> String {
    scaled(bytes, 1000.0, 4, DECIMAL)
}

/// Binary units and four significant digits: `1.5GiB`.
#[must_use]
pub fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

const DECIMAL: &[&str] = &["B", "kB", "MB", "GB", "TB", "PB", "EB"];

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

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(decimal(bytes), expected);
        }
        assert_eq!(precise(1_234_567), "1.235MB");
        assert_eq!(binary(1536 << 20), "1.5GiB");
        assert_eq!(binary(1023 << 20), "1023MiB");
    }
}
