//! The VM's own network: loopback and host name. The interface to the outside comes with
//! container networks.

use linkspan_sys::{boot::BootCalls, net};

use super::{BootError, cmdline::Cmdline};

/// Brings up what there is.
pub(super) fn bring_up(kernel: &dyn BootCalls, cmdline: &Cmdline) -> Result<(), BootError> {
    kernel
        .set_hostname(&cmdline.machine)
        .map_err(|errno| BootError::file("set the host name", &cmdline.machine)(errno.into()))?;
    net::interface_up("lo").map_err(|errno| BootError::file("bring up", "lo")(errno.into()))
}
