//! `linkspand fs-device`: this program as one shared folder of one QEMU machine. A process of its
//! own, because machines outlive the daemon; the same program, so that there is none to install.

use std::path::PathBuf;

use clap::Args;
use linkspan_fs_device::Options;
use tracing_subscriber::EnvFilter;

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
}

impl FsDevice {
    /// Logs to standard error, which the driver keeps beside the machine's other logs.
    pub(crate) fn run(&self, filter: &str) -> anyhow::Result<()> {
        // The guest decides how often its mistakes are told, so a crate that tells each is silent.
        let filter = EnvFilter::try_new(format!("{filter},virtio_queue=off"))?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
        linkspan_fs_device::run(&Options {
            socket: self.socket.clone(),
            share: self.share.clone(),
            read_only: self.read_only,
        })?;
        Ok(())
    }
}
