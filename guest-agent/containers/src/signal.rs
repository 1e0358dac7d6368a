//! Signals by name and number, as `kill` and `--stop-signal` take them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal's number, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signal(u8);

/// signal(7), the numbers of x86 and arm.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// SIGKILL
    pub const KILL: Self = Self(9);
    /// SIGTERM
    pub const TERM: Self = Self(15);

    /// A name with or without `SIG`, in any case, or a number.
    ///
    /// # Errors
    /// Says that the text is not a signal.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not a signal");
        if let Ok(number) = text.parse::<u32>() {
            return Self::from_number(number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|known| *known == name) {
            return Ok(Self(index as u8 + 1));
        }
        let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest[1..].parse().ok() };
        let number = match name {
            "IOT" => Some(6),
            "CLD" => Some(17),
            "POLL" => Some(29),
            _ if name.starts_with("RTMIN") => match &name[5..] {
                rest if rest.is_empty() || rest.starts_with('+') => {
                    offset(rest).and_then(|n: u8| RTMIN.checked_add(n))
                }
                _ => None,
            },
            _ if name.starts_with("RTMAX") => match &name[5..] {
                rest if rest.is_empty() || rest.starts_with('-') => {
                    offset(rest).and_then(|n: u8| RTMAX.checked_sub(n))
                }
                _ => None,
            },
            _ => None,
        };
        number.filter(|n| *n < 32 || (RTMIN..=RTMAX).contains(n)).map(Self).ok_or_else(unknown)
    }

    /// The signal with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=RTMAX).contains(n)).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(out, "SIG{name}"),
            None => write!(out, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_prefixes_mean_the_same() {
        for text in ["15", "TERM", "SIGTERM", "sigterm", "term"] {
            assert_eq!(Signal::parse(text).unwrap(), Signal::TERM);
        }
        assert_eq!(Signal::parse("RTMIN+3").unwrap().number(), 37);
        assert_eq!(Signal::parse("SIGRTMAX-1").unwrap().number(), 63);
        assert_eq!(Signal::parse("WINCH").unwrap().to_string(), "SIGWINCH");
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "0", "65", "SIGFOO", "-9", "RTMIN+99", "RTMINé", "RTMAX+1"] {
            assert!(Signal::parse(text).is_err(), "{text}");
        }
    }
}
