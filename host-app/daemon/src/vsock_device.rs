//! `linkspand vsock-device`: this program as the vsock device of one QEMU machine. A process of its
//! own, because machines outlive the daemon; the same program, so that there is none to install.

use std::path::PathBuf;

use clap::Args;
use linkspan_vsock_device::Options;

use crate::log;

/// The subcommand's name.
pub(crate) const VSOCK_DEVICE: &str = "vsock-device";

/// Serves one QEMU as its vsock device until that ends.
#[derive(Debug, Args)]
pub(crate) struct VsockDevice {
    /// The vhost-user socket to make for QEMU.
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
    /// The socket to make for programs on the host (`CONNECT <port>`); the guest's connections go
    /// to `<FILE>_<port>`.
    #[arg(long, value_name = "FILE")]
    uds: PathBuf,
    /// The guest's context id.
    #[arg(long, value_name = "NUMBER")]
    guest_cid: u32,
}

impl VsockDevice {
    pub(crate) fn run(&self, filter: &str) -> anyhow::Result<()> {
        log::of_device(filter)?;
        linkspan_vsock_device::run(&Options {
            socket: self.socket.clone(),
            uds: self.uds.clone(),
            guest_cid: self.guest_cid,
        })?;
        Ok(())
    }
}
