//! Which images this machine can run, in the names that images use (Go's GOOS and GOARCH).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An operating system and processor, as an image names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, ...
    #[serde(default)]
    pub architecture: String,
    /// `v8`, ...; often empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// What this machine runs.
    #[must_use]
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: String::new() }
    }

    /// Whether a machine of this platform runs images of another by itself. A variant is taken at
    /// its word: what the processor has beyond the base level is not known here.
    #[must_use]
    pub fn runs(&self, image: &Self) -> bool {
        (&self.os, &self.architecture) == (&image.os, &image.architecture)
            || image.fit(self).is_some()
    }

    /// Whether an image of this platform is what `wanted` names. Where one of them has no variant, any
    /// is.
    #[must_use]
    pub fn is(&self, wanted: &Self) -> bool {
        let (is, wants) = (&self.variant, &wanted.variant);
        let variant = is.is_empty() || wants.is_empty() || is == wants;
        (&self.os, &self.architecture) == (&wanted.os, &wanted.architecture) && variant
    }

    /// Its images are unpacked as this system's.
    pub(crate) fn is_linux(&self) -> bool {
        matches!(&*self.os, "" | "linux")
    }

    /// How well an image of this platform fits a machine that is `here`, when there are several to
    /// choose from: lower is better, None is not at all. An image that does not name a platform is taken at its maker's word.
    pub(crate) fn fit(&self, here: &Self) -> Option<u8> {
        if self.os.is_empty() && self.architecture.is_empty() {
            return Some(3);
        }
        let same = |image: &str, here: &str| image.is_empty() || image == here;
        if same(&self.os, &here.os)
            && (&*self.architecture, &*here.architecture) == ("386", "amd64")
        {
            // The processor and both kernels (CONFIG_IA32_EMULATION) run these, too.
            return Some(4);
        }
        if !same(&self.os, &here.os) || !same(&self.architecture, &here.architecture) {
            return None;
        }
        match (self.architecture.as_str(), self.variant.as_str()) {
            (_, "") => Some(0),
            (_, variant) if variant == here.variant => Some(0),
            // The base level of each; whether the machine has more is not known here.
            ("amd64", "v1") | ("arm64", "v8") => Some(1),
            ("amd64" | "arm64", _) => None,
            _ => Some(2),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown =
            |text: &str| if text.is_empty() { "unknown".into() } else { text.to_owned() };
        write!(f, "{}/{}", or_unknown(&self.os), or_unknown(&self.architecture))?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, architecture: &str, variant: &str) -> Platform {
        Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() }
    }

    #[test]
    fn the_base_variant_fits_and_others_do_not() {
        let here = platform("linux", "arm64", "");
        assert_eq!(platform("linux", "arm64", "").fit(&here), Some(0));
        assert_eq!(platform("linux", "arm64", "v8").fit(&here), Some(1));
        assert_eq!(platform("linux", "arm64", "v9").fit(&here), None);
        assert_eq!(platform("linux", "amd64", "").fit(&here), None);
        assert_eq!(platform("windows", "arm64", "").fit(&here), None);
        assert_eq!(platform("unknown", "unknown", "").fit(&here), None);
        assert_eq!(Platform::default().fit(&here), Some(3));
        let (amd64, i386) = (platform("linux", "amd64", ""), platform("linux", "386", ""));
        assert!(amd64.runs(&i386) && !i386.runs(&amd64));
        let [arm, v6, v7] = ["", "v6", "v7"].map(|variant| platform("linux", "arm", variant));
        assert!(v7.is(&v7) && arm.is(&v7) && v7.is(&arm) && !v6.is(&v7) && !amd64.is(&i386));
        assert!(amd64.fit(&amd64) < i386.fit(&amd64), "only when there is nothing better");
    }
}
