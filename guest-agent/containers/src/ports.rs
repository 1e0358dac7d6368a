//! The ports of a container that are published on the host: what was asked for, and the host's
//! answer. The host itself is behind [`Broker`].
//!
//! Docker's rules: ports are taken when the container starts and given back when it ends; a random
//! one may be another at each start; with the VM's own network, or none, nothing is published.

use std::{fmt, net::IpAddr, str::FromStr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    config::Config,
    network::{Mode, NetworkConfig},
};

/// What travels over a port.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// A port of a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its kind.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

impl FromStr for Port {
    type Err = Error;

    /// `80`, `80/tcp`, `53/udp`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::invalid("--expose", format!("`{text}` {why}"));
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number = number.parse::<u16>().ok().filter(|number| *number != 0);
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(bad("is neither a tcp nor a udp port")),
        };
        Ok(Self { number: number.ok_or_else(|| bad("is not a port"))?, protocol })
    }
}

/// A wish: what `-p` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// None: the host's loopback addresses.
    pub host_ip: Option<IpAddr>,
    /// First and last of a range of which the first free one is taken; None: any free port.
    pub host_ports: Option<(u16, u16)>,
    /// In the container.
    pub port: Port,
}

/// A socket that listens on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// Its address.
    pub host_ip: IpAddr,
    /// Its port.
    pub host_port: u16,
    /// In the container.
    pub port: Port,
}

/// What a container asks for about ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortConfig {
    /// `-p`
    pub published: Vec<PortMapping>,
    /// `--expose`
    pub exposed: Vec<Port>,
    /// `-P`: each exposed port that is not published gets a random one.
    pub publish_all: bool,
}

impl PortConfig {
    /// All exposed ports: those of the image (`EXPOSE`), of `--expose` and of `-p`, in order and
    /// each once. What the image has and cannot be read is left out: it is only a hint.
    #[must_use]
    pub fn all_exposed(&self, image: &[String]) -> Vec<Port> {
        let of_image = image.iter().filter_map(|text| text.parse().ok());
        let published = self.published.iter().map(|mapping| mapping.port);
        let mut all: Vec<Port> =
            of_image.chain(self.exposed.iter().copied()).chain(published).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What is to be published of a container that exposes `exposed`.
    #[must_use]
    pub fn wanted(&self, exposed: &[Port], network: &NetworkConfig) -> Vec<PortMapping> {
        let nowhere = network.endpoints.iter().any(|endpoint| endpoint.network == "none");
        if network.mode() != Mode::Own || nowhere {
            return Vec::new();
        }
        let mut wanted = self.published.clone();
        if self.publish_all {
            let known = |port: &Port| self.published.iter().any(|mapping| mapping.port == *port);
            let random = |port| PortMapping { host_ip: None, host_ports: None, port };
            wanted.extend(exposed.iter().copied().filter(|port| !known(port)).map(random));
        }
        wanted
    }
}

/// Docker's rules about ports and networks.
///
/// # Errors
/// When the network is another container's: that one publishes its ports.
pub fn validate(config: &Config) -> Result<(), Error> {
    let ports = &config.ports;
    let asks = !ports.published.is_empty() || ports.publish_all;
    if asks && matches!(config.network.mode(), Mode::Container(_)) {
        let why = "conflicting options: port publishing and the container type network mode";
        return Err(Error::invalid("--publish", why));
    }
    Ok(())
}

/// Why the host did not publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    /// What kind of reason.
    pub kind: PortErrorKind,
    /// The host's words.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// The kinds of [`PortError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortErrorKind {
    /// Somebody else has the port.
    InUse,
    /// The user may not have it.
    Denied,
    /// There is no such address.
    Invalid,
    /// No host is there, or it does not answer.
    Unavailable,
    /// The host failed.
    Failed,
}

/// Opens ports on the host.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// All of `wanted` or nothing. What the container had published before is closed.
    ///
    /// # Errors
    /// The host's.
    async fn publish(
        &self,
        container: &str,
        name: &str,
        wanted: &[PortMapping],
    ) -> Result<Vec<PublishedPort>, PortError>;

    /// Closes a container's ports; they are free when this returns, unless the host is away.
    async fn withdraw(&self, container: &str);
}

#[cfg(test)]
mod tests {
    use linkspan_net::EndpointSpec;

    use super::*;

    fn port(text: &str) -> Port {
        text.parse().unwrap()
    }

    fn config() -> PortConfig {
        PortConfig {
            published: vec![PortMapping {
                host_ip: None,
                host_ports: Some((8080, 8080)),
                port: port("80"),
            }],
            exposed: vec![port("53/udp"), port("80/tcp")],
            publish_all: true,
        }
    }

    #[test]
    fn every_exposed_port_is_published_once() {
        let exposed = config().all_exposed(&["443/tcp".into(), "nonsense".into()]);
        assert_eq!(exposed, [port("53/udp"), port("80"), port("443")]);
        let wanted = config().wanted(&exposed, &NetworkConfig::default());
        let ports: Vec<_> =
            wanted.iter().map(|wish| (wish.port.to_string(), wish.host_ports)).collect();
        assert_eq!(ports.len(), 3);
        assert_eq!(ports[0], ("80/tcp".into(), Some((8080, 8080))));
        assert!(ports[1..].iter().all(|(_, host)| host.is_none()), "{ports:?}");
    }

    #[test]
    fn nothing_is_published_from_a_network_that_is_not_the_containers_own() {
        for network in ["host", "none"] {
            let endpoint = EndpointSpec { network: network.into(), ..EndpointSpec::default() };
            let network = NetworkConfig { endpoints: vec![endpoint], ..NetworkConfig::default() };
            assert_eq!(config().wanted(&[port("80")], &network), []);
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in ["", "0", "65536", "80/sctp", "http", "80/", "-1"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
