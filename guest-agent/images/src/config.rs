//! The image configuration (OCI image-spec, config.md), as archives carry it.
//!
//! Own structures instead of a crate's, because what Docker writes differs from the specification:
//! `null` where it has lists and maps, empty strings where it has enumerations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// How to run a container of an image. What is absent in the image is empty here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecConfig {
    /// KEY=VALUE.
    pub env: Vec<String>,
    /// Runs before the command.
    pub entrypoint: Vec<String>,
    /// The default command, or arguments to the entrypoint.
    pub cmd: Vec<String>,
    /// `name|uid[:group|gid]`; empty: root.
    pub user: String,
    /// Absolute; empty: `/`.
    pub working_dir: String,
    /// Name or number; None: SIGTERM.
    pub stop_signal: Option<String>,
    /// Free-form.
    pub labels: BTreeMap<String, String>,
    /// Paths that get an anonymous volume.
    pub volumes: Vec<String>,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// HEALTHCHECK, where the image has one.
    pub healthcheck: Option<Healthcheck>,
}

/// HEALTHCHECK of a Dockerfile. 0: the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and arguments; `CMD-SHELL` and a line for a shell.
    pub test: Vec<String>,
    /// From the end of a probe to the next.
    pub interval: Duration,
    /// After which a probe has failed.
    pub timeout: Duration,
    /// In which failures do not count.
    pub start_period: Duration,
    /// The interval in that period.
    pub start_interval: Duration,
    /// Failures in a row that count.
    pub retries: u32,
}

/// One step of how an image was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryEntry {
    /// Nanoseconds since 1970; 0: unknown.
    pub created_unix_nanos: i64,
    /// The instruction.
    pub created_by: String,
    /// The author.
    pub author: String,
    /// What was said about it.
    pub comment: String,
    /// It has no layer.
    pub empty_layer: bool,
}

/// A configuration blob.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) author: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) created: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Section,
    pub(crate) rootfs: RootFs,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) history: Vec<History>,
}

/// The `config` object. Maps with empty values are sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Section {
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) exposed_ports: BTreeMap<String, Empty>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) env: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) cmd: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) volumes: BTreeMap<String, Empty>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) working_dir: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) stop_signal: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) healthcheck: Option<HealthSection>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) on_build: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) shell: Vec<String>,
    /// What we have no use for, so that an image that is made of this one keeps it.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, serde_json::Value>,
}

/// The `Healthcheck` object (moby/docker-image-spec). Spans are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthSection {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    retries: i64,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl From<&Healthcheck> for HealthSection {
    fn from(check: &Healthcheck) -> Self {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Self {
            test: check.test.clone(),
            interval: nanos(check.interval),
            timeout: nanos(check.timeout),
            start_period: nanos(check.start_period),
            start_interval: nanos(check.start_interval),
            retries: check.retries.into(),
        }
    }
}

impl HealthSection {
    fn view(&self) -> Healthcheck {
        // A negative span means nothing; Docker refuses to build such an image.
        let span = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        Healthcheck {
            test: self.test.clone(),
            interval: span(self.interval),
            timeout: span(self.timeout),
            start_period: span(self.start_period),
            start_interval: span(self.start_interval),
            retries: u32::try_from(self.retries).unwrap_or(0),
        }
    }
}

/// The `{}` of Go's `map[string]struct{}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct History {
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) created: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) created_by: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) author: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(crate) comment: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) empty_layer: bool,
}

/// `null` is the same as absent.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl ConfigFile {
    /// Reads a configuration blob. `what` names it in errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt(what, format!("not an image configuration: {error}"))
        })?;
        if !matches!(config.rootfs.kind.as_str(), "layers" | "") {
            return Err(Error::Unsupported {
                what: what.to_owned(),
                why: format!(
                    "its root file system is of type `{}`, not `layers`",
                    config.rootfs.kind
                ),
            });
        }
        Ok(config)
    }

    pub(crate) fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }

    pub(crate) fn created_unix_nanos(&self) -> i64 {
        unix_nanos(&self.created)
    }

    pub(crate) fn exec(&self) -> ExecConfig {
        let section = &self.config;
        ExecConfig {
            env: section.env.clone(),
            entrypoint: section.entrypoint.clone(),
            cmd: section.cmd.clone(),
            user: section.user.clone(),
            working_dir: section.working_dir.clone(),
            stop_signal: Some(section.stop_signal.clone()).filter(|signal| !signal.is_empty()),
            labels: section.labels.clone(),
            volumes: section.volumes.keys().cloned().collect(),
            exposed_ports: section.exposed_ports.keys().cloned().collect(),
            healthcheck: section.healthcheck.as_ref().map(HealthSection::view),
        }
    }

    pub(crate) fn history(&self) -> Vec<HistoryEntry> {
        let entry = |entry: &History| HistoryEntry {
            created_unix_nanos: unix_nanos(&entry.created),
            created_by: entry.created_by.clone(),
            author: entry.author.clone(),
            comment: entry.comment.clone(),
            empty_layer: entry.empty_layer,
        };
        self.history.iter().map(entry).collect()
    }
}

/// An RFC 3339 time; 0 when it is absent or nonsense, which makes no image unusable.
fn unix_nanos(text: &str) -> i64 {
    let nanos = text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_nanosecond);
    // Go's zero time, year 1, is outside the 64 bits.
    i64::try_from(nanos).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_means_absent_as_docker_writes_it() {
        let json = br#"{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:01.5Z",
            "config":{"Env":null,"Cmd":["sh"],"Labels":null,"Volumes":{"/data":{}},
            "ExposedPorts":{"80/tcp":{}},"Entrypoint":null,"Healthcheck":{"Test":["NONE"]}},
            "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;
        let config = ConfigFile::parse(json, "config").unwrap();
        assert_eq!(config.created_unix_nanos(), 1_500_000_000);
        let exec = config.exec();
        assert_eq!(exec.cmd, ["sh"]);
        assert_eq!(exec.volumes, ["/data"]);
        assert_eq!(exec.exposed_ports, ["80/tcp"]);
        assert_eq!(exec.stop_signal, None);
        assert_eq!(exec.healthcheck.map(|check| check.test), Some(vec!["NONE".to_owned()]));
        assert!(exec.env.is_empty() && exec.entrypoint.is_empty());
        let none = ConfigFile::parse(br#"{"config":null,"rootfs":{}}"#, "config").unwrap();
        assert_eq!(none.exec(), ExecConfig::default());
    }

    #[test]
    fn what_is_no_configuration_is_corrupt() {
        for json in ["", "[]", "{}", r#"{"rootfs":{"diff_ids":["x"]}}"#] {
            let error = ConfigFile::parse(json.as_bytes(), "the config").unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{json}: {error}");
        }
        let error = ConfigFile::parse(br#"{"rootfs":{"type":"vm"}}"#, "the config").unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }

    #[test]
    fn the_zero_time_of_go_is_unknown() {
        assert_eq!(unix_nanos("0001-01-01T00:00:00Z"), 0);
        assert_eq!(unix_nanos("yesterday"), 0);
    }
}
