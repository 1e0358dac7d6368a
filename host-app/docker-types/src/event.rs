//! `GET /events`.

use linkspan_proto::v1 as wire;
use serde::Serialize;
use serde_json::{Value, json};

use crate::version::ApiVersion;
use crate::{Pairs, pairs};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Event {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    pub scope: &'static str,
    /// Seconds since the Unix epoch.
    pub time: i64,
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: Pairs,
}

impl From<&wire::Event> for Event {
    fn from(event: &wire::Event) -> Self {
        Self {
            kind: event.r#type.clone(),
            action: event.action.clone(),
            actor: Actor { id: event.actor_id.clone(), attributes: pairs(&event.attributes) },
            scope: "local",
            time: event.unix_nanos.div_euclid(1_000_000_000),
            time_nano: event.unix_nanos,
        }
    }
}

impl Event {
    /// As a version of the API has it: until 1.51 those of containers and images had three fields
    /// twice.
    #[must_use]
    pub fn at(&self, version: ApiVersion) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if version.before(52) && ["container", "image"].contains(&self.kind.as_str()) {
            shown["status"] = json!(self.action);
            shown["id"] = json!(self.actor.id);
            if self.kind == "container" {
                let image = self.actor.attributes.get("image");
                shown["from"] = json!(image.cloned().unwrap_or_default());
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_dockers_shape() {
        let event = wire::Event {
            unix_nanos: 1_767_225_600_000_000_005,
            r#type: "container".into(),
            action: "die".into(),
            actor_id: "abc".into(),
            attributes: [("image".to_owned(), "busybox".to_owned())].into(),
        };
        let event = Event::from(&event);
        let newest = json!({
            "Type": "container", "Action": "die", "scope": "local",
            "Actor": {"ID": "abc", "Attributes": {"image": "busybox"}},
            "time": 1_767_225_600, "timeNano": 1_767_225_600_000_000_005_i64,
        });
        assert_eq!(event.at(ApiVersion::MAX), newest);
        let old = event.at(ApiVersion::v1(51));
        assert_eq!(
            (&old["status"], &old["id"], &old["from"]),
            (&json!("die"), &json!("abc"), &json!("busybox"))
        );
        let network = Event { kind: "network".into(), ..event };
        assert_eq!(network.at(ApiVersion::v1(24)).get("status"), None);
    }
}
