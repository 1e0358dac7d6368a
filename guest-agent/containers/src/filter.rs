//! `ps --filter`: which containers are shown.

use std::collections::BTreeMap;

use crate::{Error, Snapshot, state::Kind};

/// Filters by key: values of one key are alternatives, different keys must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Vec<(Key, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Id,
    Name,
    Label,
    Status,
    Exited,
    Ancestor,
    Health,
}

impl Filters {
    /// Reads `KEY=VALUE`s.
    ///
    /// # Errors
    /// A key that is not known is refused by name, as is a value that its key cannot have.
    pub fn parse(filters: &[String]) -> Result<Self, Error> {
        filters.iter().map(|text| parse_one(text)).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn names_a_state(&self) -> bool {
        self.0.iter().any(|(key, _)| matches!(key, Key::Status | Key::Exited))
    }

    pub(crate) fn matches(&self, container: &Snapshot) -> bool {
        self.0.iter().all(|(key, _)| {
            let mut same_key = self.0.iter().filter(|(other, _)| other == key);
            match key {
                // Docker's exception: labels must all match.
                Key::Label => same_key.all(|(_, value)| matches(*key, value, container)),
                _ => same_key.any(|(_, value)| matches(*key, value, container)),
            }
        })
    }
}

const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

fn parse_one(text: &str) -> Result<(Key, String), Error> {
    let invalid = |why: &str| Err(Error::invalid("--filter", format!("`{text}` {why}")));
    let Some((key, value)) = text.split_once('=') else {
        return invalid("is not KEY=VALUE");
    };
    let key = match key {
        "id" => Key::Id,
        "name" => Key::Name,
        "label" => Key::Label,
        "status" => Key::Status,
        "exited" => Key::Exited,
        "ancestor" => Key::Ancestor,
        "health" => Key::Health,
        _ => {
            return Err(Error::Unsupported {
                option: format!("--filter {key}"),
                why: "known are id, name, label, status, exited, ancestor and health".into(),
            });
        }
    };
    match key {
        Key::Status if Kind::ALL.iter().all(|kind| kind.word() != value) => invalid(
            "names no state; states are created, running, paused, restarting, exited, removing and dead",
        ),
        Key::Health if !HEALTH.contains(&value) => {
            invalid("names no health; there are none, starting, healthy and unhealthy")
        }
        Key::Exited if value.parse::<i32>().is_err() => invalid("is not an exit code"),
        _ => Ok((key, value.into())),
    }
}

/// `KEY` or `KEY=VALUE`.
pub(crate) fn label_matches(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    }
}

fn matches(key: Key, value: &str, container: &Snapshot) -> bool {
    let (record, state) = (&container.record, &container.status.state);
    match key {
        Key::Id => record.id.as_str().starts_with(value),
        Key::Name => record.name.contains(value.strip_prefix('/').unwrap_or(value)),
        Key::Label => label_matches(&record.resolved.labels, value),
        Key::Status => state.kind().word() == value,
        Key::Health => {
            container.status.health.as_ref().map_or("none", |h| h.status.word()) == value
        }
        Key::Exited => state.exit().is_some_and(|exit| exit.code.to_string() == value),
        Key::Ancestor => {
            let resolved = &record.resolved;
            let hex = resolved.image_id.strip_prefix("sha256:").unwrap_or(&resolved.image_id);
            let wanted = value.strip_prefix("sha256:").unwrap_or(value);
            [&record.config.image, &resolved.image_name].contains(&&value.to_owned())
                || resolved.image_name.strip_suffix(":latest") == Some(value)
                || (wanted.len() >= 12 && hex.starts_with(wanted))
        }
    }
}
