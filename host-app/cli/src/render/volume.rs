//! Volumes, as Docker shows them.

use std::collections::BTreeMap;

use linkspan_proto::v1::Volume;
use serde::Serialize;
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::{container, human};
use crate::error::Error;

/// The heading of each field.
pub(crate) const HEADINGS: &[(&str, &str)] = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Scope", "SCOPE"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
];

/// Where a volume can be used; there are no others.
const SCOPE: &str = "local";
/// Docker's word for what is only measured by `system df`.
pub(crate) const UNKNOWN: &str = "N/A";

/// Lays volumes out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(format: &Format, volumes: &[Volume]) -> Result<String, Error> {
    let rows: Vec<Value> = volumes.iter().map(row).collect();
    let columns = "{{.Driver}}\t{{.Name}}";
    Listing { columns, headings: HEADINGS, methods: &|_, _, _| None }.render(format, &rows)
}

/// One volume's fields.
pub(crate) fn row(volume: &Volume) -> Value {
    json!({
        "Driver": volume.driver,
        "Name": volume.name,
        "Mountpoint": volume.mountpoint,
        "Scope": SCOPE,
        "Labels": container::labels(&volume.labels),
        "Links": UNKNOWN,
        "Size": UNKNOWN,
    })
}

/// A volume as `docker volume inspect` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Detail {
    created_at: String,
    driver: String,
    labels: Option<BTreeMap<String, String>>,
    mountpoint: String,
    name: String,
    options: Option<BTreeMap<String, String>>,
    scope: &'static str,
}

impl From<&Volume> for Detail {
    fn from(volume: &Volume) -> Self {
        let some = |map: &std::collections::HashMap<String, String>| {
            let map: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            (!map.is_empty()).then_some(map)
        };
        Self {
            created_at: human::rfc3339(volume.created_unix_nanos),
            driver: volume.driver.clone(),
            labels: some(&volume.labels),
            mountpoint: volume.mountpoint.clone(),
            name: volume.name.clone(),
            options: some(&volume.options),
            scope: SCOPE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_look_as_dockers() {
        let volume = Volume { name: "data".into(), driver: "local".into(), ..Volume::default() };
        let table = Format::parse(None).expect("valid");
        assert_eq!(
            list(&table, std::slice::from_ref(&volume)).expect("rendered"),
            "DRIVER    VOLUME NAME\nlocal     data\n"
        );
        let detail = serde_json::to_value(Detail::from(&volume)).expect("JSON");
        assert_eq!((&detail["Name"], &detail["Scope"]), (&json!("data"), &json!("local")));
        assert_eq!(detail["Options"], Value::Null);
    }
}
