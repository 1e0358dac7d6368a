//! Networks.

use std::collections::BTreeMap;

use linkspan_proto::v1 as wire;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::container::network::{self as container, EndpointSettings};
use crate::error::Refused;
use crate::version::ApiVersion;
use crate::{Pairs, pairs, some, time};

/// Where a network can be used; there are no others.
pub const SCOPE: &str = "local";

/// `GET /networks/{id}`, and without the containers one of `GET /networks`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Network {
    pub name: String,
    pub id: String,
    pub created: String,
    pub scope: &'static str,
    pub driver: String,
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_from: ConfigFrom,
    pub config_only: bool,
    pub containers: BTreeMap<String, Member>,
    pub options: Pairs,
    pub labels: Pairs,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct ConfigFrom {
    pub network: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Ipam {
    pub driver: String,
    pub options: Option<Pairs>,
    pub config: Vec<Pool>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pool {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub auxiliary_addresses: Pairs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Member {
    pub name: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub mac_address: String,
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

impl From<&wire::Network> for Network {
    fn from(network: &wire::Network) -> Self {
        let spec = network.spec.clone().unwrap_or_default();
        let pool = |pool: &wire::IpamPool| Pool {
            subnet: pool.subnet.clone(),
            ip_range: pool.ip_range.clone(),
            gateway: pool.gateway.clone(),
            auxiliary_addresses: pairs(&pool.aux_addresses),
        };
        Self {
            id: network.id.clone(),
            created: time::rfc3339(network.created_unix_nanos),
            scope: SCOPE,
            enable_ipv4: true,
            enable_ipv6: spec.ipv6,
            ipam: Ipam {
                driver: "default".into(),
                options: Some(Pairs::new()),
                config: spec.pools.iter().map(pool).collect(),
            },
            internal: spec.internal,
            attachable: spec.attachable,
            ingress: false,
            config_from: ConfigFrom::default(),
            config_only: false,
            containers: network.endpoints.iter().map(member).collect(),
            options: pairs(&spec.options),
            labels: pairs(&spec.labels),
            name: spec.name,
            driver: spec.driver,
        }
    }
}

fn member(endpoint: &wire::NetworkEndpoint) -> (String, Member) {
    let member = Member {
        name: endpoint.container_name.clone(),
        endpoint_id: endpoint.id.clone(),
        mac_address: endpoint.mac_address.clone(),
        ipv4_address: endpoint.ipv4_address.clone(),
        ipv6_address: endpoint.ipv6_address.clone(),
    };
    (endpoint.container.clone(), member)
}

impl Network {
    /// One of the list. The containers are in it before 1.28 only; until 1.51 there is an empty
    /// object in their place.
    #[must_use]
    pub fn listed(&self, version: ApiVersion) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if version.before(28) {
            return shown;
        }
        shown["Containers"] = json!({});
        if let Some(fields) = shown.as_object_mut().filter(|_| !version.before(52)) {
            fields.remove("Containers");
        }
        shown
    }
}

/// `POST /networks/create`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct CreateBody {
    pub name: String,
    /// Always so, since 1.44.
    pub check_duplicate: bool,
    pub driver: String,
    pub scope: String,
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    pub internal: bool,
    pub attachable: bool,
    pub ingress: bool,
    pub config_only: bool,
    pub config_from: Option<ConfigFrom>,
    pub options: Pairs,
    pub labels: Pairs,
}

impl CreateBody {
    /// For the engine.
    ///
    /// # Errors
    /// What is not supported.
    pub fn request(self) -> Result<wire::CreateNetworkRequest, Refused> {
        const NO_SWARM: &str = "there is no Swarm";
        let Self {
            name,
            check_duplicate: _,
            driver,
            scope,
            enable_ipv4,
            enable_ipv6,
            ipam: Ipam { driver: ipam_driver, options: ipam_options, config },
            internal,
            attachable,
            ingress,
            config_only,
            config_from,
            options,
            labels,
        } = self;
        crate::container::read::refuse(&[
            (!["", SCOPE].contains(&scope.as_str()), "Scope", NO_SWARM),
            (ingress, "Ingress", NO_SWARM),
            (enable_ipv4 == Some(false), "EnableIPv4", "every network has IPv4 addresses"),
            (config_only, "ConfigOnly", "there are no networks that only hold settings"),
            (
                config_from.is_some_and(|from| !from.network.is_empty()),
                "ConfigFrom",
                "there are no networks that only hold settings",
            ),
            (
                !["", "default"].contains(&ipam_driver.as_str()),
                "IPAM.Driver",
                "there is one driver of addresses, `default`",
            ),
            (
                ipam_options.is_some_and(|options| !options.is_empty()),
                "IPAM.Options",
                "the driver of addresses has none",
            ),
        ])?;
        let pool = |pool: Pool| wire::IpamPool {
            subnet: pool.subnet,
            ip_range: pool.ip_range,
            gateway: pool.gateway,
            aux_addresses: pool.auxiliary_addresses.into_iter().collect(),
        };
        let spec = wire::NetworkSpec {
            name,
            driver,
            ipv6: enable_ipv6.unwrap_or(false),
            internal,
            attachable,
            // A client that chooses nothing may write one empty pool.
            pools: config.into_iter().filter(|pool| *pool != Pool::default()).map(pool).collect(),
            options: options.into_iter().collect(),
            labels: labels.into_iter().collect(),
        };
        Ok(wire::CreateNetworkRequest { spec: Some(spec) })
    }
}

/// The answer, with status 201.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Created {
    pub id: String,
    pub warning: String,
}

impl From<wire::CreateNetworkResponse> for Created {
    fn from(answer: wire::CreateNetworkResponse) -> Self {
        Self { id: answer.id, warning: String::new() }
    }
}

/// That a network cannot be removed, in Docker's words.
#[must_use]
pub fn in_use(network: &wire::Network) -> String {
    let endpoints = network.endpoints.iter().map(|endpoint| {
        let id = endpoint.id.get(..12).unwrap_or(&endpoint.id);
        format!("name:\"{}\" id:\"{id}\"", endpoint.container_name)
    });
    let endpoints = endpoints.collect::<Vec<_>>().join(", ");
    let name = network.spec.as_ref().map_or("", |spec| spec.name.as_str());
    format!("error while removing network: network {name} has active endpoints ({endpoints})")
}

/// `POST /networks/{id}/connect`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct ConnectBody {
    pub container: String,
    pub endpoint_config: Option<EndpointSettings>,
}

impl ConnectBody {
    /// For the engine.
    ///
    /// # Errors
    /// What an endpoint cannot have.
    pub fn request(self, network: &str) -> Result<wire::ConnectNetworkRequest, Refused> {
        let settings = self.endpoint_config.unwrap_or_default();
        let endpoint = settings.read(container::name(network))?;
        Ok(wire::ConnectNetworkRequest { container: self.container, endpoint: Some(endpoint) })
    }
}

/// `POST /networks/{id}/disconnect`. A container that is gone or broken leaves anyway, so `Force`
/// changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct DisconnectBody {
    pub container: String,
    pub force: bool,
}

/// `POST /networks/prune`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pruned {
    pub networks_deleted: Option<Vec<String>>,
}

impl From<wire::PruneNetworksResponse> for Pruned {
    fn from(answer: wire::PruneNetworksResponse) -> Self {
        Self { networks_deleted: some(&answer.names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_dockers_shape() {
        let spec = wire::NetworkSpec {
            name: "back".into(),
            driver: "bridge".into(),
            pools: vec![wire::IpamPool { subnet: "10.1.0.0/16".into(), ..Default::default() }],
            ..wire::NetworkSpec::default()
        };
        let endpoint = wire::NetworkEndpoint {
            container: "c1".into(),
            ipv4_address: "10.1.0.2/16".into(),
            ..wire::NetworkEndpoint::default()
        };
        let network = wire::Network {
            id: "n".into(),
            spec: Some(spec),
            endpoints: vec![endpoint],
            created_unix_nanos: 1_500_000_000,
        };
        let network = Network::from(&network);
        let mut whole = json!({
            "Name": "back", "Id": "n", "Created": "1970-01-01T00:00:01.5Z", "Scope": "local",
            "Driver": "bridge", "EnableIPv4": true, "EnableIPv6": false,
            "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.1.0.0/16"}]},
            "Internal": false, "Attachable": false, "Ingress": false,
            "ConfigFrom": {"Network": ""}, "ConfigOnly": false, "Options": {}, "Labels": {},
            "Containers": {"c1": {"Name": "", "EndpointID": "", "MacAddress": "",
                "IPv4Address": "10.1.0.2/16", "IPv6Address": ""}},
        });
        assert_eq!(serde_json::to_value(&network).unwrap(), whole);
        assert_eq!(network.listed(ApiVersion::v1(27)), whole);
        whole["Containers"] = json!({});
        assert_eq!(network.listed(ApiVersion::v1(51)), whole);
        assert_eq!(network.listed(ApiVersion::MAX).get("Containers"), None);
    }

    #[test]
    fn a_network_is_made_as_asked_or_refused_by_name() {
        let read = |body: Value| crate::json::from_value::<CreateBody>(body).unwrap().request();
        let spec = read(json!({
            "Name": "back", "CheckDuplicate": true, "Driver": "bridge", "EnableIPv6": true,
            "Internal": true, "Attachable": true, "Scope": "", "Ingress": false,
            "IPAM": {"Driver": "default", "Options": null, "Config": [{}, {"Subnet": "10.1.0.0/16",
                "IPRange": "10.1.1.0/24", "Gateway": "10.1.0.1", "AuxiliaryAddresses": {"a": "10.1.0.5"}}]},
            "Options": {"com.docker.network.bridge.name": "x"}, "Labels": {"a": "b"},
            "ConfigFrom": {"Network": ""},
        }));
        let spec = spec.unwrap().spec.unwrap();
        assert!(spec.ipv6 && spec.internal && spec.attachable);
        assert_eq!((spec.pools.len(), spec.pools[0].gateway.as_str()), (1, "10.1.0.1"));
        assert_eq!((spec.options.len(), spec.labels.len()), (1, 1));
        assert!(read(json!({"Name": "x", "IPAM": null, "Options": null})).is_ok());
        for (body, field) in [
            (json!({"Scope": "swarm"}), "Scope"),
            (json!({"Ingress": true}), "Ingress"),
            (json!({"EnableIPv4": false}), "EnableIPv4"),
            (json!({"ConfigOnly": true}), "ConfigOnly"),
            (json!({"ConfigFrom": {"Network": "x"}}), "ConfigFrom"),
            (json!({"IPAM": {"Driver": "x"}}), "IPAM.Driver"),
            (json!({"IPAM": {"Options": {"a": "b"}}}), "IPAM.Options"),
        ] {
            let why = read(body).unwrap_err().to_string();
            assert!(why.starts_with(&format!("{field} is not supported: ")), "{why}");
        }
    }
}
