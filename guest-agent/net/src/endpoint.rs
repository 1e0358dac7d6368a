//! A container's place in a network: names, addresses, and the pair of interfaces.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, BorrowedFd},
    str::FromStr,
};

use ipnet::IpNet;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    dns::Sockets,
    netlink::route::{self, Route, VethPair},
    netns,
    network::Network,
};

/// An Ethernet address; written `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Docker's rule: 02:42 and the IPv4 address.
    #[must_use]
    pub fn of(address: Ipv4Addr) -> Self {
        Self(route::mac_of(address))
    }

    /// Any that nobody else has: locally administered, of one station (IEEE 802).
    #[must_use]
    pub fn random() -> Self {
        let [a, b, c, d]: [u8; 4] = rand::random();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad =
            || Error::invalid("--mac-address", format!("`{text}` is not an Ethernet address"));
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        // A group's address is nobody's own, and zero is none.
        if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(bad());
        }
        Ok(Self(bytes))
    }
}

/// How a container wants to be in one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// A network's name, id or prefix of one.
    pub network: String,
    /// More names of the container in it.
    pub aliases: Vec<String>,
    /// `--ip`
    pub ipv4: Option<Ipv4Addr>,
    /// `--ip6`
    pub ipv6: Option<Ipv6Addr>,
    /// `--mac-address`; empty: made from the address.
    pub mac: String,
}

/// The container that an endpoint belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its host name.
    pub hostname: String,
}

/// A container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Of which network.
    pub network_id: String,
    /// Of which network.
    pub network: String,
    /// Whose.
    pub container: String,
    /// Whose.
    pub container_name: String,
    /// What other containers of the network find it by; empty where there are no names.
    pub names: Vec<String>,
    /// None in the networks `host` and `none`.
    pub wire: Option<Wire>,
}

/// An interface in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Its name in the container, `eth0`.
    pub interface: String,
    /// The other end's name in the VM.
    pub outer: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// IPv4 first.
    pub addresses: Vec<Address>,
    /// Whether what has no better way goes by this interface.
    pub default_route: bool,
    /// Whether it exists, or only the addresses are taken.
    pub(crate) plugged: bool,
}

/// An address in a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address, and the subnet's prefix length.
    pub net: IpNet,
    /// The network's gateway.
    pub gateway: IpAddr,
}

impl Endpoint {
    /// Its first address of a family.
    #[must_use]
    pub fn address(&self, v4: bool) -> Option<Address> {
        let wire = self.wire.as_ref()?;
        wire.addresses.iter().copied().find(|address| address.net.addr().is_ipv4() == v4)
    }
}

impl Endpoint {
    /// The new name takes the place of the old one.
    pub fn rename(&mut self, name: &str) {
        let old = std::mem::replace(&mut self.container_name, name.to_owned());
        let (old, new) = (old.to_ascii_lowercase(), name.to_ascii_lowercase());
        self.names.retain(|known| *known != new);
        if let Some(known) = self.names.iter_mut().find(|known| **known == old) {
            *known = new;
        }
    }
}

/// The names of a container in a network that has names, as in Docker: its own, its host name, the
/// short form of its id, and its aliases.
pub(crate) fn names(member: &Member, aliases: &[String]) -> Vec<String> {
    let short = member.id.get(..12).unwrap_or(&member.id).to_owned();
    let mut seen = BTreeSet::new();
    [member.name.clone(), member.hostname.clone(), short]
        .into_iter()
        .chain(aliases.iter().cloned())
        .map(|name| name.to_ascii_lowercase())
        .filter(|name| !name.is_empty() && seen.insert(name.clone()))
        .collect()
}

/// Makes the pair of interfaces and configures the one inside. `bridge` is the index of the
/// network's bridge. What was made is removed with the outer end.
pub(crate) fn plug(
    network: &Network,
    bridge: u32,
    wire: &Wire,
    namespace: BorrowedFd<'_>,
) -> Result<(), Error> {
    let about = |action, what: &str| Error::kernel(action, format!("interface {what}"));
    let mut route = Route::open().map_err(about("open", "list"))?;
    let pair = VethPair {
        outer: &wire.outer,
        bridge,
        inner: &wire.interface,
        inner_mac: wire.mac.0,
        namespace: namespace.as_raw_fd(),
        mtu: network.mtu(),
    };
    route.add_veth(&pair).map_err(about("create", &wire.interface))?;
    if !network.lets_containers_talk() {
        let port = route.index(&wire.outer).and_then(|index| index.ok_or(Errno::ENODEV));
        let isolated = port.and_then(|port| route.isolate_port(port));
        isolated.map_err(about("isolate", &wire.outer))?;
    }
    netns::inside(namespace, || configure(wire))
        .map_err(Error::kernel("enter", "the container's network namespace"))?
        .map_err(|(action, errno)| {
            Error::kernel(action, format!("interface {}", wire.interface))(errno)
        })
}

/// Everything that is done inside: addresses, up, routes.
fn configure(wire: &Wire) -> Result<(), (&'static str, Errno)> {
    let step = |action| move |errno| (action, errno);
    let mut route = Route::open().map_err(step("open"))?;
    let index = route.index(&wire.interface).map_err(step("find"))?;
    let index = index.ok_or(("find", Errno::ENODEV))?;
    if wire.addresses.iter().all(|address| address.net.addr().is_ipv4()) {
        // As in Docker: no link-local IPv6 in a network without IPv6. The file is missing in a
        // kernel that has no IPv6, which is as good.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", wire.interface), "1");
    }
    for address in &wire.addresses {
        route.add_address(index, address.net).map_err(step("give an address to"))?;
    }
    route.set_up(index).map_err(step("bring up"))?;
    if wire.default_route {
        for address in &wire.addresses {
            let added = route.add_default_route(index, address.gateway);
            added.map_err(step("route everything over"))?;
        }
    }
    Ok(())
}

/// Lets everything without a better way go by this interface from now on.
pub(crate) fn make_default(wire: &Wire, namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let work = || -> nix::Result<()> {
        let mut route = Route::open()?;
        let index = route.index(&wire.interface)?.ok_or(Errno::ENODEV)?;
        wire.addresses.iter().try_for_each(|a| route.add_default_route(index, a.gateway))
    };
    netns::inside(namespace, work)
        .and_then(|done| done)
        .map_err(Error::kernel("route everything over", format!("interface {}", wire.interface)))
}

/// The sockets of the container's name server, inside its namespace.
pub(crate) fn name_server(namespace: BorrowedFd<'_>) -> Result<Sockets, Error> {
    netns::inside(namespace, Sockets::open)
        .map_err(Error::kernel("enter", "the container's network namespace"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_are_read_as_they_are_written() {
        let mac = Mac::of("172.17.0.2".parse().unwrap());
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:AC:11:00:02".parse::<Mac>().unwrap(), mac);
        for bad in ["", "02:42", "02:42:ac:11:00:02:03", "zz:42:ac:11:00:02", "01:00:5e:00:00:01"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_container_is_found_by_name_host_name_short_id_and_alias_once_each() {
        let member =
            Member { id: "0123456789abcdef".into(), name: "web".into(), hostname: "Web".into() };
        assert_eq!(names(&member, &["db".into(), "web".into()]), ["web", "0123456789ab", "db"]);
    }
}
