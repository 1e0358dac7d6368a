//! Versions of the API: what is spoken, and how they compare.

use std::fmt;
use std::str::FromStr;

/// `1.44`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u16,
    minor: u16,
}

impl ApiVersion {
    /// The oldest that is served.
    pub const MIN: Self = Self::v1(24);
    /// The newest that is served, and what a request without a version gets.
    pub const MAX: Self = Self::v1(54);

    /// `1.MINOR`
    #[must_use]
    pub const fn v1(minor: u16) -> Self {
        Self { major: 1, minor }
    }

    /// Is it older than `1.MINOR`?
    #[must_use]
    pub fn before(self, minor: u16) -> bool {
        self < Self::v1(minor)
    }

    /// Whether it is served, in the words of Docker's middleware (status 400), on which clients
    /// match.
    ///
    /// # Errors
    /// What the client is told.
    pub fn check(self) -> Result<Self, UnsupportedVersion> {
        match self {
            version if version < Self::MIN => Err(UnsupportedVersion::TooOld(version)),
            version if version > Self::MAX => Err(UnsupportedVersion::TooNew(version)),
            version => Ok(version),
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = UnsupportedVersion;

    /// `1.44`, without the `v` of a path.
    fn from_str(text: &str) -> Result<Self, UnsupportedVersion> {
        let bad = || UnsupportedVersion::NotOne(text.to_owned());
        let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().map_err(|_| bad()),
            false => Err(bad()),
        };
        let (major, minor) = text.split_once('.').ok_or_else(bad)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// A version that is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedVersion {
    /// Older than [`ApiVersion::MIN`].
    #[error(
        "client version {0} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version",
        min = ApiVersion::MIN
    )]
    TooOld(ApiVersion),
    /// Newer than [`ApiVersion::MAX`].
    #[error("client version {0} is too new. Maximum supported API version is {max}", max = ApiVersion::MAX)]
    TooNew(ApiVersion),
    /// Not a version at all.
    #[error("`{0}` is not a version of the API, such as 1.44")]
    NotOne(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_not_texts() {
        let version = |text: &str| text.parse::<ApiVersion>().unwrap();
        assert!(version("1.9") < version("1.24") && version("1.44").before(45));
        assert!(!version("1.44").before(44));
        assert_eq!(version("1.44").to_string(), "1.44");
        for text in ["", "1", "v1.44", "1.", ".1", "1.+4", "1.44.1", "1.99999"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn versions_out_of_range_are_refused_in_dockers_words() {
        let refused = |text: &str| text.parse::<ApiVersion>().unwrap().check().unwrap_err();
        assert_eq!(
            refused("1.23").to_string(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(
            refused("1.99").to_string(),
            format!(
                "client version 1.99 is too new. Maximum supported API version is {}",
                ApiVersion::MAX
            )
        );
        assert!(ApiVersion::MIN.check().is_ok() && ApiVersion::MAX.check().is_ok());
    }
}
