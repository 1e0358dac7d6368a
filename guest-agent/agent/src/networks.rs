//! What `containers` wants of networks, asked of `net`; and a name server for each container that
//! has one.

use std::{collections::HashMap, fs, net::SocketAddr, os::fd::BorrowedFd, path::Path, sync::Arc};

use linkspan_containers::network::Networks as ContainerNetworks;
use linkspan_net::{
    Driver, Endpoint, EndpointSpec, Error, Member, Networks,
    files::{DnsSpec, HostAddress, Resolver},
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    boot::network::{HOST, RESOLV_CONF, SUBNET},
    names::{self, ContainerNames},
};

/// The port of every name server.
const DNS: u16 = 53;

/// The networks on the data disk.
pub struct GuestNetworks {
    networks: Arc<Networks>,
    /// The name servers that run, by container id.
    servers: Mutex<HashMap<String, AbortHandle>>,
    runtime: Handle,
}

impl GuestNetworks {
    /// Reads what `folder` holds. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(folder: &Path) -> Result<Arc<Self>, Error> {
        let (subnet, prefix) = SUBNET;
        let own = ipnet::IpNet::new_assert(subnet.into(), prefix);
        Ok(Arc::new(Self {
            networks: Arc::new(Networks::open(folder, vec![own])?),
            servers: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// For the face.
    #[must_use]
    pub fn networks(&self) -> Arc<Networks> {
        Arc::clone(&self.networks)
    }
}

impl ContainerNetworks for GuestNetworks {
    fn reserve(&self, member: &Member, wanted: &[EndpointSpec]) -> Result<Vec<Endpoint>, Error> {
        self.networks.reserve(member, wanted)
    }

    fn plug(
        &self,
        container: &str,
        namespace: BorrowedFd<'_>,
        names: Option<&DnsSpec>,
    ) -> Result<(), Error> {
        let sockets = self.networks.plug(container, namespace, names.is_some())?;
        let (Some(sockets), Some(spec)) = (sockets, names) else { return Ok(()) };
        let directory = ContainerNames::new(Arc::clone(&self.networks), container);
        let outside = self.resolver().with(spec).servers;
        let outside = outside.into_iter().map(|server| SocketAddr::new(server, DNS)).collect();
        let server = self.runtime.spawn(names::serve(sockets, directory, outside));
        let before = self.servers.lock().insert(container.into(), server.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
        Ok(())
    }

    fn endpoints(&self, container: &str) -> Vec<Endpoint> {
        self.networks.endpoints(container)
    }

    fn rename(&self, container: &str, name: &str) {
        self.networks.rename(container, name);
    }

    fn leave(&self, container: &str) -> Vec<Endpoint> {
        if let Some(server) = self.servers.lock().remove(container) {
            server.abort();
        }
        self.networks.leave(container)
    }

    fn clean(&self, left: Vec<Endpoint>) {
        self.networks.clean(left);
    }

    fn disconnect(
        &self,
        container: &str,
        network: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        self.networks.disconnect(container, network, namespace)
    }

    fn find(&self, network: &str) -> Result<(String, Driver), Error> {
        let network = self.networks.inspect(network)?.network;
        Ok((network.name, network.driver))
    }

    fn resolver(&self) -> Resolver {
        // Without the file there is no server: the same as an empty one.
        Resolver::parse(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
    }

    fn host(&self) -> Option<HostAddress> {
        Some(HostAddress(HOST.into()))
    }
}
