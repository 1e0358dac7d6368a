//! `events`, a line each.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use linkspan_docker_types::{event as docker, version::ApiVersion};
use linkspan_proto::v1::Event;
use serde_json::Value;

use super::format::{Format, json_line};
use crate::error::Error;

/// How events are printed.
#[derive(Debug)]
pub(crate) struct EventFormat(Format);

impl EventFormat {
    /// Reads `--format`.
    ///
    /// # Errors
    /// A template that is not one; a table, which has no meaning without an end.
    pub(crate) fn parse(flag: Option<&str>) -> Result<Self, Error> {
        match Format::parse(flag)? {
            Format::Columns(_) => Err(Error::invalid("--format: events are no table")),
            format => Ok(Self(format)),
        }
    }

    /// One event with its line end.
    ///
    /// # Errors
    /// A template that asks for what is not there.
    pub(crate) fn line(&self, event: &Event) -> Result<String, Error> {
        match &self.0 {
            Format::Json => json_line(&value(event)),
            Format::Template(template) | Format::Columns(template) => {
                Ok(template.render_with(&value(event), &|_, _, _| None)? + "\n")
            }
            Format::Table => Ok(plain(event, &TimeZone::system())),
        }
    }
}

fn attributes(event: &Event) -> BTreeMap<&String, &String> {
    event.attributes.iter().collect()
}

/// Docker's object, its old fields (`status`, `id`, `from`) too: scripts read them.
fn value(event: &Event) -> Value {
    docker::Event::from(event).at(ApiVersion::v1(51))
}

fn plain(event: &Event, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(event.unix_nanos.into()).unwrap_or_default();
    let time = time.to_zoned(zone.clone());
    // As Go has it: no offset is `Z`.
    let offset = if time.offset().is_zero() { "Z" } else { "%:z" };
    let time = time.strftime(&format!("%Y-%m-%dT%H:%M:%S%.9f{offset}")).to_string();
    let pairs: Vec<_> =
        attributes(event).iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pairs = match pairs.is_empty() {
        true => String::new(),
        false => format!(" ({})", pairs.join(", ")),
    };
    format!("{time} {} {} {}{pairs}\n", event.r#type, event.action, event.actor_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            unix_nanos: 1_767_225_600_000_000_005,
            r#type: "container".into(),
            action: "die".into(),
            actor_id: "abc".into(),
            attributes: [("name".to_owned(), "web".to_owned()), ("exitCode".into(), "3".into())]
                .into(),
        }
    }

    #[test]
    fn an_event_is_printed_as_docker_prints_it() {
        assert_eq!(
            plain(&event(), &TimeZone::UTC),
            "2026-01-01T00:00:00.000000005Z container die abc (exitCode=3, name=web)\n"
        );
        let line = |flag| EventFormat::parse(Some(flag)).expect("valid").line(&event());
        assert_eq!(line("{{.Actor.Attributes.name}} {{.Action}}"), Ok("web die\n".into()));
        let json: Value = serde_json::from_str(&line("json").expect("rendered")).expect("JSON");
        assert_eq!((&json["status"], &json["time"]), (&"die".into(), &1_767_225_600_i64.into()));
        assert!(EventFormat::parse(Some("table {{.Action}}")).is_err());
    }
}
