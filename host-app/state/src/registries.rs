//! How registries are reached, as someone asked for it. Not judged here; the engine checks it and
//! hands it to the guests.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// For every machine of a home. What is empty is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySettings {
    /// Mirrors of docker.io, asked in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<Mirror>,
    /// Registries that may speak plain HTTP or have a certificate that nobody vouches for: `host`,
    /// `host:port` or `address/bits`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insecure: Vec<String>,
    /// Instead of the environment variable `HTTP_PROXY`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub http_proxy: String,
    /// Instead of the environment variable `HTTPS_PROXY`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub https_proxy: String,
    /// Instead of the environment variable `NO_PROXY`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    /// Files of certificates in PEM, trusted beyond the host's trust store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authority_files: Vec<PathBuf>,
    /// How many layers are downloaded at once; 0: the default.
    #[serde(skip_serializing_if = "is_zero")]
    pub parallel_downloads: u32,
    /// How many layers are uploaded at once; 0: the default.
    #[serde(skip_serializing_if = "is_zero")]
    pub parallel_uploads: u32,
}

/// A mirror of docker.io.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `https://host[:port][/prefix]`, or `http://...`.
    pub url: String,
    /// What it does not have does not exist: nothing is asked elsewhere.
    #[serde(default)]
    pub authoritative: bool,
}

// By reference because serde calls it so.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
