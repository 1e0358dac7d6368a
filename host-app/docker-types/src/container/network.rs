//! A container's places in networks: as it is asked for, and as they are.

use std::collections::BTreeMap;

use linkspan_proto::v1::{
    ContainerNetworkConfig, ContainerSummary, EndpointConfig, NetworkEndpoint,
};
use serde::{Deserialize, Serialize};

use crate::error::Refused;
use crate::{Pairs, some};

/// The network of a container that asks for none.
pub const DEFAULT: &str = "bridge";

/// `NetworkingConfig` of the body of `create`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct NetworkingConfig {
    pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
}

/// `network.EndpointSettings`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    pub links: Option<Vec<String>>,
    pub aliases: Option<Vec<String>>,
    pub mac_address: String,
    pub driver_opts: Option<Pairs>,
    pub gw_priority: i64,
    // What follows is an answer; in a request it means nothing.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct EndpointIpam {
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
}

impl EndpointSettings {
    /// As the wire has it, for the network of this name.
    ///
    /// # Errors
    /// What is not supported.
    pub(crate) fn read(&self, network: &str) -> Result<EndpointConfig, Refused> {
        // The rest is an answer's.
        let Self { ipam_config, links, aliases, mac_address, driver_opts, gw_priority, .. } = self;
        let ipam = ipam_config.clone().unwrap_or_default();
        let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|all| !all.is_empty());
        for (is_given, field, why) in [
            (given(links), "EndpointSettings.Links", super::refused::LINKS),
            (
                driver_opts.as_ref().is_some_and(|options| !options.is_empty()),
                "EndpointSettings.DriverOpts",
                "the networks have no options for one container",
            ),
            (*gw_priority != 0, "EndpointSettings.GwPriority", "the first network has the gateway"),
            (
                !ipam.link_local_ips.is_empty(),
                "EndpointSettings.IPAMConfig.LinkLocalIPs",
                super::refused::LINK_LOCAL,
            ),
        ] {
            if is_given {
                return Err(Refused::Unsupported { field, why });
            }
        }
        Ok(EndpointConfig {
            network: network.to_owned(),
            aliases: aliases.clone().unwrap_or_default(),
            ipv4_address: ipam.ipv4_address,
            ipv6_address: ipam.ipv6_address,
            mac_address: mac_address.clone(),
        })
    }
}

/// `NetworkSettings` of an inspected container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Settings {
    /// Docker's name for a network namespace; ours have none.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// Where it is mounted; ours is nowhere.
    pub sandbox_key: String,
    pub ports: BTreeMap<String, Option<Vec<super::port::Binding>>>,
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// What a container is called in the mode and in `Networks`: the default one has two names.
#[must_use]
pub fn name(network: &str) -> &str {
    match network {
        "" | "default" => DEFAULT,
        network => network,
    }
}

/// `HostConfig.NetworkMode`: the first network, as Docker has it.
#[must_use]
pub fn mode(config: Option<&ContainerNetworkConfig>) -> String {
    let first = config.and_then(|config| config.endpoints.first());
    name(first.map_or("", |endpoint| &endpoint.network)).to_owned()
}

/// A container's places by network: what was asked for, and what it has while it runs.
#[must_use]
pub fn places(
    container: &ContainerSummary,
    asked: Option<&ContainerNetworkConfig>,
    endpoints: &[NetworkEndpoint],
) -> BTreeMap<String, EndpointSettings> {
    let wish =
        |network: &str| asked?.endpoints.iter().find(|endpoint| name(&endpoint.network) == network);
    let idle =
        container.networks.iter().map(|network| (network.clone(), place(wish(network), None)));
    let active = endpoints
        .iter()
        .map(|endpoint| (endpoint.network.clone(), place(wish(&endpoint.network), Some(endpoint))));
    idle.chain(active).collect()
}

fn place(asked: Option<&EndpointConfig>, now: Option<&NetworkEndpoint>) -> EndpointSettings {
    let asked = asked.cloned().unwrap_or_default();
    let now = now.cloned().unwrap_or_default();
    let (ip_address, ip_prefix_len) = split(&now.ipv4_address);
    let (global_ipv6_address, global_ipv6_prefix_len) = split(&now.ipv6_address);
    let ipam = EndpointIpam {
        ipv4_address: asked.ipv4_address,
        ipv6_address: asked.ipv6_address,
        link_local_ips: Vec::new(),
    };
    EndpointSettings {
        ipam_config: Some(ipam).filter(|ipam| !crate::is_zero(ipam)),
        links: None,
        aliases: some(&asked.aliases),
        mac_address: if now.mac_address.is_empty() { asked.mac_address } else { now.mac_address },
        driver_opts: None,
        gw_priority: 0,
        network_id: now.network_id,
        endpoint_id: now.id,
        gateway: now.ipv4_gateway,
        ip_address,
        ip_prefix_len,
        ipv6_gateway: now.ipv6_gateway,
        global_ipv6_address,
        global_ipv6_prefix_len,
        dns_names: some(&now.dns_names),
    }
}

/// `172.17.0.2/16`
fn split(address: &str) -> (String, u8) {
    let (address, prefix) = address.split_once('/').unwrap_or((address, "0"));
    (address.into(), prefix.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_shows_what_was_asked_and_what_it_has() {
        let container = ContainerSummary {
            networks: vec!["back".into(), "front".into()],
            ..ContainerSummary::default()
        };
        let asked = EndpointConfig {
            network: "back".into(),
            aliases: vec!["db".into()],
            ipv4_address: "10.1.0.9".into(),
            ..EndpointConfig::default()
        };
        let asked = ContainerNetworkConfig { endpoints: vec![asked], ..Default::default() };
        let endpoint = NetworkEndpoint {
            id: "e".into(),
            network: "back".into(),
            ipv4_address: "10.1.0.9/16".into(),
            dns_names: vec!["db".into(), "web".into()],
            ..NetworkEndpoint::default()
        };
        let shown = serde_json::to_value(places(&container, Some(&asked), &[endpoint])).unwrap();
        assert_eq!(
            shown["back"],
            json!({
                "IPAMConfig": {"IPv4Address": "10.1.0.9"},
                "Links": null, "Aliases": ["db"], "MacAddress": "", "DriverOpts": null,
                "GwPriority": 0, "NetworkID": "", "EndpointID": "e", "Gateway": "",
                "IPAddress": "10.1.0.9", "IPPrefixLen": 16, "IPv6Gateway": "",
                "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": ["db", "web"],
            })
        );
        assert_eq!(shown["front"]["IPAMConfig"], json!(null));
        assert_eq!((mode(Some(&asked)).as_str(), mode(None).as_str()), ("back", "bridge"));
    }

    #[test]
    fn what_an_endpoint_cannot_have_is_refused_by_name() {
        for (asked, field) in [
            (json!({"Links": ["db:db"]}), "EndpointSettings.Links"),
            (json!({"DriverOpts": {"a": "b"}}), "EndpointSettings.DriverOpts"),
            (json!({"GwPriority": 1}), "EndpointSettings.GwPriority"),
            (json!({"IPAMConfig": {"LinkLocalIPs": ["fe80::1"]}}), "IPAMConfig.LinkLocalIPs"),
        ] {
            let settings: EndpointSettings = crate::json::from_value(asked).unwrap();
            assert!(settings.read("x").unwrap_err().to_string().contains(field), "{field}");
        }
        let empty = json!({"Links": [], "DriverOpts": {}, "IPAMConfig": {}, "Aliases": null});
        let settings: EndpointSettings = crate::json::from_value(empty).unwrap();
        assert_eq!(settings.read("x").unwrap().network, "x");
    }
}
