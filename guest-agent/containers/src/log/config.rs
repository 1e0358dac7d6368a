//! `--log-driver` and `--log-opt`: what was asked for, checked, and what it comes to.
//!
//! Names, defaults and messages are those of Docker Engine's drivers `json-file`, `local` and
//! `none`. A value that Docker refuses when the container starts is refused when it is made.

use std::{collections::BTreeMap, path::PathBuf};

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use super::{Attributes, format::Format, tag};
use crate::{
    Error,
    store::{Folder, Record},
};

/// Docker's default driver.
pub(crate) const JSON_FILE: &str = "json-file";
pub(crate) const LOCAL: &str = "local";
pub(crate) const NONE: &str = "none";

/// Options that mean something to each driver.
const JSON_FILE_OPTIONS: &[&str] =
    &["max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"];
const LOCAL_OPTIONS: &[&str] = &["max-size", "max-file", "compress"];

/// `local` keeps this much in each of this many files.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u64 = 5;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// `json-file`, `local`, `none`; empty: `json-file`.
    pub driver: String,
    /// The driver's, by name.
    pub options: BTreeMap<String, String>,
}

/// When a file of a log is full, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotation {
    /// Bytes; the record that passes it is still written. None: never full.
    pub(crate) max_size: Option<u64>,
    /// The one that is written and those that were rotated away. Never 0.
    pub(crate) max_files: u64,
    /// What was rotated away is compressed.
    pub(crate) compress: bool,
}

/// What a driver's options come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) format: Format,
    pub(crate) rotation: Rotation,
}

impl LogConfig {
    /// The driver's name, the default filled in.
    #[must_use]
    pub fn driver(&self) -> &str {
        if self.driver.is_empty() { JSON_FILE } else { &self.driver }
    }

    /// Where others may read the log: Docker tells it of `json-file` alone.
    pub(crate) fn shown_path(&self, folder: &Folder) -> Option<PathBuf> {
        folder.log(self.driver()).filter(|_| self.driver() == JSON_FILE)
    }

    /// Checks driver and options.
    ///
    /// # Errors
    /// Names the driver that is not served, or the option and what is wrong with it.
    pub fn validate(&self) -> Result<(), Error> {
        self.settings()?;
        for name in ["labels-regex", "env-regex"] {
            self.pattern(name)?;
        }
        if let Some(template) = self.options.get("tag") {
            tag::check(template).map_err(invalid)?;
        }
        Ok(())
    }

    /// How the log is kept; None: nothing is.
    ///
    /// # Errors
    /// As [`LogConfig::validate`].
    pub(crate) fn settings(&self) -> Result<Option<Settings>, Error> {
        match self.driver() {
            NONE if self.options.is_empty() => Ok(None),
            NONE => Err(invalid("invalid logging opts for driver none")),
            JSON_FILE => {
                self.only(JSON_FILE_OPTIONS, "for json-file log driver")?;
                let rotation = self.json_file()?;
                Ok(Some(Settings { format: Format::Json, rotation }))
            }
            LOCAL => {
                self.only(LOCAL_OPTIONS, "for log-driver local")?;
                Ok(Some(Settings { format: Format::Local, rotation: self.local()? }))
            }
            other => Err(Error::Unsupported {
                option: format!("--log-driver {other}"),
                why: format!(
                    "logger: no log driver named '{other}' is registered; \
                     there are json-file, local and none"
                ),
            }),
        }
    }

    fn only(&self, known: &[&str], whose: &str) -> Result<(), Error> {
        for (name, value) in &self.options {
            match (name.as_str(), value.as_str()) {
                // The one mode there is: a file on the VM's own disk needs no buffer that drops.
                ("mode", "" | "blocking") => {}
                ("mode" | "max-buffer-size", _) => {
                    return Err(Error::Unsupported {
                        option: format!("--log-opt {name}={value}"),
                        why: "logs are files of the machine, written as the output comes".into(),
                    });
                }
                (name, _) if known.contains(&name) => {}
                (name, _) => return Err(invalid(format!("unknown log opt '{name}' {whose}"))),
            }
        }
        Ok(())
    }

    fn json_file(&self) -> Result<Rotation, Error> {
        let max_size = self.size()?;
        let max_files = self.count()?.unwrap_or(1);
        if max_files < 1 {
            return Err(invalid("max-file cannot be less than 1"));
        }
        let compress = self.compress()?.unwrap_or(false);
        if compress && (max_files == 1 || max_size.is_none()) {
            return Err(invalid(
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ));
        }
        Ok(Rotation { max_size, max_files, compress })
    }

    fn local(&self) -> Result<Rotation, Error> {
        let max_size = Some(self.size()?.unwrap_or(LOCAL_SIZE));
        let max_files = self.count()?.unwrap_or(LOCAL_FILES).max(1);
        let compress = self.compress()?.unwrap_or(true);
        if compress && max_files == 1 {
            return Err(invalid("compression cannot be enabled when max file count is 1"));
        }
        Ok(Rotation { max_size, max_files, compress })
    }

    /// `max-size`; -1, json-file's own default, is no limit.
    fn size(&self) -> Result<Option<u64>, Error> {
        let Some(text) = self.options.get("max-size").filter(|text| *text != "-1") else {
            return Ok(None);
        };
        match human_size(text) {
            Some(0) => Err(invalid("max-size must be a positive number")),
            Some(size) => Ok(Some(size)),
            None => Err(invalid(format!("invalid value for max-size: `{text}` is not a size"))),
        }
    }

    fn count(&self) -> Result<Option<u64>, Error> {
        let parse = |text: &String| {
            let wrong = || invalid(format!("invalid value for max-file: `{text}` is no number"));
            text.parse().map_err(|_| wrong())
        };
        self.options.get("max-file").map(parse).transpose()
    }

    fn compress(&self) -> Result<Option<bool>, Error> {
        // The spellings of Go's strconv.ParseBool.
        let parse = |text: &String| match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(invalid(format!("invalid value for compress: `{text}`"))),
        };
        self.options.get("compress").map(parse).transpose()
    }

    fn pattern(&self, name: &str) -> Result<Option<Regex>, Error> {
        let compile = |text: &String| {
            Regex::new(text).map_err(|why| invalid(format!("invalid value for {name}: {why}")))
        };
        self.options.get(name).filter(|text| !text.is_empty()).map(compile).transpose()
    }

    /// What stands beside each record of a container: chosen labels and environment, and its tag.
    ///
    /// # Errors
    /// As [`LogConfig::validate`].
    pub(crate) fn attributes(&self, record: &Record) -> Result<Attributes, Error> {
        let mut attributes = Attributes::new();
        let resolved = &record.resolved;
        let labels = resolved.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        self.choose("labels", labels, &mut attributes)?;
        let env = resolved.env.iter().filter_map(|entry| entry.split_once('='));
        self.choose("env", env, &mut attributes)?;
        if let Some(template) = self.options.get("tag").filter(|text| !text.is_empty()) {
            let tag = tag::expand(template, record).map_err(invalid)?;
            attributes.insert("tag".into(), tag);
        }
        Ok(attributes)
    }

    /// The pairs whose key is in the list `option`, or matches the pattern `option-regex`.
    fn choose<'a>(
        &self,
        option: &str,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        into: &mut Attributes,
    ) -> Result<(), Error> {
        let listed = self.options.get(option).map_or("", String::as_str);
        let pattern = self.pattern(&format!("{option}-regex"))?;
        let chosen = pairs.filter(|(key, _)| {
            listed.split(',').any(|listed| listed == *key)
                || pattern.as_ref().is_some_and(|pattern| pattern.is_match(key))
        });
        into.extend(chosen.map(|(key, value)| (key.to_owned(), value.to_owned())));
        Ok(())
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::invalid("--log-opt", why)
}

/// A size as Docker's log options have it: a number and a decimal unit (`k`, `m`, `g`, `t`, `p`,
/// each with `b` or `ib` behind it if one likes). Bytes.
fn human_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim_start().strip_suffix('b').unwrap_or(unit.trim_start()) {
        "" => 0,
        "k" | "ki" => 1,
        "m" | "mi" => 2,
        "g" | "gi" => 3,
        "t" | "ti" => 4,
        "p" | "pi" => 5,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * 1000_f64.powi(power);
    // A log of 2^53 bytes or more is no limit that one can mean.
    (bytes < (1_u64 << 53) as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LogConfig { driver: driver.into(), options }
    }

    fn rotation(driver: &str, options: &[(&str, &str)]) -> Rotation {
        of(driver, options).settings().unwrap().unwrap().rotation
    }

    #[test]
    fn the_defaults_are_dockers() {
        let endless = Rotation { max_size: None, max_files: 1, compress: false };
        assert_eq!(rotation("", &[]), endless);
        let small = Rotation { max_size: Some(20 << 20), max_files: 5, compress: true };
        assert_eq!(rotation("local", &[]), small);
        assert_eq!(of("none", &[]).settings().unwrap(), None);
    }

    #[test]
    fn options_are_read_as_docker_reads_them() {
        let options = [("max-size", "1.5m"), ("max-file", "3"), ("compress", "T")];
        let read = Rotation { max_size: Some(1_500_000), max_files: 3, compress: true };
        assert_eq!(rotation("json-file", &options), read);
        for (text, bytes) in [("10", 10), ("10k", 10_000), ("1KiB", 1000), ("2 gb", 2_000_000_000)]
        {
            assert_eq!(human_size(text), Some(bytes), "{text}");
        }
        for text in ["", "k", "-1", "1x", "1e3", "9999999999p"] {
            assert_eq!(human_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        type Options = [(&'static str, &'static str)];
        let cases: &[(&str, &Options, &str)] = &[
            ("syslog", &[], "--log-driver syslog is not supported: logger: no log driver named"),
            ("none", &[("max-size", "1m")], "invalid logging opts for driver none"),
            ("", &[("max-sizes", "1m")], "unknown log opt 'max-sizes' for json-file log driver"),
            ("local", &[("labels", "a")], "unknown log opt 'labels' for log-driver local"),
            ("", &[("mode", "non-blocking")], "--log-opt mode=non-blocking is not supported: "),
            ("", &[("max-size", "0")], "max-size must be a positive number"),
            ("", &[("max-size", "big")], "invalid value for max-size: `big`"),
            ("", &[("max-file", "0")], "max-file cannot be less than 1"),
            ("", &[("max-file", "-2")], "invalid value for max-file: `-2`"),
            ("", &[("compress", "true")], "compress cannot be true when max-file is less than 2"),
            ("", &[("compress", "yes")], "invalid value for compress: `yes`"),
            ("local", &[("max-file", "1")], "compression cannot be enabled when max file count"),
            ("", &[("env-regex", "(")], "invalid value for env-regex: "),
            ("", &[("tag", "{{.Nome}}")], "{{.Nome}}"),
        ];
        for (driver, options, words) in cases {
            let error = of(driver, options).validate().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        of("local", &[("max-file", "1"), ("compress", "false")]).validate().unwrap();
        of("json-file", &[("mode", "blocking"), ("tag", "{{.Name}}")]).validate().unwrap();
    }
}
