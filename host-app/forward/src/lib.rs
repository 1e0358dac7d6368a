//! Published ports: sockets that listen on the host, and the bytes between each of their
//! connections and a container.
//!
//! Owns: which listeners are open for which container, choosing and binding them, copying TCP
//! connections and UDP datagrams. It does not: know machines or the agent's protocol; whoever
//! makes a [`Ports`] says how a connection into the guest is opened ([`Connect`]).

mod bind;
mod tcp;
mod udp;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
};

use linkspan_transport::BoxStream;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What travels over a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams; one stream into the guest for each peer.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A wish: what `-p` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// `None`: the loopback addresses, IPv4 and, where there is one, IPv6.
    pub host_ip: Option<IpAddr>,
    /// The first free one of them is taken; `None`: any free port.
    pub host_ports: Option<RangeInclusive<u16>>,
    /// In the container.
    pub container_port: u16,
    /// Of both.
    pub protocol: Protocol,
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// On the host.
    pub address: SocketAddr,
    /// In the container.
    pub container_port: u16,
    /// Of both.
    pub protocol: Protocol,
}

/// Where a connection is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The container.
    pub container_id: String,
    /// In it.
    pub port: u16,
    /// TCP: the stream has the connection's bytes; one that breaks off is an error. UDP:
    /// datagrams, each after its length as 16 bits in network order.
    pub protocol: Protocol,
}

/// Opens streams into the guest.
#[async_trait::async_trait]
pub trait Connect: Send + Sync + 'static {
    /// A stream to a container's port.
    ///
    /// # Errors
    /// When the guest cannot be reached. A port on which nobody listens is no error of this: the
    /// stream then breaks off at once.
    async fn connect(&self, target: &Target) -> io::Result<BoxStream>;
}

/// Why a port cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Another container has it.
    #[error("port {address}/{protocol} is already published by container {container}")]
    Taken {
        /// The host's side.
        address: SocketAddr,
        /// Of it.
        protocol: Protocol,
        /// Its name.
        container: String,
    },
    /// The system refuses.
    #[error("cannot listen on {address}/{protocol}: {source}")]
    Listen {
        /// The host's side.
        address: SocketAddr,
        /// Of it.
        protocol: Protocol,
        /// The reason.
        source: io::Error,
    },
    /// Every port of a range is taken.
    #[error("no port of {}-{} is free on {ip} for {protocol}", range.start(), range.end())]
    RangeTaken {
        /// The host's side.
        ip: IpAddr,
        /// What was tried.
        range: RangeInclusive<u16>,
        /// Of it.
        protocol: Protocol,
    },
}

/// What is published for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its id.
    pub container_id: String,
    /// Its name when it was published.
    pub container_name: String,
    /// Its listeners.
    pub ports: Vec<Published>,
}

/// The published ports of one machine.
pub struct Ports {
    connect: Arc<dyn Connect>,
    open: Mutex<BTreeMap<String, Open>>,
}

struct Open {
    name: String,
    ports: Vec<Published>,
    /// Ends the listeners and their connections.
    end: CancellationToken,
    tasks: TaskTracker,
}

impl Ports {
    /// Nothing is published yet.
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect, open: Mutex::default() }
    }

    /// Listens for a container: on all that it wishes, or on nothing. What it had published
    /// before is withdrawn first.
    ///
    /// # Errors
    /// When one of the ports cannot be had.
    pub async fn publish(
        &self,
        container_id: &str,
        container_name: &str,
        mappings: &[Mapping],
    ) -> Result<Vec<Published>, PublishError> {
        self.withdraw(container_id).await;
        let mut bound = Vec::new();
        for mapping in mappings {
            let sockets = bind::bind(mapping).map_err(|error| self.explain(error))?;
            bound.extend(sockets.into_iter().map(|socket| (socket, mapping)));
        }
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut ports = Vec::with_capacity(bound.len());
        for (socket, mapping) in bound {
            let target = Target {
                container_id: container_id.to_owned(),
                port: mapping.container_port,
                protocol: mapping.protocol,
            };
            ports.push(Published {
                address: socket.address(),
                container_port: mapping.container_port,
                protocol: mapping.protocol,
            });
            let connect = self.connect.clone();
            let end = end.clone();
            match socket {
                bind::Bound::Tcp(listener, _) => {
                    tasks.spawn(tcp::serve(listener, target, connect, end));
                }
                bind::Bound::Udp(socket, _) => {
                    tasks.spawn(udp::serve(socket, target, connect, end));
                }
            }
        }
        tasks.close();
        let open = Open { name: container_name.to_owned(), ports: ports.clone(), end, tasks };
        self.open.lock().insert(container_id.to_owned(), open);
        Ok(ports)
    }

    /// Names the container of ours that has the port.
    fn explain(&self, error: PublishError) -> PublishError {
        let PublishError::Listen { address, protocol, source } = error else { return error };
        if source.kind() == io::ErrorKind::AddrInUse {
            for open in self.open.lock().values() {
                if open.ports.iter().any(|port| {
                    port.protocol == protocol
                        && port.address.port() == address.port()
                        && overlap(port.address.ip(), address.ip())
                }) {
                    return PublishError::Taken { address, protocol, container: open.name.clone() };
                }
            }
        }
        PublishError::Listen { address, protocol, source }
    }

    /// Ends a container's listeners and the connections that came through them. Its ports are
    /// free when this returns.
    pub async fn withdraw(&self, container_id: &str) {
        let open = self.open.lock().remove(container_id);
        if let Some(open) = open {
            open.end.cancel();
            open.tasks.wait().await;
        }
    }

    /// Withdraws all but what `keep` names.
    pub async fn retain(&self, keep: &[&str]) {
        let gone: Vec<String> = {
            let open = self.open.lock();
            open.keys().filter(|id| !keep.contains(&id.as_str())).cloned().collect()
        };
        for id in gone {
            self.withdraw(&id).await;
        }
    }

    /// What is published for a container.
    #[must_use]
    pub fn published(&self, container_id: &str) -> Option<Vec<Published>> {
        self.open.lock().get(container_id).map(|open| open.ports.clone())
    }

    /// All that is published, by container id.
    #[must_use]
    pub fn table(&self) -> Vec<Publication> {
        let open = self.open.lock();
        open.iter()
            .map(|(id, open)| Publication {
                container_id: id.clone(),
                container_name: open.name.clone(),
                ports: open.ports.clone(),
            })
            .collect()
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        for open in self.open.lock().values() {
            open.end.cancel();
        }
    }
}

/// Whether two listeners with one port would meet.
fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other
        || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
}
