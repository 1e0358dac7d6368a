//! `network connect`.

use clap::Args;
use linkspan_proto::v1::{ConnectNetworkRequest, EndpointConfig};

use crate::context::Context;
use crate::error::Outcome;

/// Connect a container to a network
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// One more name in the network
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// The IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<String>,
    /// The network
    network: String,
    /// The container
    container: String,
}

impl Connect {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let endpoint = EndpointConfig {
            network: self.network,
            aliases: self.alias,
            ipv4_address: self.ip.unwrap_or_default(),
            ipv6_address: self.ip6.unwrap_or_default(),
            mac_address: String::new(),
        };
        let request = ConnectNetworkRequest { container: self.container, endpoint: Some(endpoint) };
        client.networks(context.machine()).connect_container(request).await?;
        Ok(0)
    }
}
