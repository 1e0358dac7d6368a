//! The name of a machine: also a folder's name and a host name, hence its few characters.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// `[a-z0-9][a-z0-9-]{0,30}`. Parsed once, at the edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MachineName(String);

impl MachineName {
    /// The most bytes that a name has.
    pub const MAX: usize = 31;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MachineName {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for MachineName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text is no machine name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a machine name: {why}")]
pub struct NameError {
    name: String,
    why: &'static str,
}

impl FromStr for MachineName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let refuse = |why| Err(NameError { name: name.into(), why });
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let Some(&first) = name.as_bytes().first() else {
            return refuse("it is empty");
        };
        if name.len() > Self::MAX {
            return refuse("it is longer than 31 characters");
        }
        if !plain(first) {
            return refuse("it must begin with a lower-case letter or a digit");
        }
        if !name.bytes().all(|byte| plain(byte) || byte == b'-') {
            return refuse("it may have lower-case letters, digits and `-` only");
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<String> for MachineName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        name.parse()
    }
}

impl From<MachineName> for String {
    fn from(name: MachineName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "-a", "A", "a_b", "a.b", "ä", &"a".repeat(32)] {
            assert!(name.parse::<MachineName>().is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_kept_as_written(name in "[a-z0-9][a-z0-9-]{0,30}") {
            let parsed: MachineName = name.parse().unwrap();
            prop_assert_eq!(parsed.as_str(), name);
        }

        #[test]
        fn what_parses_matches_the_pattern(name in ".{0,40}") {
            if let Ok(parsed) = name.parse::<MachineName>() {
                prop_assert!(parsed.as_str().len() <= MachineName::MAX);
                prop_assert!(!parsed.as_str().contains(['/', '.', '\\', '\0']));
            }
        }
    }
}
