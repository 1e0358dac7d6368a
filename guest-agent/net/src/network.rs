//! One network: what `network create` asked for, checked, and what that comes to.

use std::collections::BTreeMap;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    ipam::{Pool, PoolSpec},
    netlink::{nft::Part, route::Route},
};

/// Ethernet's.
const DEFAULT_MTU: u32 = 1500;
/// IPv6 needs it (RFC 8200 5); a veth takes no more than 65535.
const MTU: std::ops::RangeInclusive<u32> = 1280..=65_535;
/// IFNAMSIZ without the zero at the end.
const LONGEST_INTERFACE: usize = 15;

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const DRIVER_MTU: &str = "com.docker.network.driver.mtu";
const INTERFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
/// What Docker writes into its own default bridge, and accepts from everyone.
const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";

/// How containers of a network reach others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge in the VM, an interface for each container.
    Bridge,
    /// The VM's own interfaces.
    Host,
    /// Loopback only.
    #[serde(rename = "null")]
    None,
}

impl Driver {
    /// As `network ls` shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        }
    }
}

/// What `network create` is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Unique.
    pub name: String,
    /// Empty: bridge.
    pub driver: String,
    /// `--ipv6`
    pub ipv6: bool,
    /// `--internal`
    pub internal: bool,
    /// `--attachable`
    pub attachable: bool,
    /// One for each `--subnet`.
    pub pools: Vec<PoolSpec>,
    /// `--opt`
    pub options: BTreeMap<String, String>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
}

/// A network, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// How it works.
    pub driver: Driver,
    /// Containers get IPv6 addresses too.
    pub ipv6: bool,
    /// No way out.
    pub internal: bool,
    /// Means nothing without a cluster; kept to be shown.
    pub attachable: bool,
    /// Subnets, IPv4 first.
    pub pools: Vec<Pool>,
    /// As given.
    pub options: BTreeMap<String, String>,
    /// As given.
    pub labels: BTreeMap<String, String>,
}

impl Network {
    /// Whether it is one of the three that are always there.
    #[must_use]
    pub fn is_predefined(&self) -> bool {
        ["bridge", "host", "none"].contains(&self.name.as_str())
    }

    /// Whether containers find each other by name here: on every bridge but the default one, as in
    /// Docker.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.driver == Driver::Bridge && !self.is_predefined()
    }

    /// The bridge's interface in the VM.
    #[must_use]
    pub fn bridge_name(&self) -> String {
        match self.options.get(BRIDGE_NAME) {
            Some(name) => name.clone(),
            None if self.is_predefined() => "linkspan0".into(),
            None => format!("br-{}", self.id.get(..12).unwrap_or(&self.id)),
        }
    }

    /// Whether that was asked for by name.
    pub(crate) fn names_bridge(&self) -> bool {
        self.options.contains_key(BRIDGE_NAME)
    }

    /// Bytes of the largest packet.
    #[must_use]
    pub fn mtu(&self) -> u32 {
        self.options.get(DRIVER_MTU).and_then(|mtu| mtu.parse().ok()).unwrap_or(DEFAULT_MTU)
    }

    /// What the names of interfaces in containers begin with.
    #[must_use]
    pub fn interface_prefix(&self) -> &str {
        self.options.get(INTERFACE_PREFIX).map_or("eth", String::as_str)
    }

    /// Whether containers may talk to each other.
    pub(crate) fn lets_containers_talk(&self) -> bool {
        self.flag(ICC)
    }

    fn flag(&self, option: &str) -> bool {
        self.options.get(option).is_none_or(|value| value != "false")
    }

    /// What of this network passes through the VM: nothing comes in that was not asked for, from
    /// outside or from another network; nothing leaves an internal one.
    pub(crate) fn forward_rules(&self) -> Vec<Vec<Part>> {
        let bridge = self.bridge_name();
        let from = |is| Part::Input { name: bridge.clone(), is };
        let to = |is| Part::Output { name: bridge.clone(), is };
        let mut rules = Vec::new();
        if self.lets_containers_talk() {
            // Bridged packets come here only where the kernel sends them to the packet filter too
            // (bridge-nf-call-iptables).
            rules.push(vec![from(true), to(true), Part::Accept]);
        }
        if self.internal {
            rules.push(vec![from(true), Part::Drop]);
        }
        rules.push(vec![to(true), Part::Drop]);
        rules
    }

    /// Which packets leave with the VM's address as their source.
    pub(crate) fn postrouting_rules(&self) -> Vec<Vec<Part>> {
        if self.internal || !self.flag(MASQUERADE) {
            return Vec::new();
        }
        let out = Part::Output { name: self.bridge_name(), is: false };
        let rule = |pool: &Pool| vec![Part::Source(pool.subnet), out.clone(), Part::Masquerade];
        self.pools.iter().map(rule).collect()
    }

    /// The addresses that the bridge has.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = IpNet> {
        self.pools.iter().map(|p| IpNet::new_assert(p.gateway, p.subnet.prefix_len()))
    }
}

/// Docker's rule for names (`[a-zA-Z0-9][a-zA-Z0-9_.-]+`, or one character).
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let rest = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let good = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(rest);
    if good {
        return Ok(());
    }
    let why = format!("`{name}` has to begin with a letter or digit and hold only [a-zA-Z0-9_.-]");
    Err(Error::invalid("network name", why))
}

pub(crate) fn driver(name: &str) -> Result<Driver, Error> {
    match name {
        "" | "bridge" => Ok(Driver::Bridge),
        "host" | "null" | "none" => Err(Error::unsupported(
            format!("--driver {name}"),
            "there is one such network, and it is always there",
        )),
        "overlay" => Err(Error::unsupported("--driver overlay", "it needs a cluster")),
        "macvlan" | "ipvlan" => Err(Error::unsupported(
            format!("--driver {name}"),
            "the VM's interface leads to the host only, not to the host's network",
        )),
        other => Err(Error::unsupported(format!("--driver {other}"), "there are no plug-ins")),
    }
}

/// Every option is understood or refused by name.
pub(crate) fn check_options(options: &BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in options {
        let bad = |why: &str| Error::invalid("--opt", format!("{key}={value}: {why}"));
        match key.as_str() {
            MASQUERADE | ICC => match value.as_str() {
                "true" | "false" => {}
                _ => return Err(bad("neither true nor false")),
            },
            DEFAULT_BRIDGE if value == "false" => {}
            DRIVER_MTU => match value.parse() {
                Ok(mtu) if MTU.contains(&mtu) => {}
                _ => return Err(bad("not between 1280 and 65535")),
            },
            BRIDGE_NAME if is_interface(value, LONGEST_INTERFACE) => {}
            // Room for a number.
            INTERFACE_PREFIX if is_interface(value, LONGEST_INTERFACE - 3) => {}
            BRIDGE_NAME | INTERFACE_PREFIX => return Err(bad("not an interface's name")),
            _ => {
                return Err(Error::unsupported(
                    format!("--opt {key}"),
                    "a bridge network here has no such option",
                ));
            }
        }
    }
    Ok(())
}

/// Refuses a bridge whose name another interface of the machine has: it would get the network's
/// addresses and rules, and go with it.
pub(crate) fn check_bridge(route: &mut Route, name: &str) -> Result<(), Error> {
    let there = route.link(name).map_err(Error::kernel("find", format!("bridge {name}")))?;
    if there.is_some_and(|link| !link.is_bridge) {
        let why = format!("{BRIDGE_NAME}={name}: an interface of the machine that is no bridge");
        return Err(Error::invalid("--opt", why));
    }
    Ok(())
}

/// The kernel's rule (dev_valid_name).
fn is_interface(name: &str, longest: usize) -> bool {
    let good = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    !name.is_empty()
        && name.len() <= longest
        && name.chars().all(good)
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_understood_or_refused_by_name() {
        let check = |key: &str, value: &str| {
            check_options(&[(key.to_owned(), value.to_owned())].into()).map_err(|e| e.to_string())
        };
        assert_eq!(check(ICC, "false"), Ok(()));
        assert_eq!(check(DRIVER_MTU, "9000"), Ok(()));
        assert_eq!(check(BRIDGE_NAME, "br0"), Ok(()));
        for (key, value) in [
            (ICC, "maybe"),
            (DRIVER_MTU, "100"),
            (BRIDGE_NAME, "much-too-long-a-name"),
            (BRIDGE_NAME, "a/b"),
            ("com.docker.network.bridge.inhibit_ipv4", "true"),
            ("parent", "eth0"),
        ] {
            assert!(check(key, value).unwrap_err().contains(key), "{key}");
        }
    }

    #[test]
    fn drivers_without_a_meaning_here_are_refused_with_the_reason() {
        assert_eq!(driver("").unwrap(), Driver::Bridge);
        for name in ["host", "overlay", "macvlan", "weave"] {
            assert!(driver(name).unwrap_err().to_string().contains(name), "{name}");
        }
    }
}
