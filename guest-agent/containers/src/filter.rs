//! `ps --filter`: which containers are shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regex_lite::Regex;

use crate::{
    Error, Snapshot,
    ports::{Port, Protocol},
    state::Kind,
};

/// Filters by key: values of one key are alternatives, different keys must all match.
#[derive(Debug, Clone, Default)]
pub struct Filters(Vec<Filter>);

#[derive(Debug, Clone)]
enum Filter {
    Id(String),
    Name(Regex),
    Label(String),
    Status(String),
    Exited(i32),
    Ancestor(String),
    Health(String),
    /// By the name of a volume, or where something is mounted.
    Volume(String),
    /// By name or the beginning of an id.
    Network(String),
    Publish(Ports),
    Expose(Ports),
    /// Made before this container.
    Before(String),
    /// Made after this container.
    Since(String),
}

/// Ports of the container: `80`, `80/udp`, `8000-8010/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    first: u16,
    last: u16,
    protocol: Protocol,
}

/// The time in which a container must have been made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Between {
    after: Option<Timestamp>,
    before: Option<Timestamp>,
}

impl Between {
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        self.after.is_none_or(|after| time > after) && self.before.is_none_or(|end| time < end)
    }
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
        self.0.iter().any(|filter| matches!(filter, Filter::Status(_) | Filter::Exited(_)))
    }

    /// What `before` and `since` come to. `made_at` says when a container was made.
    pub(crate) fn between(
        &self,
        made_at: impl Fn(&str) -> Result<Timestamp, Error>,
    ) -> Result<Between, Error> {
        let mut between = Between::default();
        for filter in &self.0 {
            match filter {
                Filter::Before(who) => between.before = Some(made_at(who)?),
                Filter::Since(who) => between.after = Some(made_at(who)?),
                _ => {}
            }
        }
        Ok(between)
    }

    pub(crate) fn matches(&self, container: &Snapshot) -> bool {
        let same_key = |one: &Filter, other: &Filter| {
            std::mem::discriminant(one) == std::mem::discriminant(other)
        };
        self.0.iter().all(|filter| match filter {
            // Docker's exception: labels must all match.
            Filter::Label(_) => filter.matches(container),
            _ => self.0.iter().any(|other| same_key(filter, other) && other.matches(container)),
        })
    }
}

const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

fn parse_one(text: &str) -> Result<Filter, Error> {
    let invalid = |why: &str| Error::invalid("--filter", format!("`{text}` {why}"));
    let (key, value) = text.split_once('=').ok_or_else(|| invalid("is not KEY=VALUE"))?;
    let unsupported =
        |why: &str| Error::Unsupported { option: format!("--filter {key}"), why: why.into() };
    let owned = value.to_owned();
    Ok(match key {
        "id" => Filter::Id(owned),
        "name" => Filter::Name(
            Regex::new(value.strip_prefix('/').unwrap_or(value))
                .map_err(|error| invalid(&format!("is not a regular expression: {error}")))?,
        ),
        "label" => Filter::Label(owned),
        "status" if Kind::ALL.iter().all(|kind| kind.word() != value) => {
            return Err(invalid(
                "names no state; states are created, running, paused, restarting, exited, removing and dead",
            ));
        }
        "status" => Filter::Status(owned),
        "exited" => Filter::Exited(value.parse().map_err(|_| invalid("is not an exit code"))?),
        "ancestor" => Filter::Ancestor(owned),
        "health" if !HEALTH.contains(&value) => {
            return Err(invalid(
                "names no health; there are none, starting, healthy and unhealthy",
            ));
        }
        "health" => Filter::Health(owned),
        "volume" => Filter::Volume(owned),
        "network" => Filter::Network(owned),
        "publish" => Filter::Publish(ports(value).ok_or_else(|| invalid(PORTS))?),
        "expose" => Filter::Expose(ports(value).ok_or_else(|| invalid(PORTS))?),
        "before" => Filter::Before(owned),
        "since" => Filter::Since(owned),
        "is-task" => return Err(unsupported("there are no tasks without Docker's Swarm")),
        _ => {
            return Err(unsupported(
                "known are ancestor, before, exited, expose, health, id, label, name, network, \
                 publish, since, status and volume",
            ));
        }
    })
}

const PORTS: &str = "is neither a port nor a range of ports, with or without /tcp or /udp";

fn ports(text: &str) -> Option<Ports> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |number: &str| format!("{number}/{protocol}").parse::<Port>().ok();
    let (first, last) = (port(first)?, port(last)?);
    let ports = Ports { first: first.number, last: last.number, protocol: first.protocol };
    (ports.first <= ports.last).then_some(ports)
}

impl Ports {
    fn contains(self, port: Port) -> bool {
        self.protocol == port.protocol && (self.first..=self.last).contains(&port.number)
    }
}

/// `KEY` or `KEY=VALUE`.
pub(crate) fn label_matches(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    }
}

impl Filter {
    fn matches(&self, container: &Snapshot) -> bool {
        let (record, status) = (&container.record, &container.status);
        match self {
            Self::Id(value) => record.id.as_str().starts_with(value),
            Self::Name(pattern) => pattern.is_match(&record.name),
            Self::Label(value) => label_matches(&record.resolved.labels, value),
            Self::Status(value) => status.state.kind().word() == value,
            Self::Health(value) => {
                status.health.as_ref().map_or("none", |h| h.status.word()) == value
            }
            Self::Exited(code) => status.state.exit().is_some_and(|exit| exit.code == *code),
            Self::Ancestor(value) => descends(container, value),
            Self::Volume(value) => record.resolved.mounts.iter().any(|mount| {
                mount.volume() == Some(value) || mount.destination.to_str() == Some(value)
            }),
            Self::Network(value) => {
                let by_id = |id: &str| !value.is_empty() && id.starts_with(value);
                container.networks.contains(value)
                    || container.endpoints.iter().any(|place| by_id(&place.network_id))
            }
            Self::Publish(ports) => {
                let mut published = record.config.ports.published.iter();
                published.any(|mapping| ports.contains(mapping.port))
                    || status.ports.iter().any(|published| ports.contains(published.port))
            }
            Self::Expose(ports) => {
                record.resolved.exposed.iter().any(|exposed| ports.contains(*exposed))
            }
            // Of the list as a whole.
            Self::Before(_) | Self::Since(_) => true,
        }
    }
}

fn descends(container: &Snapshot, value: &str) -> bool {
    let (config, resolved) = (&container.record.config, &container.record.resolved);
    let hex = resolved.image_id.strip_prefix("sha256:").unwrap_or(&resolved.image_id);
    let wanted = value.strip_prefix("sha256:").unwrap_or(value);
    config.image == value
        || resolved.image_name == value
        || resolved.image_name.strip_suffix(":latest") == Some(value)
        || (wanted.len() >= 12 && hex.starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_a_range_of_a_protocol() {
        let port = |text: &str| text.parse::<Port>().unwrap();
        assert!(ports("80").unwrap().contains(port("80/tcp")));
        assert!(!ports("80").unwrap().contains(port("80/udp")));
        assert!(ports("50-60/udp").unwrap().contains(port("53/udp")));
        for bad in ["", "x", "0", "9-8", "80/icmp", "1-70000"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        for (text, why) in [
            ("is-task=true", "--filter is-task is not supported"),
            ("color=red", "--filter color is not supported"),
            ("name=[", "not a regular expression"),
            ("exited=soon", "not an exit code"),
            ("status=odd", "names no state"),
            ("publish=http", "neither a port"),
            ("id", "not KEY=VALUE"),
        ] {
            let error = Filters::parse(&[text.into()]).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }
}
