//! The VM's own way out: an address and a default route on its network card.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;

use crate::{Error, netlink::route::Route};

/// How an interface is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uplink {
    /// The VM's address.
    pub address: IpNet,
    /// Where everything goes.
    pub gateway: IpAddr,
}

/// Configures `interface` in the namespace of this thread and brings it up. `false`: the VM has no
/// such interface.
///
/// # Errors
/// When the kernel refuses.
pub fn bring_up(interface: &str, uplink: &Uplink) -> Result<bool, Error> {
    let about = |action| Error::kernel(action, format!("interface {interface}"));
    let mut route = Route::open().map_err(about("open"))?;
    let Some(index) = route.index(interface).map_err(about("find"))? else { return Ok(false) };
    route.add_address(index, uplink.address).map_err(about("give an address to"))?;
    route.set_up(index).map_err(about("bring up"))?;
    match route.add_default_route(index, uplink.gateway) {
        Ok(()) | Err(Errno::EEXIST) => Ok(true),
        Err(errno) => Err(about("route everything over")(errno)),
    }
}
