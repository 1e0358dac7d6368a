//! The engine itself: what it is, what it holds.

pub mod build_cache;
pub mod df;
pub mod info;

use serde::Serialize;

use crate::Pairs;
use crate::version::ApiVersion;

/// What the engine is called where Docker has its own name.
pub const PRODUCT: &str = "Linkspan";

/// What `GET /version` is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionFacts {
    /// Of Linkspan.
    pub version: String,
    /// Go's word for the machine's architecture.
    pub architecture: String,
    /// `uname -r` of the machine.
    pub kernel: String,
}

/// `GET /version`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Version {
    pub platform: Platform,
    pub version: String,
    pub api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    pub os: &'static str,
    pub arch: String,
    pub components: Vec<Component>,
    pub git_commit: String,
    pub go_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_version: String,
    #[serde(skip_serializing_if = "crate::is_zero")]
    pub experimental: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Platform {
    pub name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Component {
    pub name: &'static str,
    pub version: String,
    pub details: Pairs,
}

impl From<&VersionFacts> for Version {
    fn from(facts: &VersionFacts) -> Self {
        let (newest, oldest) = (ApiVersion::MAX.to_string(), ApiVersion::MIN.to_string());
        let details = [
            ("ApiVersion", newest.as_str()),
            ("Arch", &facts.architecture),
            ("BuildTime", ""),
            ("Experimental", "false"),
            ("GitCommit", ""),
            // Clients print it; there is no Go in it.
            ("GoVersion", ""),
            ("KernelVersion", &facts.kernel),
            ("MinAPIVersion", &oldest),
            ("Os", "linux"),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value.to_owned()));
        // The docker CLI looks for a component of this name.
        let engine =
            Component { name: "Engine", version: facts.version.clone(), details: details.into() };
        Self {
            platform: Platform { name: PRODUCT },
            version: facts.version.clone(),
            api_version: newest,
            min_api_version: oldest,
            os: "linux",
            arch: facts.architecture.clone(),
            components: vec![engine],
            git_commit: String::new(),
            go_version: String::new(),
            kernel_version: facts.kernel.clone(),
            experimental: false,
        }
    }
}

/// Go's word for an architecture that `uname -m` or Rust names.
#[must_use]
pub fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_the_engine_as_its_component() {
        let facts = VersionFacts {
            version: "0.1.0".into(),
            architecture: architecture("x86_64").into(),
            kernel: "6.12".into(),
        };
        let shown = serde_json::to_value(Version::from(&facts)).unwrap();
        assert_eq!(shown["MinAPIVersion"], "1.24");
        assert_eq!((&shown["Os"], &shown["Arch"]), (&"linux".into(), &"amd64".into()));
        assert_eq!(shown["Components"][0]["Details"]["ApiVersion"], shown["ApiVersion"]);
        assert_eq!(shown["Components"][0]["Name"], "Engine");
        assert_eq!(shown.get("BuildTime"), None);
    }
}
