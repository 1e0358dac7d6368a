//! `linkspand fs-device`: this program as one shared folder of one QEMU machine. A process of its
//! own, because machines outlive the daemon; the same program, so that there is none to install.

use std::path::PathBuf;

use clap::Args;
use linkspan_fs_device::Options;

use crate::log;

/// The subcommand's name.
pub(crate) const FS_DEVICE: &str = "fs-device";

/// Shares one folder with one QEMU until that ends.
#[derive(Debug, Args)]
pub(crate) struct FsDevice {
    /// The vhost-user socket to make for QEMU.
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
    /// The folder to share.
    #[arg(long, value_name = "FOLDER")]
    share: PathBuf,
    /// The guest can change nothing.
    #[arg(long)]
    read_only: bool,
    /// The socket to make for a daemon that wants to hear of changes.
    #[arg(long, value_name = "FILE")]
    changes: PathBuf,
}

impl FsDevice {
    pub(crate) fn run(&self, filter: &str) -> anyhow::Result<()> {
        log::of_device(filter)?;
        linkspan_fs_device::run(&Options {
            socket: self.socket.clone(),
            share: self.share.clone(),
            read_only: self.read_only,
            changes: self.changes.clone(),
        })?;
        Ok(())
    }
}
