//! `network ls` and `network inspect`: Docker's columns and objects.

use std::collections::BTreeMap;

use linkspan_proto::v1::{ContainerSummary, Network, NetworkEndpoint};
use serde::Serialize;
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::{container, human, ports};
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
            "Scope": "local",
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

/// A network as `docker network inspect` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Detail {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    containers: BTreeMap<String, Member>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: &'static str,
    options: BTreeMap<String, String>,
    config: Vec<Pool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pool {
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    ip_range: String,
    gateway: String,
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    aux_addresses: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

impl From<&Network> for Detail {
    fn from(network: &Network) -> Self {
        let spec = network.spec.clone().unwrap_or_default();
        let pool = |pool: linkspan_proto::v1::IpamPool| Pool {
            subnet: pool.subnet,
            ip_range: pool.ip_range,
            gateway: pool.gateway,
            aux_addresses: pool.aux_addresses.into_iter().collect(),
        };
        Self {
            id: network.id.clone(),
            created: human::rfc3339_nanos(network.created_unix_nanos),
            scope: "local",
            enable_ipv4: true,
            enable_ipv6: spec.ipv6,
            ipam: Ipam {
                driver: "default",
                options: BTreeMap::new(),
                config: spec.pools.into_iter().map(pool).collect(),
            },
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: false,
            containers: network.endpoints.iter().map(member).collect(),
            options: spec.options.into_iter().collect(),
            labels: spec.labels.into_iter().collect(),
            name: spec.name,
            driver: spec.driver,
        }
    }
}

fn member(endpoint: &NetworkEndpoint) -> (String, Member) {
    let member = Member {
        name: endpoint.container_name.clone(),
        endpoint_id: endpoint.id.clone(),
        mac_address: endpoint.mac_address.clone(),
        ipv4_address: endpoint.ipv4_address.clone(),
        ipv6_address: endpoint.ipv6_address.clone(),
    };
    (endpoint.container.clone(), member)
}

/// `NetworkSettings` of a container, by network.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Settings {
    ports: BTreeMap<String, Option<Vec<ports::Binding>>>,
    networks: BTreeMap<String, Place>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Place {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    mac_address: String,
    gateway: String,
    #[serde(rename = "IPAddress")]
    ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Vec<String>,
}

/// A container's places.
pub(crate) fn settings(container: &ContainerSummary, endpoints: &[NetworkEndpoint]) -> Settings {
    let networks = endpoints.iter().map(|endpoint| (endpoint.network.clone(), place(endpoint)));
    Settings { ports: ports::map(container), networks: networks.collect() }
}

fn place(endpoint: &NetworkEndpoint) -> Place {
    let (ip_address, ip_prefix_len) = split(&endpoint.ipv4_address);
    let (global_ipv6_address, global_ipv6_prefix_len) = split(&endpoint.ipv6_address);
    Place {
        network_id: endpoint.network_id.clone(),
        endpoint_id: endpoint.id.clone(),
        mac_address: endpoint.mac_address.clone(),
        gateway: endpoint.ipv4_gateway.clone(),
        ip_address,
        ip_prefix_len,
        ipv6_gateway: endpoint.ipv6_gateway.clone(),
        global_ipv6_address,
        global_ipv6_prefix_len,
        dns_names: endpoint.dns_names.clone(),
    }
}

/// `172.17.0.2/16`
fn split(address: &str) -> (String, u8) {
    let (address, prefix) = address.split_once('/').unwrap_or((address, "0"));
    (address.into(), prefix.parse().unwrap_or(0))
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
        let endpoint = NetworkEndpoint {
            container: "c1".into(),
            network: "backend".into(),
            ipv4_address: "172.18.0.2/16".into(),
            ..NetworkEndpoint::default()
        };
        Network {
            id: "0123456789abcdef".into(),
            spec: Some(spec),
            endpoints: vec![endpoint],
            ..Network::default()
        }
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

    #[test]
    fn network_inspect_has_dockers_names() {
        let value = serde_json::to_value(Detail::from(&backend())).expect("JSON");
        assert_eq!(value["Containers"]["c1"]["IPv4Address"], "172.18.0.2/16");
        assert_eq!(
            (&value["Scope"], &value["IPAM"]["Driver"]),
            (&json!("local"), &json!("default"))
        );
        let settings =
            serde_json::to_value(settings(&ContainerSummary::default(), &backend().endpoints))
                .expect("JSON");
        assert_eq!(settings["Networks"]["backend"]["IPAddress"], "172.18.0.2");
        assert_eq!(settings["Networks"]["backend"]["IPPrefixLen"], 16);
    }
}
