//! Volumes, as Docker shows them.

use linkspan_docker_types::volume::SCOPE;
use linkspan_proto::v1::Volume;
use serde_json::{Value, json};

use super::container;
use super::format::{Format, Listing};
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
    }
}
