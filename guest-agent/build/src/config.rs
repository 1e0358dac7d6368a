//! The configuration of an image (OCI image-spec, config.md, and moby's docker-image-spec), as a
//! build reads it from a base and writes it for the result. The root file system's part is not here:
//! only who makes the layers knows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The configuration without `rootfs`. Reads and writes Docker's JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// RFC 3339; None until the build ends, unless `SOURCE_DATE_EPOCH` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// MAINTAINER.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// `amd64`.
    #[serde(deserialize_with = "or_default")]
    pub architecture: String,
    /// `linux`.
    #[serde(deserialize_with = "or_default")]
    pub os: String,
    /// `v7`; often empty.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// How a container runs.
    #[serde(deserialize_with = "or_default")]
    pub config: Config,
    /// How the image was made, the base's part first.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// How a container of the image runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `name|uid[:group|gid]`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// None: not set; an empty one takes the base's away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// None: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// HEALTHCHECK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// VOLUME.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// WORKDIR, absolute.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// LABEL.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// ONBUILD.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// STOPSIGNAL.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// SHELL.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// HEALTHCHECK. Spans are nanoseconds; 0 is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the names of the Dockerfile's options")]
pub struct Healthcheck {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// One line of `history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339; None: the executor writes when the step ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// In BuildKit's words: `RUN /bin/sh -c make # buildkit`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// MAINTAINER of then.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Who made it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// It has no layer.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The `{}` of Go's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `null` is the same as absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl ImageConfig {
    /// Reads the configuration of a base. What it has beyond this structure is not kept: a build
    /// writes its own `rootfs`.
    ///
    /// # Errors
    /// The text is no JSON of this form.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl Config {
    /// Sets a variable where it is, or at the end.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let same = |other: &&mut String| {
            other.split_once('=').map_or(other.as_str(), |(other, _)| other) == name
        };
        match self.env.iter_mut().find(same) {
            Some(other) => *other = entry,
            None => self.env.push(entry),
        }
    }
}
