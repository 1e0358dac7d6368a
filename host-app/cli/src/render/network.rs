//! `network ls`: Docker's columns.

use linkspan_docker_types::network::SCOPE;
use linkspan_proto::v1::Network;
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::{container, human};
use crate::error::Error;

const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

/// A network's name.
pub(crate) fn name(network: &Network) -> &str {
    network.spec.as_ref().map_or("", |spec| spec.name.as_str())
}

/// Lays networks out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(format: &Format, networks: &[Network], whole: bool) -> Result<String, Error> {
    let row = |network: &Network| {
        let spec = network.spec.clone().unwrap_or_default();
        json!({
            "ID": human::short_id(&network.id, whole),
            "Name": spec.name,
            "Driver": spec.driver,
            "Scope": SCOPE,
            "IPv4": "true",
            "IPv6": spec.ipv6.to_string(),
            "Internal": spec.internal.to_string(),
            "Labels": container::labels(&spec.labels),
            "CreatedAt": human::local_time(network.created_unix_nanos),
        })
    };
    let rows: Vec<Value> = networks.iter().map(row).collect();
    let listing = Listing { columns: COLUMNS, headings: HEADINGS, methods: &|_, _, _| None };
    listing.render(format, &rows)
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::NetworkSpec;

    use super::*;

    fn backend() -> Network {
        let spec = NetworkSpec {
            name: "backend".into(),
            driver: "bridge".into(),
            ..NetworkSpec::default()
        };
        Network { id: "0123456789abcdef".into(), spec: Some(spec), ..Network::default() }
    }

    #[test]
    fn network_ls_looks_as_dockers() {
        let table = Format::parse(None).expect("valid");
        assert_eq!(
            list(&table, &[backend()], false).expect("rendered"),
            "NETWORK ID     NAME      DRIVER    SCOPE\n\
             0123456789ab   backend   bridge    local\n"
        );
    }
}
