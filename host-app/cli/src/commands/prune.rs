//! `container prune`.

use clap::Args;
use linkspan_client::Client;
use linkspan_proto::v1::PruneContainersRequest;

use super::confirm::confirm;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::{self, human};

/// Remove all containers that do not run
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those that match: `until=24h`, `label=x=y`, `label!=x`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// What a removal is told with, and the bytes that it has freed.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    pub(crate) text: String,
    pub(crate) bytes: u64,
}

impl Pruned {
    /// A heading and a line for each thing; nothing when there is none.
    pub(crate) fn new(heading: &str, lines: &[String], bytes: u64) -> Self {
        let text = match lines {
            [] => String::new(),
            lines => format!("{heading}:\n{}\n\n", lines.join("\n")),
        };
        Self { text, bytes }
    }

    /// Prints it with its sum.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub(crate) fn print(&self) -> Result<(), Error> {
        let bytes = human::size(self.bytes);
        render::print(&format!("{}Total reclaimed space: {bytes}\n", self.text))
    }
}

/// Removes containers.
///
/// # Errors
/// A filter that is not known.
pub(crate) async fn containers(
    client: &Client,
    context: &Context,
    filters: Vec<String>,
) -> Result<Pruned, Error> {
    let request = PruneContainersRequest { filters };
    let pruned = client.containers(context.machine()).prune(request).await?.into_inner();
    Ok(Pruned::new("Deleted Containers", &pruned.ids, pruned.reclaimed_bytes))
}

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if !self.force && !confirm("WARNING! This will remove all stopped containers.") {
            return Ok(0);
        }
        let client = context.running().await?;
        containers(&client, &context, self.filter).await?.print()?;
        Ok(0)
    }
}
