//! `network disconnect`.

use clap::Args;
use linkspan_proto::v1::DisconnectNetworkRequest;

use crate::context::Context;
use crate::error::Outcome;

/// Disconnect a container from a network
#[derive(Debug, Args)]
pub(crate) struct Disconnect {
    /// Taken for Docker's sake: a container of this machine needs no force
    #[arg(short, long)]
    force: bool,
    /// The network
    network: String,
    /// The container
    container: String,
}

impl Disconnect {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = DisconnectNetworkRequest { container: self.container, network: self.network };
        client.networks(context.machine()).disconnect_container(request).await?;
        Ok(0)
    }
}
