//! `linkspan.v1.NetworkService`.

use std::str::FromStr;

use linkspan_containers::{PruneFilters, network::NetworkConfig};
use linkspan_net::{
    Endpoint, EndpointSpec, Network, NetworkSpec, View,
    files::DnsSpec,
    filter::Filters,
    ipam::{Pool, PoolSpec},
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, network_service_server::NetworkService},
};
use tonic::{Request, Response, Status};

use super::{Guest, blocking, convert};
use crate::failure::{of_container, of_network};

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;

impl Face {
    fn tell(&self, action: &str, network: &Network) {
        let attributes = [("name", network.name.as_str()), ("type", network.driver.name())];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.0.containers.events().publish("network", action, &network.id, attributes.into());
    }
}

#[tonic::async_trait]
impl NetworkService for Face {
    async fn create(
        &self,
        request: Request<wire::CreateNetworkRequest>,
    ) -> Answer<wire::CreateNetworkResponse> {
        let spec = spec(request.into_inner().spec.unwrap_or_default())?;
        let networks = self.0.networks.clone();
        let id = blocking(move || networks.create(&spec).map_err(|e| of_network(&e))).await?;
        if let Ok(view) = self.0.networks.inspect(&id) {
            self.tell("create", &view.network);
        }
        Ok(Response::new(wire::CreateNetworkResponse { id }))
    }

    async fn list(
        &self,
        request: Request<wire::ListNetworksRequest>,
    ) -> Answer<wire::ListNetworksResponse> {
        let filters =
            Filters::of_list(&request.into_inner().filters).map_err(|e| of_network(&e))?;
        let all = self.0.networks.list();
        let networks = all.iter().filter(|view| filters.matches(view)).map(network).collect();
        Ok(Response::new(wire::ListNetworksResponse { networks }))
    }

    async fn inspect(
        &self,
        request: Request<wire::InspectNetworkRequest>,
    ) -> Answer<wire::InspectNetworkResponse> {
        let view = self.0.networks.inspect(&request.into_inner().network);
        let view = view.map_err(|error| of_network(&error))?;
        Ok(Response::new(wire::InspectNetworkResponse { network: Some(network(&view)) }))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveNetworkRequest>,
    ) -> Answer<wire::RemoveNetworkResponse> {
        let (who, networks) = (request.into_inner().network, self.0.networks.clone());
        // As it is a moment before: of what is gone nothing can be told.
        let known = networks.inspect(&who).ok();
        let id = blocking(move || networks.remove(&who).map_err(|e| of_network(&e))).await?;
        if let Some(view) = known.filter(|view| view.network.id == id) {
            self.tell("destroy", &view.network);
        }
        Ok(Response::new(wire::RemoveNetworkResponse { id }))
    }

    async fn prune(
        &self,
        request: Request<wire::PruneNetworksRequest>,
    ) -> Answer<wire::PruneNetworksResponse> {
        let filters = request.into_inner().filters;
        let (until, others): (Vec<_>, Vec<_>) =
            filters.into_iter().partition(|filter| filter.starts_with("until="));
        let until = PruneFilters::parse(&until).map_err(|error| of_container(&error))?;
        let filters = Filters::of_prune(&others).map_err(|error| of_network(&error))?;
        let networks = self.0.networks.clone();
        let before = networks.list();
        let names = blocking(move || {
            let meant = |view: &View| {
                let network = &view.network;
                filters.matches(view) && until.matches(network.created_at, &network.labels)
            };
            Ok(networks.prune(meant))
        });
        let names = names.await?;
        for view in before.iter().filter(|view| names.contains(&view.network.name)) {
            self.tell("destroy", &view.network);
        }
        let reclaimed = ("reclaimed".to_owned(), "0".to_owned());
        self.0.containers.events().publish("network", "prune", "", [reclaimed].into());
        Ok(Response::new(wire::PruneNetworksResponse { names }))
    }

    async fn connect_container(
        &self,
        request: Request<wire::ConnectNetworkRequest>,
    ) -> Answer<wire::ConnectNetworkResponse> {
        let request = request.into_inner();
        let spec = endpoint_spec(request.endpoint.unwrap_or_default())?;
        let connected = self.0.containers.connect(&request.container, spec).await;
        connected.map_err(|error| of_container(&error))?;
        Ok(Response::new(wire::ConnectNetworkResponse {}))
    }

    async fn disconnect_container(
        &self,
        request: Request<wire::DisconnectNetworkRequest>,
    ) -> Answer<wire::DisconnectNetworkResponse> {
        let request = request.into_inner();
        let gone = self.0.containers.disconnect(&request.container, &request.network).await;
        gone.map_err(|error| of_container(&error))?;
        Ok(Response::new(wire::DisconnectNetworkResponse {}))
    }
}

const ADDRESS: &str = "an IP address";
const SUBNET: &str = "a subnet such as 172.30.0.0/16 or fd30::/64";

/// A field that is empty or a `T`, which is called `kind`.
fn optional<T: FromStr>(option: &str, text: &str, kind: &str) -> Result<Option<T>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Failure::new(ErrorCode::InvalidArgument, format!("{option}: `{text}` is not {kind}"))
    })
}

fn spec(spec: wire::NetworkSpec) -> Result<NetworkSpec, Failure> {
    Ok(NetworkSpec {
        name: spec.name,
        driver: spec.driver,
        ipv6: spec.ipv6,
        internal: spec.internal,
        attachable: spec.attachable,
        pools: spec.pools.into_iter().map(pool_spec).collect::<Result<_, _>>()?,
        options: spec.options.into_iter().collect(),
        labels: spec.labels.into_iter().collect(),
    })
}

fn pool_spec(pool: wire::IpamPool) -> Result<PoolSpec, Failure> {
    let mut aux_addresses = std::collections::BTreeMap::new();
    for (name, text) in pool.aux_addresses {
        if let Some(address) = optional("--aux-address", &text, ADDRESS)? {
            aux_addresses.insert(name, address);
        }
    }
    Ok(PoolSpec {
        subnet: optional("--subnet", &pool.subnet, SUBNET)?,
        ip_range: optional("--ip-range", &pool.ip_range, SUBNET)?,
        gateway: optional("--gateway", &pool.gateway, ADDRESS)?,
        aux_addresses,
    })
}

fn pool_to_wire(pool: &Pool) -> wire::IpamPool {
    let aux = pool.aux_addresses.iter();
    wire::IpamPool {
        subnet: pool.subnet.to_string(),
        ip_range: pool.ip_range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: pool.gateway.to_string(),
        aux_addresses: aux.map(|(name, address)| (name.clone(), address.to_string())).collect(),
    }
}

fn network(view: &View) -> wire::Network {
    let network = &view.network;
    wire::Network {
        id: network.id.clone(),
        spec: Some(wire::NetworkSpec {
            name: network.name.clone(),
            driver: network.driver.name().into(),
            ipv6: network.ipv6,
            internal: network.internal,
            attachable: network.attachable,
            pools: network.pools.iter().map(pool_to_wire).collect(),
            options: network.options.clone().into_iter().collect(),
            labels: network.labels.clone().into_iter().collect(),
        }),
        created_unix_nanos: convert::nanos(network.created_at),
        endpoints: view.endpoints.iter().map(endpoint).collect(),
    }
}

/// A place as the wire has it.
pub(super) fn endpoint(endpoint: &Endpoint) -> wire::NetworkEndpoint {
    let address = |v4| {
        endpoint.address(v4).map_or_else(Default::default, |address| {
            (address.net.to_string(), address.gateway.to_string())
        })
    };
    let ((ipv4_address, ipv4_gateway), (ipv6_address, ipv6_gateway)) =
        (address(true), address(false));
    let wire = endpoint.wire.as_ref();
    wire::NetworkEndpoint {
        id: endpoint.id.clone(),
        network_id: endpoint.network_id.clone(),
        network: endpoint.network.clone(),
        container: endpoint.container.clone(),
        container_name: endpoint.container_name.clone(),
        dns_names: endpoint.names.clone(),
        interface: wire.map(|wire| wire.interface.clone()).unwrap_or_default(),
        mac_address: wire.map(|wire| wire.mac.to_string()).unwrap_or_default(),
        ipv4_address,
        ipv4_gateway,
        ipv6_address,
        ipv6_gateway,
    }
}

fn endpoint_spec(config: wire::EndpointConfig) -> Result<EndpointSpec, Failure> {
    Ok(EndpointSpec {
        network: config.network,
        aliases: config.aliases,
        ipv4: optional("--ip", &config.ipv4_address, "an IPv4 address")?,
        ipv6: optional("--ip6", &config.ipv6_address, "an IPv6 address")?,
        mac: config.mac_address,
    })
}

/// What `create` says of networks.
pub(super) fn config(config: wire::ContainerNetworkConfig) -> Result<NetworkConfig, Failure> {
    let mut servers = Vec::new();
    for text in &config.dns_servers {
        servers.extend(optional::<std::net::IpAddr>("--dns", text, ADDRESS)?);
    }
    Ok(NetworkConfig {
        endpoints: config.endpoints.into_iter().map(endpoint_spec).collect::<Result<_, _>>()?,
        dns: DnsSpec {
            servers,
            search: config.dns_search,
            options: config.dns_options,
            extra_hosts: config.extra_hosts,
        },
    })
}

/// The same, for inspect.
pub(super) fn config_to_wire(config: &NetworkConfig) -> wire::ContainerNetworkConfig {
    let text = |address: Option<String>| address.unwrap_or_default();
    let endpoint = |endpoint: &EndpointSpec| wire::EndpointConfig {
        network: endpoint.network.clone(),
        aliases: endpoint.aliases.clone(),
        ipv4_address: text(endpoint.ipv4.map(|address| address.to_string())),
        ipv6_address: text(endpoint.ipv6.map(|address| address.to_string())),
        mac_address: endpoint.mac.clone(),
    };
    wire::ContainerNetworkConfig {
        endpoints: config.endpoints.iter().map(endpoint).collect(),
        dns_servers: config.dns.servers.iter().map(ToString::to_string).collect(),
        dns_search: config.dns.search.clone(),
        dns_options: config.dns.options.clone(),
        extra_hosts: config.dns.extra_hosts.clone(),
    }
}
