//! Containers in networks: places, interfaces, names.

use std::{net::IpAddr, os::fd::BorrowedFd};

use super::Networks;
use crate::{
    Error,
    dns::Sockets,
    endpoint::{self, Endpoint, EndpointSpec, Member},
    netlink::route::Route,
};

impl Networks {
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
        if let Some(Err(error)) = next.map(|wire| endpoint::make_default(&wire, namespace)) {
            // It has left the network all the same. An interface that the container itself has taken
            // down, say, leads nowhere.
            tracing::warn!(%error, "a container has no way out any more");
        }
        Ok(())
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
}
