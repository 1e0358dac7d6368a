//! Amounts: bytes (`512m`), CPUs (`1.5`), limits (`nofile=1024:2048`).

use linkspan_proto::v1::Ulimit;

/// Bytes, as Docker reads them: powers of 1024, any of `b k m g t p` with or without `b` or `ib`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("`{unit}` is not a unit of memory: use b, k, m or g")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "an amount is a number and a unit, such as `512m` or `1.5g`".to_owned())?;
    let bytes = number * 1024_f64.powi(power);
    // The largest number up to which a float counts every byte.
    if bytes > 9_007_199_254_740_992.0 {
        return Err("that is more memory than there is".into());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(bytes as u64)
}

/// `--memory-swap`: bytes, or -1 for no limit.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn swap(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(bytes(text)?).map_err(|error| error.to_string())
}

/// Mebibytes of a machine: a plain number counts MiB, otherwise a unit says what it counts.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn mebibytes(text: &str) -> Result<u64, String> {
    scaled(text, 20, "MiB")
}

/// Gibibytes of a machine's disk: a plain number counts GiB.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn gibibytes(text: &str) -> Result<u64, String> {
    scaled(text, 30, "GiB")
}

fn scaled(text: &str, shift: u32, unit: &str) -> Result<u64, String> {
    if let Ok(plain) = text.parse() {
        return Ok(plain);
    }
    let bytes = bytes(text)?;
    if bytes == 0 || bytes % (1 << shift) != 0 {
        return Err(format!("`{text}` is not a whole number of {unit}"));
    }
    Ok(bytes >> shift)
}

/// `--cpus`: CPUs to billionths of one. Decimal arithmetic: `0.1` is exactly 100000000.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn nano_cpus(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a number of CPUs, such as `2` or `1.5`");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(bad());
    }
    if fraction.len() > 9 {
        return Err("a CPU has at most nine decimal places".into());
    }
    let digits = |text: &str| -> Result<u64, String> {
        if text.is_empty() {
            return Ok(0);
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(bad());
        }
        text.parse().map_err(|_| bad())
    };
    let nano = digits(&format!("{fraction:0<9}"))?;
    digits(whole)?
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(nano))
        .ok_or_else(bad)
}

/// `--ulimit NAME=SOFT[:HARD]`; -1 or `unlimited` is no limit.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    const NAMES: &[&str] = &[
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, limits) = text.split_once('=').ok_or("a ulimit is NAME=SOFT[:HARD]")?;
    if !NAMES.contains(&name) {
        return Err(format!("`{name}` is not a ulimit: there are {}", NAMES.join(", ")));
    }
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse().map_err(|_| format!("`{text}` is not a limit")),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if soft > hard {
        return Err(format!("the soft limit {soft} is above the hard limit {hard}"));
    }
    Ok(Ulimit { name: name.into(), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("42", 42),
            ("42b", 42),
            ("1k", 1024),
            ("1KB", 1024),
            ("1KiB", 1024),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("1 g", 1 << 30),
            ("2t", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "1x", "-1", "1..5g", "1e3", "12ib", "99999p", "1 2m"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(swap("-1"), Ok(-1));
        assert_eq!(swap("1g"), Ok(1 << 30));
    }

    #[test]
    fn cpus_are_exact() {
        for (text, expected) in [
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            ("0.1", 100_000_000),
            (".25", 250_000_000),
            ("0.000000001", 1),
            ("2.", 2_000_000_000),
        ] {
            assert_eq!(nano_cpus(text), Ok(expected), "{text}");
        }
        for text in ["", ".", "-1", "1,5", "a", "1.0000000001", "1.-5", "+1"] {
            assert!(nano_cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn machine_amounts_take_a_plain_number_or_a_unit() {
        assert_eq!(mebibytes("2048"), Ok(2048));
        assert_eq!(mebibytes("2g"), Ok(2048));
        assert_eq!(gibibytes("20"), Ok(20));
        assert_eq!(gibibytes("1t"), Ok(1024));
        assert!(gibibytes("512m").is_err());
    }

    #[test]
    fn ulimits_have_a_soft_and_a_hard_side() {
        assert_eq!(
            ulimit("nofile=1024:2048"),
            Ok(Ulimit { name: "nofile".into(), soft: 1024, hard: 2048 })
        );
        assert_eq!(ulimit("core=-1").map(|limit| limit.hard), Ok(u64::MAX));
        for text in ["nofile", "nosuch=1", "nofile=x", "nofile=2:1", "nofile=1:2:3"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }
}
