//! `image prune`.

use clap::Args;
use linkspan_client::Client;
use linkspan_proto::v1::PruneImagesRequest;

use super::{confirm::confirm, prune::Pruned};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Remove images that no container has
#[derive(Debug, Args)]
pub(crate) struct ImagePrune {
    /// Also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: `until=24h`, `label=x=y`, `label!=x`, `dangling=false`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Removes images.
///
/// # Errors
/// A filter that is not known.
pub(crate) async fn images(
    client: &Client,
    context: &Context,
    all: bool,
    filters: Vec<String>,
) -> Result<Pruned, Error> {
    let request = PruneImagesRequest { all, filters };
    let pruned = client.images(context.machine()).prune(request).await?.into_inner();
    let untagged = pruned.untagged.iter().map(|name| format!("untagged: {name}"));
    let deleted = pruned.deleted.iter().map(|id| format!("deleted: {id}"));
    let lines: Vec<String> = untagged.chain(deleted).collect();
    Ok(Pruned::new("Deleted Images", &lines, pruned.reclaimed_bytes))
}

impl ImagePrune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let warning = if self.all {
            "WARNING! This will remove all images without at least one container associated to them."
        } else {
            "WARNING! This will remove all dangling images."
        };
        if !self.force && !confirm(warning) {
            return Ok(0);
        }
        let client = context.running().await?;
        images(&client, &context, self.all, self.filter).await?.print()?;
        Ok(0)
    }
}
