//! What the kernel has of networks: bridges, and the rules of all that are up.

use std::{fs, io, net::IpAddr};

use ipnet::IpNet;
use nix::errno::Errno;

use super::Networks;
use crate::{
    Error,
    endpoint::{Address, Mac},
    netlink::{
        nft::{self, Chain, Hook, Part},
        route::Route,
    },
    network::{self, Driver, Network},
};

/// Our table in the packet filter.
const TABLE: &str = "linkspan";

impl Networks {
    /// The network and its bridge's index; the kernel has it afterwards.
    pub(super) fn bring_up(&self, id: &str) -> Result<(Network, u32), Error> {
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
            network::check_bridge(&mut route, &name)?;
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

    pub(super) fn set_up(&self, id: &str, up: bool) {
        if let Some(entry) = self.state.lock().entries.get_mut(id) {
            entry.up = up;
        }
    }

    /// Puts the rules of all bridges that are up into the kernel, in place of those before.
    pub(super) fn apply_rules(&self) -> Result<(), Error> {
        let networks: Vec<Network> = {
            let state = self.state.lock();
            state.entries.values().filter(|e| e.up && !e.going).map(|e| e.network.clone()).collect()
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
}

/// Deletes the bridge of a network that has no rules any more.
pub(super) fn delete_bridge(network: &Network) -> Result<(), Error> {
    if network.driver != Driver::Bridge {
        return Ok(());
    }
    let name = network.bridge_name();
    let delete = || -> nix::Result<()> {
        let mut route = Route::open()?;
        // An interface that has taken the name is not ours.
        match route.link(&name)? {
            Some(link) if link.is_bridge => route.delete(&name),
            _ => Ok(()),
        }
    };
    delete().map_err(Error::kernel("delete", format!("bridge {name}")))
}

pub(super) fn mac_for(addresses: &[Address]) -> Mac {
    let mut all = addresses.iter().map(|address| address.net.addr());
    let v4 = all.find_map(|address| match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    });
    v4.map_or_else(Mac::random, Mac::of)
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
