//! The values of EXPOSE and STOPSIGNAL.

use crate::error::Problem;

/// `80`, `53/udp`, `8000-8010/tcp`: each port with its protocol. The host's part of
/// `[IP:]HOST:PORT` means nothing to an image, and is refused unless it is well formed.
pub(super) fn parse(text: &str) -> Result<Vec<String>, Problem> {
    let container = text.rsplit(':').next().unwrap_or_default();
    let (range, protocol) = match container.split_once('/') {
        None | Some((_, "")) => (container.trim_end_matches('/'), "tcp".to_owned()),
        Some((range, protocol)) => (range, protocol.to_ascii_lowercase()),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Problem::Protocol { text: protocol });
    }
    let malformed = || Problem::Port { text: text.to_owned() };
    let (first, last) = bounds(range).ok_or_else(malformed)?;
    if let Some((host, _)) = text.rsplit_once(':') {
        let (ip, port) = host.rsplit_once(':').map_or(("", host), |(ip, port)| (ip, port));
        let ip = ip.trim_start_matches('[').trim_end_matches(']');
        let ip_is_fine = ip.is_empty() || ip.parse::<std::net::IpAddr>().is_ok();
        if !ip_is_fine || !port.is_empty() && bounds(port).is_none() {
            return Err(malformed());
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn bounds(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// A name or number that moby/sys/signal knows on Linux.
pub(super) fn is_signal(text: &str) -> bool {
    const NAMES: &[&str] = &[
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
        "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
        "RTMIN", "RTMAX",
    ];
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, most: u8| {
        let number = name.strip_prefix(prefix).and_then(|rest| rest.parse::<u8>().ok());
        number.is_some_and(|number| (1..=most).contains(&number))
    };
    NAMES.contains(&name) || offset("RTMIN+", 15) || offset("RTMAX-", 14)
}
