//! The VM's own network: host name, loopback, and the way out.
//!
//! QEMU's user network (`-netdev user`, docs/system/devices/net.rst) is always the same: the VM is
//! 10.0.2.15, the host 10.0.2.2, the name server 10.0.2.3. Asking for it by DHCP would cost a boot
//! its time and bring the same answer.

use std::{fs, net::Ipv4Addr};

use linkspan_net::uplink::{self, Uplink};
use linkspan_sys::{boot::BootCalls, net};

use super::{BootError, cmdline::Cmdline};

const CARD: &str = "eth0";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const PREFIX: u8 = 24;
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Where the VM sees the host's loopback services.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The subnet that the VM itself is in.
pub const SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 2, 0), PREFIX);
/// How the VM resolves names.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Brings up what there is.
pub(super) fn bring_up(kernel: &dyn BootCalls, cmdline: &Cmdline) -> Result<(), BootError> {
    kernel
        .set_hostname(&cmdline.machine)
        .map_err(|errno| BootError::file("set the host name", &cmdline.machine)(errno.into()))?;
    net::interface_up("lo").map_err(|errno| BootError::file("bring up", "lo")(errno.into()))?;
    way_out()
}

/// Without a network card the VM runs all the same; its containers then reach each other only.
fn way_out() -> Result<(), BootError> {
    let uplink =
        Uplink { address: ipnet::IpNet::new_assert(ADDRESS.into(), PREFIX), gateway: HOST.into() };
    let about = |error| BootError::file("bring up", CARD)(std::io::Error::other(error));
    if !uplink::bring_up(CARD, &uplink).map_err(about)? {
        tracing::warn!(card = CARD, "the machine has no network card");
        return Ok(());
    }
    fs::write(RESOLV_CONF, format!("nameserver {NAME_SERVER}\n"))
        .map_err(BootError::file("write", RESOLV_CONF))
}
