//! `network prune`.

use clap::Args;
use linkspan_client::Client;
use linkspan_proto::v1::PruneNetworksRequest;

use crate::commands::{confirm::confirm, prune::Pruned};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Remove all networks that no container uses
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do not ask first
    #[arg(short, long)]
    force: bool,
    /// Only those that match: `until=24h`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let warning =
            "WARNING! This will remove all custom networks not used by at least one container.";
        if !self.force && !confirm(warning) {
            return Ok(0);
        }
        let client = context.running().await?;
        render::print(&networks(&client, &context, self.filter).await?.text)?;
        Ok(0)
    }
}

/// Removes networks, which take no room.
///
/// # Errors
/// A filter that is not known.
pub(crate) async fn networks(
    client: &Client,
    context: &Context,
    filters: Vec<String>,
) -> Result<Pruned, Error> {
    let request = PruneNetworksRequest { filters };
    let names = client.networks(context.machine()).prune(request).await?.into_inner().names;
    Ok(Pruned::new("Deleted Networks", &names, 0))
}
