//! Which networks there are and who has which address and interface, as plain data.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::{IpNet, Ipv6Net};

use super::{View, kernel::mac_for};
use crate::{
    Error,
    endpoint::{self, Address, Endpoint, EndpointSpec, Mac, Member, Wire},
    ipam::Addresses,
    network::{Driver, Network},
};

#[derive(Debug)]
pub(super) struct State {
    pub(super) ipv6_prefix: Ipv6Net,
    /// By id.
    pub(super) entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) network: Network,
    /// One for each pool.
    pub(super) addresses: Vec<Addresses>,
    /// By container id.
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    /// Whether the kernel has the bridge.
    pub(super) up: bool,
    /// It is being removed: nobody comes in.
    pub(super) going: bool,
}

impl Entry {
    pub(super) fn new(network: Network) -> Self {
        let addresses = network.pools.iter().cloned().map(Addresses::new).collect();
        Self { network, addresses, endpoints: BTreeMap::new(), up: false, going: false }
    }

    pub(super) fn view(&self) -> View {
        let endpoints = self.endpoints.values().cloned().collect();
        View { network: self.network.clone(), endpoints }
    }

    pub(super) fn give_back(&mut self, endpoint: &Endpoint) {
        for address in endpoint.wire.iter().flat_map(|wire| &wire.addresses) {
            for (pool, addresses) in self.network.pools.iter().zip(&mut self.addresses) {
                if pool.subnet.contains(&address.net.addr()) {
                    addresses.release(address.net.addr());
                }
            }
        }
    }
}

impl State {
    pub(super) fn find(&self, who: &str) -> Result<String, Error> {
        if self.entries.contains_key(who) {
            return Ok(who.into());
        }
        if let Some(entry) = self.entries.values().find(|entry| entry.network.name == who) {
            return Ok(entry.network.id.clone());
        }
        let matching: Vec<&String> =
            self.entries.keys().filter(|id| !who.is_empty() && id.starts_with(who)).collect();
        match matching[..] {
            [] => Err(Error::NotFound(who.into())),
            [only] => Ok(only.clone()),
            ref several => Err(Error::Ambiguous { prefix: who.into(), count: several.len() }),
        }
    }

    pub(super) fn reserve(
        &mut self,
        member: &Member,
        spec: &EndpointSpec,
    ) -> Result<Endpoint, Error> {
        let id = self.find(&spec.network)?;
        let (interfaces, has_default) = self.wires(&member.id);
        let entry =
            self.entries.get_mut(&id).ok_or_else(|| Error::NotFound(spec.network.clone()))?;
        if entry.going {
            return Err(Error::NotFound(spec.network.clone()));
        }
        let network = &entry.network;
        if entry.endpoints.contains_key(&member.id) {
            return Err(Error::AlreadyConnected {
                container: member.name.clone(),
                network: network.name.clone(),
            });
        }
        if !network.has_names() {
            refuse_where_docker_does(network, spec)?;
        }
        let wire = match network.driver {
            Driver::Host | Driver::None => None,
            Driver::Bridge => {
                let mac = (!spec.mac.is_empty()).then(|| spec.mac.parse::<Mac>()).transpose()?;
                let addresses = take_addresses(network, &mut entry.addresses, spec)?;
                let prefix = network.interface_prefix();
                let number = (0..).find(|n| !interfaces.contains(&format!("{prefix}{n}")));
                Some(Wire {
                    interface: format!("{prefix}{}", number.unwrap_or(0)),
                    outer: format!("veth{}", hex::encode(rand::random::<[u8; 4]>())),
                    mac: mac.unwrap_or_else(|| mac_for(&addresses)),
                    addresses,
                    default_route: !has_default && !network.internal,
                    plugged: false,
                })
            }
        };
        let named = network.has_names();
        let endpoint = Endpoint {
            id: hex::encode(rand::random::<[u8; 32]>()),
            network_id: id,
            network: network.name.clone(),
            container: member.id.clone(),
            container_name: member.name.clone(),
            names: if named { endpoint::names(member, &spec.aliases) } else { Vec::new() },
            wire,
        };
        entry.endpoints.insert(member.id.clone(), endpoint.clone());
        Ok(endpoint)
    }

    /// The names of a container's interfaces, and whether one has the default route.
    fn wires(&self, container: &str) -> (Vec<String>, bool) {
        let endpoints = self.entries.values().filter_map(|entry| entry.endpoints.get(container));
        let wires: Vec<&Wire> = endpoints.filter_map(|e| e.wire.as_ref()).collect();
        let names = wires.iter().map(|wire| wire.interface.clone()).collect();
        (names, wires.iter().any(|wire| wire.default_route))
    }

    /// Gives the default route to another interface of a container, if one leads out.
    pub(super) fn next_default(&mut self, container: &str) -> Option<Wire> {
        let leads_out = self.entries.values_mut().filter(|entry| !entry.network.internal);
        let mut wires = leads_out
            .filter_map(|entry| entry.endpoints.get_mut(container)?.wire.as_mut())
            .collect::<Vec<_>>();
        wires.sort_by(|a, b| a.interface.cmp(&b.interface));
        let wire = wires.into_iter().next()?;
        wire.default_route = true;
        Some(wire.clone())
    }

    pub(super) fn with_wire(
        &mut self,
        network: &str,
        container: &str,
        change: impl FnOnce(&mut Wire),
    ) {
        let entry = self.entries.get_mut(network);
        let endpoint = entry.and_then(|entry| entry.endpoints.get_mut(container));
        if let Some(wire) = endpoint.and_then(|endpoint| endpoint.wire.as_mut()) {
            change(wire);
        }
    }
}

/// Docker's rules for the networks that are always there.
fn refuse_where_docker_does(network: &Network, spec: &EndpointSpec) -> Result<(), Error> {
    if !spec.aliases.is_empty() {
        let why = "network-scoped aliases are only supported for user-defined networks";
        return Err(Error::invalid("--network-alias", why));
    }
    if spec.ipv4.is_some() || spec.ipv6.is_some() {
        let why = format!(
            "a container's address can be chosen in user-defined networks only, not in {}",
            network.name
        );
        return Err(Error::invalid(if spec.ipv4.is_some() { "--ip" } else { "--ip6" }, why));
    }
    Ok(())
}

fn take_addresses(
    network: &Network,
    pools: &mut [Addresses],
    spec: &EndpointSpec,
) -> Result<Vec<Address>, Error> {
    if spec.ipv6.is_some() && !network.ipv6 {
        let why = format!("network {} has no IPv6", network.name);
        return Err(Error::invalid("--ip6", why));
    }
    let mut taken: Vec<Address> = Vec::new();
    for index in 0..pools.len().min(network.pools.len()) {
        let pool = &network.pools[index];
        let wanted = if is_v4(pool.subnet) {
            spec.ipv4.map(IpAddr::from)
        } else {
            spec.ipv6.map(IpAddr::from)
        };
        match pools[index].take(&network.name, wanted) {
            Ok(net) => taken.push(Address { net, gateway: pool.gateway }),
            Err(error) => {
                for (given, pool) in taken.iter().zip(pools) {
                    pool.release(given.net.addr());
                }
                return Err(error);
            }
        }
    }
    Ok(taken)
}

pub(super) fn is_v4(net: IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}
