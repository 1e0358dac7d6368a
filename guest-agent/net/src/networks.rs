//! Every network of the VM: what exists, who is in it, and what the kernel has of it.
//!
//! A network is made in the kernel (bridge, rules) when its first container starts, not before: a
//! boot does not wait for it. Addresses are taken by [`Networks::reserve`], before the container's
//! namespace exists; interfaces are made by [`Networks::plug`], when it does. Blocks.

use std::{collections::BTreeMap, fs, io, net::IpAddr, os::fd::BorrowedFd, path::Path};

use ipnet::{IpNet, Ipv6Net};
use jiff::Timestamp;
use nix::errno::Errno;
use parking_lot::Mutex;

use crate::{
    Error,
    dns::Sockets,
    endpoint::{self, Address, Endpoint, EndpointSpec, Mac, Member, Wire},
    ipam::{self, Addresses, Pool, PoolSpec},
    netlink::{
        nft::{self, Chain, Hook, Part},
        route::Route,
    },
    network::{self, Driver, Network, NetworkSpec},
    store::{Document, Store},
};

/// Our table in the packet filter.
const TABLE: &str = "linkspan";

/// A network and who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The network.
    pub network: Network,
    /// The containers that run in it.
    pub endpoints: Vec<Endpoint>,
}

/// Every network.
#[derive(Debug)]
pub struct Networks {
    store: Store,
    /// Subnets that the VM itself is in.
    machine: Vec<IpNet>,
    state: Mutex<State>,
    /// Held while bridges and rules change, so that two starts do not make one bridge twice.
    kernel: Mutex<()>,
}

#[derive(Debug)]
struct State {
    ipv6_prefix: Ipv6Net,
    /// By id.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    network: Network,
    /// One for each pool.
    addresses: Vec<Addresses>,
    /// By container id.
    endpoints: BTreeMap<String, Endpoint>,
    /// Whether the kernel has the bridge.
    up: bool,
}

impl Entry {
    fn new(network: Network) -> Self {
        let addresses = network.pools.iter().cloned().map(Addresses::new).collect();
        Self { network, addresses, endpoints: BTreeMap::new(), up: false }
    }

    fn view(&self) -> View {
        let endpoints = self.endpoints.values().cloned().collect();
        View { network: self.network.clone(), endpoints }
    }

    fn give_back(&mut self, endpoint: &Endpoint) {
        for address in endpoint.wire.iter().flat_map(|wire| &wire.addresses) {
            for (pool, addresses) in self.network.pools.iter().zip(&mut self.addresses) {
                if pool.subnet.contains(&address.net.addr()) {
                    addresses.release(address.net.addr());
                }
            }
        }
    }
}

impl Networks {
    /// Reads what `folder` holds; makes the three networks that are always there. `machine` are
    /// the subnets of the VM's own interfaces: no network gets one that meets them.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(folder: &Path, machine: Vec<IpNet>) -> Result<Self, Error> {
        let store = Store::new(folder);
        let known = store.load()?;
        let fresh = known.is_none();
        let known = known.unwrap_or_else(|| Document::new(ipam::random_ula(), Vec::new()));
        let entries = known.networks.into_iter().map(|n| (n.id.clone(), Entry::new(n))).collect();
        let state = State { ipv6_prefix: known.ipv6_prefix, entries };
        let networks = Self { store, machine, state: Mutex::new(state), kernel: Mutex::default() };
        if fresh {
            networks.make_predefined()?;
        }
        Ok(networks)
    }

    fn make_predefined(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        for (name, driver) in
            [("bridge", Driver::Bridge), ("host", Driver::Host), ("none", Driver::None)]
        {
            let spec = NetworkSpec { name: name.into(), ..NetworkSpec::default() };
            let network = self.build(&state, &spec, driver)?;
            state.entries.insert(network.id.clone(), Entry::new(network));
        }
        self.save(&state)
    }

    /// Makes a network. Returns its id.
    ///
    /// # Errors
    /// Names the option that is wrong, or the network whose name or subnet it would take.
    pub fn create(&self, spec: &NetworkSpec) -> Result<String, Error> {
        network::check_name(&spec.name)?;
        network::check_options(&spec.options)?;
        let driver = network::driver(&spec.driver)?;
        let mut state = self.state.lock();
        if state.entries.values().any(|entry| entry.network.name == spec.name) {
            return Err(Error::NameConflict(spec.name.clone()));
        }
        let network = self.build(&state, spec, driver)?;
        let bridge = network.bridge_name();
        if let Some(other) =
            state.entries.values().find(|entry| entry.network.bridge_name() == bridge)
        {
            let why = format!("bridge {bridge} is network {}'s", other.network.name);
            return Err(Error::invalid("--opt com.docker.network.bridge.name", why));
        }
        let id = network.id.clone();
        state.entries.insert(id.clone(), Entry::new(network));
        if let Err(error) = self.save(&state) {
            state.entries.remove(&id);
            return Err(error);
        }
        Ok(id)
    }

    fn build(&self, state: &State, spec: &NetworkSpec, driver: Driver) -> Result<Network, Error> {
        let pools = match driver {
            Driver::Bridge => self.pools(state, spec)?,
            Driver::Host | Driver::None => Vec::new(),
        };
        Ok(Network {
            id: hex::encode(rand::random::<[u8; 32]>()),
            name: spec.name.clone(),
            created_at: Timestamp::now(),
            driver,
            ipv6: spec.ipv6,
            internal: spec.internal,
            attachable: spec.attachable,
            pools,
            options: spec.options.clone(),
            labels: spec.labels.clone(),
        })
    }

    /// One IPv4 pool and, with IPv6, one of those: what the specification names, else a default.
    fn pools(&self, state: &State, spec: &NetworkSpec) -> Result<Vec<Pool>, Error> {
        let mut taken = self.machine.clone();
        let others = state.entries.values().flat_map(|entry| &entry.network.pools);
        taken.extend(others.map(|pool| pool.subnet));
        let mut pools = Vec::new();
        for asked in &spec.pools {
            let Some(subnet) = asked.subnet else {
                let why = "every --gateway, --ip-range and --aux-address needs its --subnet";
                return Err(Error::invalid("--subnet", why));
            };
            if matches!(subnet, IpNet::V6(_)) && !spec.ipv6 {
                let why = format!("{subnet} needs --ipv6");
                return Err(Error::invalid("--subnet", why));
            }
            self.check_overlap(state, subnet)?;
            let pool = Pool::new(asked, subnet)?;
            if pools.iter().any(|known: &Pool| is_v4(known.subnet) == is_v4(subnet)) {
                let what = format!("--subnet {subnet}");
                let why = "a network has one subnet of each family here";
                return Err(Error::unsupported(what, why));
            }
            pools.push(pool);
        }
        taken.extend(pools.iter().map(|pool| pool.subnet));
        if !pools.iter().any(|pool| is_v4(pool.subnet)) {
            let subnet = ipam::default_v4(&taken).ok_or(Error::NoSubnetLeft)?;
            pools.push(Pool::new(&PoolSpec::default(), subnet)?);
        }
        if spec.ipv6 && pools.iter().all(|pool| is_v4(pool.subnet)) {
            let subnet = ipam::default_v6(state.ipv6_prefix, &taken).ok_or(Error::NoSubnetLeft)?;
            pools.push(Pool::new(&PoolSpec::default(), subnet)?);
        }
        pools.sort_by_key(|pool| !is_v4(pool.subnet));
        Ok(pools)
    }

    fn check_overlap(&self, state: &State, subnet: IpNet) -> Result<(), Error> {
        let of_networks = state.entries.values().flat_map(|entry| {
            let owner = format!("network {}", entry.network.name);
            entry.network.pools.iter().map(move |pool| (pool.subnet, owner.clone()))
        });
        let of_machine = self.machine.iter().map(|net| (net.trunc(), "the machine".to_owned()));
        match of_networks.chain(of_machine).find(|(other, _)| ipam::overlap(*other, subnet)) {
            Some((other, owner)) => Err(Error::Overlap { subnet, other, owner }),
            None => Ok(()),
        }
    }

    /// All, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<View> {
        let mut all: Vec<View> = self.state.lock().entries.values().map(Entry::view).collect();
        all.sort_by_key(|view| view.network.created_at);
        all
    }

    /// One, by id, name or unique beginning of an id, in Docker's order.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, who: &str) -> Result<View, Error> {
        let state = self.state.lock();
        let id = state.find(who)?;
        state.entries.get(&id).map(Entry::view).ok_or_else(|| Error::NotFound(who.into()))
    }

    /// Removes a network that no container runs in. Returns its id.
    ///
    /// # Errors
    /// When containers run in it, or it is one that is always there.
    pub fn remove(&self, who: &str) -> Result<String, Error> {
        let _kernel = self.kernel.lock();
        let entry = {
            let mut state = self.state.lock();
            let id = state.find(who)?;
            let known = state.entries.get(&id).ok_or_else(|| Error::NotFound(who.into()))?;
            if known.network.is_predefined() {
                return Err(Error::Predefined(known.network.name.clone()));
            }
            if !known.endpoints.is_empty() {
                let endpoints = known.endpoints.values();
                return Err(Error::InUse {
                    name: known.network.name.clone(),
                    endpoints: endpoints.map(|e| e.container_name.clone()).collect(),
                });
            }
            let Some(entry) = state.entries.remove(&id) else {
                return Err(Error::NotFound(who.into()));
            };
            if let Err(error) = self.save(&state) {
                state.entries.insert(id, entry);
                return Err(error);
            }
            entry
        };
        if entry.up {
            self.apply_rules()?;
        }
        if entry.network.driver == Driver::Bridge {
            let bridge = entry.network.bridge_name();
            let deleted = Route::open().and_then(|mut route| route.delete(&bridge));
            deleted.map_err(Error::kernel("delete", format!("bridge {bridge}")))?;
        }
        Ok(entry.network.id)
    }

    /// Removes every network that no container runs in and that is `meant`; returns their names.
    ///
    /// # Errors
    /// The first removal that fails.
    pub fn prune(&self, meant: impl Fn(&View) -> bool) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for view in self.list() {
            if view.network.is_predefined() || !view.endpoints.is_empty() || !meant(&view) {
                continue;
            }
            let network = view.network;
            match self.remove(&network.id) {
                Ok(_) => removed.push(network.name),
                // A container was started in it, or somebody else removed it.
                Err(Error::InUse { .. } | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Takes a place in each network of `specs` for a container that is about to run, or that runs
    /// and gets more networks. All or none.
    ///
    /// # Errors
    /// When a network or an address cannot be had.
    pub fn reserve(&self, member: &Member, specs: &[EndpointSpec]) -> Result<Vec<Endpoint>, Error> {
        let mut state = self.state.lock();
        let mut made: Vec<Endpoint> = Vec::new();
        for spec in specs {
            match state.reserve(member, spec) {
                Ok(endpoint) => made.push(endpoint),
                Err(error) => {
                    for endpoint in made {
                        if let Some(entry) = state.entries.get_mut(&endpoint.network_id) {
                            entry.endpoints.remove(&member.id);
                            entry.give_back(&endpoint);
                        }
                    }
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Makes the interfaces of every place that was reserved for a container and has none yet.
    /// Returns the sockets of a name server when `name_server` asks for them.
    ///
    /// # Errors
    /// When the kernel refuses. [`Networks::leave`] and [`Networks::clean`] undo what was done.
    pub fn plug(
        &self,
        container: &str,
        namespace: BorrowedFd<'_>,
        name_server: bool,
    ) -> Result<Option<Sockets>, Error> {
        for endpoint in self.endpoints(container) {
            let Some(wire) = endpoint.wire.filter(|wire| !wire.plugged) else { continue };
            let (network, bridge) = self.bring_up(&endpoint.network_id)?;
            endpoint::plug(&network, bridge, &wire, namespace)?;
            self.state.lock().with_wire(&endpoint.network_id, container, |w| w.plugged = true);
        }
        name_server.then(|| endpoint::name_server(namespace)).transpose()
    }

    /// A container's places.
    #[must_use]
    pub fn endpoints(&self, container: &str) -> Vec<Endpoint> {
        let state = self.state.lock();
        let mut found: Vec<Endpoint> =
            state.entries.values().filter_map(|e| e.endpoints.get(container)).cloned().collect();
        found.sort_by_key(|endpoint| endpoint.wire.as_ref().map(|wire| wire.interface.clone()));
        found
    }

    /// A container has another name from now on, and is found by it.
    pub fn rename(&self, container: &str, name: &str) {
        let mut state = self.state.lock();
        for entry in state.entries.values_mut() {
            if let Some(endpoint) = entry.endpoints.get_mut(container) {
                endpoint.rename(name);
            }
        }
    }

    /// Gives up all places of a container that has ended or was not started: it is in no network
    /// any more, and nobody finds it. What it had goes with [`Networks::clean`], which takes longer
    /// and that nobody has to wait for; until then nobody else gets its addresses.
    #[must_use]
    pub fn leave(&self, container: &str) -> Vec<Endpoint> {
        let mut state = self.state.lock();
        state.entries.values_mut().filter_map(|entry| entry.endpoints.remove(container)).collect()
    }

    /// Deletes the interfaces of places that were given up, and gives the addresses back.
    pub fn clean(&self, left: Vec<Endpoint>) {
        for endpoint in left {
            if let Err(error) = self.unplug(&endpoint) {
                // The kernel deletes it with the container's namespace.
                tracing::warn!(%error, "a container's interface is left to the kernel");
            }
            if let Some(entry) = self.state.lock().entries.get_mut(&endpoint.network_id) {
                entry.give_back(&endpoint);
            }
        }
    }

    /// Takes a container that runs out of a network.
    ///
    /// # Errors
    /// When it is not in it, or the kernel refuses.
    pub fn disconnect(
        &self,
        container: &str,
        network: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let id = self.state.lock().find(network)?;
        let endpoint = self.endpoints(container).into_iter().find(|e| e.network_id == id);
        let endpoint = endpoint.ok_or_else(|| Error::NotConnected {
            container: container.get(..12).unwrap_or(container).into(),
            network: network.into(),
        })?;
        self.unplug(&endpoint)?;
        let next = {
            let mut state = self.state.lock();
            if let Some(entry) = state.entries.get_mut(&id) {
                entry.endpoints.remove(container);
                entry.give_back(&endpoint);
            }
            if endpoint.wire.is_some_and(|wire| wire.default_route) {
                state.next_default(container)
            } else {
                None
            }
        };
        next.map_or(Ok(()), |wire| endpoint::make_default(&wire, namespace))
    }

    fn unplug(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(wire) = &endpoint.wire else { return Ok(()) };
        let deleted = Route::open().and_then(|mut route| route.delete(&wire.outer));
        deleted.map_err(Error::kernel("delete", format!("interface {}", wire.outer)))
    }

    /// What a name means to a container: addresses, or None when nobody in its networks has it.
    #[must_use]
    pub fn resolve(&self, container: &str, name: &str) -> Option<Vec<IpAddr>> {
        let name = name.to_ascii_lowercase();
        let state = self.state.lock();
        let mut found = None;
        for entry in state.entries.values() {
            if !entry.network.has_names() || !entry.endpoints.contains_key(container) {
                continue;
            }
            // `web.backend` is `web` in the network `backend`.
            let suffix = format!(".{}", entry.network.name.to_ascii_lowercase());
            let short = name.strip_suffix(&suffix).unwrap_or(&name);
            let named = |e: &&Endpoint| e.names.iter().any(|n| *n == name || n == short);
            for wire in entry.endpoints.values().filter(named).filter_map(|e| e.wire.as_ref()) {
                let addresses = wire.addresses.iter().map(|address| address.net.addr());
                found.get_or_insert_with(Vec::new).extend(addresses);
            }
        }
        found
    }

    /// Whose address it is, to a container: `web.backend`.
    #[must_use]
    pub fn reverse(&self, container: &str, address: IpAddr) -> Option<String> {
        let state = self.state.lock();
        let shared = state
            .entries
            .values()
            .filter(|entry| entry.network.has_names() && entry.endpoints.contains_key(container));
        let mut all = shared.flat_map(|entry| entry.endpoints.values());
        let has = |e: &&Endpoint| {
            e.wire.iter().flat_map(|wire| &wire.addresses).any(|a| a.net.addr() == address)
        };
        all.find(has).map(|e| format!("{}.{}", e.container_name, e.network))
    }

    /// The network and its bridge's index; the kernel has it afterwards.
    fn bring_up(&self, id: &str) -> Result<(Network, u32), Error> {
        let _kernel = self.kernel.lock();
        let (network, up) = {
            let state = self.state.lock();
            let entry = state.entries.get(id).ok_or_else(|| Error::NotFound(id.into()))?;
            (entry.network.clone(), entry.up)
        };
        let name = network.bridge_name();
        let about = |action| Error::kernel(action, format!("bridge {name}"));
        let mut route = Route::open().map_err(about("open"))?;
        if !up {
            forward(network.ipv6)?;
            let of_bridge = |net: IpNet| Address { net, gateway: net.addr() };
            let mac = mac_for(&network.gateways().map(of_bridge).collect::<Vec<_>>());
            route.add_bridge(&name, mac.0, network.mtu()).map_err(about("create"))?;
        }
        let index = route.index(&name).map_err(about("find"))?;
        let index = index.ok_or(Errno::ENODEV).map_err(about("find"))?;
        if !up {
            for address in network.gateways() {
                route.add_address(index, address).map_err(about("give an address to"))?;
            }
            self.set_up(id, true);
            // Never a bridge without its rules: they are what keeps networks apart.
            self.apply_rules().inspect_err(|_| self.set_up(id, false))?;
        }
        Ok((network, index))
    }

    fn set_up(&self, id: &str, up: bool) {
        if let Some(entry) = self.state.lock().entries.get_mut(id) {
            entry.up = up;
        }
    }

    /// Puts the rules of all bridges that are up into the kernel, in place of those before.
    fn apply_rules(&self) -> Result<(), Error> {
        let networks: Vec<Network> = {
            let state = self.state.lock();
            state.entries.values().filter(|e| e.up).map(|e| e.network.clone()).collect()
        };
        let applied = match &networks[..] {
            [] => nft::delete(TABLE),
            some => nft::replace(TABLE, &chains(some)),
        };
        applied.map_err(|failed| {
            let subject = format!("the packet filter's rules (at request {})", failed.index);
            Error::kernel("replace", subject)(failed.errno)
        })
    }

    fn save(&self, state: &State) -> Result<(), Error> {
        let networks = state.entries.values().map(|entry| entry.network.clone()).collect();
        self.store.save(&Document::new(state.ipv6_prefix, networks))
    }
}

impl State {
    fn find(&self, who: &str) -> Result<String, Error> {
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

    fn reserve(&mut self, member: &Member, spec: &EndpointSpec) -> Result<Endpoint, Error> {
        let id = self.find(&spec.network)?;
        let (interfaces, has_default) = self.wires(&member.id);
        let entry =
            self.entries.get_mut(&id).ok_or_else(|| Error::NotFound(spec.network.clone()))?;
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
    fn next_default(&mut self, container: &str) -> Option<Wire> {
        let leads_out = self.entries.values_mut().filter(|entry| !entry.network.internal);
        let mut wires = leads_out
            .filter_map(|entry| entry.endpoints.get_mut(container)?.wire.as_mut())
            .collect::<Vec<_>>();
        wires.sort_by(|a, b| a.interface.cmp(&b.interface));
        let wire = wires.into_iter().next()?;
        wire.default_route = true;
        Some(wire.clone())
    }

    fn with_wire(&mut self, network: &str, container: &str, change: impl FnOnce(&mut Wire)) {
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

fn mac_for(addresses: &[Address]) -> Mac {
    let mut all = addresses.iter().map(|address| address.net.addr());
    let v4 = all.find_map(|address| match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    v4.map_or_else(Mac::random, Mac::of)
}

fn is_v4(net: IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

fn chains(networks: &[Network]) -> [Chain; 2] {
    let mut forward = vec![vec![Part::Established, Part::Accept]];
    forward.extend(networks.iter().flat_map(Network::forward_rules));
    let postrouting = networks.iter().flat_map(Network::postrouting_rules).collect();
    [
        Chain { name: "forward", hook: Hook::Forward, rules: forward },
        Chain { name: "postrouting", hook: Hook::Postrouting, rules: postrouting },
    ]
}

/// Lets the VM pass packets on (Documentation/networking/ip-sysctl.rst).
fn forward(ipv6: bool) -> Result<(), Error> {
    let switch = |path: &str| match fs::write(path, "1") {
        // A kernel without IPv6 says so when the bridge gets its address.
        Err(error) if ipv6 && error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::file("write", path)),
    };
    switch("/proc/sys/net/ipv4/ip_forward")?;
    if ipv6 {
        switch("/proc/sys/net/ipv6/conf/all/forwarding")?;
    }
    Ok(())
}
