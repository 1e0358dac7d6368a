//! `volume prune`.

use clap::Args;
use linkspan_client::Client;
use linkspan_proto::v1::PruneVolumesRequest;

use crate::commands::{confirm::confirm, prune::Pruned};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Remove anonymous volumes that no container has
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Only those that match: `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`, `all=true`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let which = if self.all { "local" } else { "anonymous local" };
        let warning = format!(
            "WARNING! This will remove {which} volumes not used by at least one container."
        );
        if !self.force && !confirm(&warning) {
            return Ok(0);
        }
        let client = context.running().await?;
        volumes(&client, &context, self.all, self.filter).await?.print()?;
        Ok(0)
    }
}

/// Removes volumes.
///
/// # Errors
/// A filter that is not known.
pub(crate) async fn volumes(
    client: &Client,
    context: &Context,
    all: bool,
    filters: Vec<String>,
) -> Result<Pruned, Error> {
    let request = PruneVolumesRequest { all, filters };
    let pruned = client.volumes(context.machine()).prune(request).await?.into_inner();
    Ok(Pruned::new("Deleted Volumes", &pruned.removed, pruned.reclaimed_bytes))
}
