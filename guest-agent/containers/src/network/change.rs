//! Networks that a container is connected to, and disconnected from, after `create`.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use linkspan_net::{Driver, EndpointSpec, Error as NetError};

use super::{Mode, give_up, member, remember, wanted, write_files};
use crate::{
    Containers, Error, Shared,
    container::{Container, blocking, tell_network},
    error::{LaunchError, LaunchKind},
};

impl Containers {
    /// Connects a container to one more network, now if it runs and whenever it starts.
    ///
    /// # Errors
    /// When it is in it, or its network is the VM's or another container's.
    pub async fn connect(&self, who: &str, spec: EndpointSpec) -> Result<(), Error> {
        let (container, shared) = (self.find(who)?, Arc::clone(&self.shared));
        blocking(move || connect(&container, &shared, spec)).await
    }

    /// Disconnects a container from a network, now if it runs and for its next starts.
    ///
    /// # Errors
    /// When it is not in it.
    pub async fn disconnect(&self, who: &str, network: &str) -> Result<(), Error> {
        let (container, shared) = (self.find(who)?, Arc::clone(&self.shared));
        let network = network.to_owned();
        blocking(move || disconnect(&container, &shared, &network)).await
    }
}

fn own_network(container: &Container) -> Result<(), Error> {
    match container.record().config.network.mode() {
        Mode::Own => Ok(()),
        Mode::Host => Err(NetError::Invalid {
            option: "network".into(),
            why: "container sharing the machine's network cannot be connected to others".into(),
        }
        .into()),
        Mode::Container(who) => Err(NetError::Invalid {
            option: "network".into(),
            why: format!("container sharing network namespace with {who} cannot be connected to any other network"),
        }
        .into()),
    }
}

fn connect(container: &Container, shared: &Shared, mut spec: EndpointSpec) -> Result<(), Error> {
    own_network(container)?;
    let _turn = container.networking.lock();
    let (name, driver) = shared.networks.find(&spec.network)?;
    if driver != Driver::Bridge {
        let why = format!("a container is in network {name} from its creation or not at all");
        return Err(Error::invalid("network", why));
    }
    spec.network = name;
    let mut all = wanted(container)?;
    // A container that leaves `none` for a network is no longer in it.
    all.retain(|known| known.network != "none");
    if all.iter().any(|known| known.network == spec.network) {
        return Err(NetError::AlreadyConnected {
            container: container.name(),
            network: spec.network,
        }
        .into());
    }
    if runs(container) {
        let id = container.id.as_str();
        let had_names = shared.networks.endpoints(id).iter().any(|e| !e.names.is_empty());
        shared.networks.reserve(&member(container), std::slice::from_ref(&spec))?;
        all.push(spec.clone());
        let done = plug_running(container, shared, had_names)
            .and_then(|()| remember(container, shared, all));
        if done.is_err() {
            undo(container, shared, &spec.network);
        }
        done?;
        let mine = shared.networks.endpoints(id);
        if let Some(endpoint) = mine.iter().find(|endpoint| endpoint.network == spec.network) {
            tell_network(shared, "connect", endpoint);
        }
        return Ok(());
    }
    all.push(spec);
    remember(container, shared, all)
}

fn plug_running(container: &Container, shared: &Shared, had_names: bool) -> Result<(), Error> {
    let namespace = namespace(container, shared)?;
    let names = write_files(container, shared)? && !had_names;
    let dns = &container.record().config.network.dns;
    let id = container.id.as_str();
    Ok(shared.networks.plug(id, namespace.as_fd(), names.then_some(dns))?)
}

/// Gives up one place that could not be made. When the container has ended meanwhile, all.
fn undo(container: &Container, shared: &Shared, network: &str) {
    let result = match namespace(container, shared) {
        Ok(namespace) => {
            let id = container.id.as_str();
            let left = shared.networks.disconnect(id, network, namespace.as_fd());
            left.map_err(Error::from).and_then(|()| write_files(container, shared).map(drop))
        }
        Err(_) => {
            give_up(container, shared);
            Ok(())
        }
    };
    if let Err(error) = result {
        tracing::warn!(%error, "a place in a network was not given back");
    }
}

fn disconnect(container: &Container, shared: &Shared, network: &str) -> Result<(), Error> {
    own_network(container)?;
    let _turn = container.networking.lock();
    let (name, _) = shared.networks.find(network)?;
    let before = wanted(container)?;
    let mut all = before.clone();
    all.retain(|known| known.network != name);
    if all.len() == before.len() {
        let (container, network) = (container.name(), name);
        return Err(NetError::NotConnected { container, network }.into());
    }
    if all.is_empty() {
        all.push(EndpointSpec { network: "none".into(), ..EndpointSpec::default() });
    }
    remember(container, shared, all)?;
    if !runs(container) {
        return Ok(());
    }
    let done = unplug_running(container, shared, &name);
    if done.is_err()
        && let Err(error) = remember(container, shared, before)
    {
        tracing::warn!(%error, "a network that was not left is not joined at the next start");
    }
    done
}

fn unplug_running(container: &Container, shared: &Shared, network: &str) -> Result<(), Error> {
    let namespace = namespace(container, shared)?;
    let id = container.id.as_str();
    let mine = shared.networks.endpoints(id);
    shared.networks.disconnect(id, network, namespace.as_fd())?;
    if let Some(endpoint) = mine.iter().find(|endpoint| endpoint.network == network) {
        tell_network(shared, "disconnect", endpoint);
    }
    write_files(container, shared).map(drop)
}

/// Whether it has interfaces, paused or not: from when its process is made, which is before it counts
/// as running.
fn runs(container: &Container) -> bool {
    container.target.lock().is_some()
}

fn namespace(container: &Container, shared: &Shared) -> Result<OwnedFd, Error> {
    let target = container.target.lock().clone();
    let target = target.ok_or_else(|| {
        Error::Launch(LaunchError {
            kind: LaunchKind::Engine,
            message: format!("container `{}` has just ended", container.name()),
        })
    })?;
    shared.launcher.network_namespace(&target).map_err(|source| Error::Process {
        action: "enter the network of",
        name: container.name(),
        source,
    })
}
