//! Every network of the VM: what exists, who is in it, and what the kernel has of it.
//!
//! A network is made in the kernel (bridge, rules) when its first container starts, not before: a
//! boot does not wait for it. Addresses are taken by [`Networks::reserve`], before the container's
//! namespace exists; interfaces are made by [`Networks::plug`], when it does. Blocks.

mod kernel;
mod members;
mod state;

use std::path::Path;

use ipnet::IpNet;
use jiff::Timestamp;
use parking_lot::Mutex;

use self::{
    kernel::delete_bridge,
    state::{Entry, State, is_v4},
};
use crate::{
    Error,
    endpoint::Endpoint,
    ipam::{self, Pool, PoolSpec},
    netlink::route::Route,
    network::{self, Driver, Network, NetworkSpec},
    store::{Document, Store},
};

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
        let known = known
            .unwrap_or_else(|| Document { ipv6_prefix: ipam::random_ula(), networks: Vec::new() });
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
        if network.names_bridge() {
            let route = Route::open().map_err(Error::kernel("open", format!("bridge {bridge}")));
            network::check_bridge(&mut route?, &bridge)?;
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
    /// When containers run in it, or it is one that is always there; when it cannot be removed: it is
    /// there as before then.
    pub fn remove(&self, who: &str) -> Result<String, Error> {
        let _kernel = self.kernel.lock();
        let (network, up) = {
            let mut state = self.state.lock();
            let id = state.find(who)?;
            let known = state.entries.get_mut(&id).ok_or_else(|| Error::NotFound(who.into()))?;
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
            known.going = true;
            (known.network.clone(), known.up)
        };
        // Rules that stayed keep their bridge; what is not there any more comes again with the next
        // container.
        let (down, up) = match if up { self.apply_rules() } else { Ok(()) } {
            Ok(()) => (delete_bridge(&network), false),
            Err(error) => (Err(error), up),
        };
        let mut state = self.state.lock();
        let Some(entry) = state.entries.remove(&network.id) else {
            return Err(Error::NotFound(who.into()));
        };
        if let Err(error) = down.and_then(|()| self.save(&state)) {
            state.entries.insert(network.id, Entry { up, going: false, ..entry });
            return Err(error);
        }
        Ok(network.id)
    }

    /// Removes every network that no container runs in and that is `meant`; returns their names. One
    /// that cannot be removed is left; the log says why.
    pub fn prune(&self, meant: impl Fn(&View) -> bool) -> Vec<String> {
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
                Err(error) => tracing::warn!(%error, "a network was not pruned"),
            }
        }
        removed
    }

    fn save(&self, state: &State) -> Result<(), Error> {
        let networks = state.entries.values().map(|entry| entry.network.clone()).collect();
        self.store.save(&Document { ipv6_prefix: state.ipv6_prefix, networks })
    }
}
