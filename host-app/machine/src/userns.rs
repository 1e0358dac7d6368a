//! The setting of mapped ids, Docker's `userns-remap`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Whether the ids of containers are mapped into a range of their own, so that root of a container
/// is nobody in the machine. There is one range, and the guest knows it: unlike on a host with
/// users, there is nothing to choose it by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserNamespaces {
    /// Their ids are the machine's.
    #[default]
    Off,
    /// They are mapped, but for containers that say `--userns host`.
    Default,
}

impl UserNamespaces {
    /// For the guest's kernel command line.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Default => Some("linkspan.userns=remap"),
        }
    }
}

impl fmt::Display for UserNamespaces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Off => "off",
            Self::Default => "default",
        })
    }
}

impl FromStr for UserNamespaces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "default" => Ok(Self::Default),
            _ => Err(format!(
                "`{text}` is neither `off` nor `default`: the machine has no users to map to"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_is_refused_and_the_rest_comes_back_as_written() {
        for text in ["off", "default"] {
            assert_eq!(text.parse::<UserNamespaces>().unwrap().to_string(), text);
        }
        assert!("me:me".parse::<UserNamespaces>().unwrap_err().contains("`me:me`"));
        assert_eq!(UserNamespaces::default().word(), None);
    }
}
