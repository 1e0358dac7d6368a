//! `container prune`.

use std::io::{BufRead as _, Write as _};

use clap::Args;
use linkspan_proto::v1::PruneContainersRequest;

use crate::context::Context;
use crate::error::Outcome;
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

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if !self.force && !confirmed() {
            return Ok(0);
        }
        let client = context.running().await?;
        let request = PruneContainersRequest { filters: self.filter };
        let pruned = client.containers(context.machine()).prune(request).await?.into_inner();
        let mut text = String::new();
        if !pruned.ids.is_empty() {
            text = format!("Deleted Containers:\n{}\n\n", pruned.ids.join("\n"));
        }
        let bytes = human::size(pruned.reclaimed_bytes);
        render::print(&format!("{text}Total reclaimed space: {bytes}\n"))?;
        Ok(0)
    }
}

/// Asks; anything but yes is no, the end of the input too.
fn confirmed() -> bool {
    // Standard error may be closed: then nobody sees the question, and nobody answers it.
    let _ = write!(
        std::io::stderr(),
        "WARNING! This will remove all stopped containers.\n\
         Are you sure you want to continue? [y/N] "
    );
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}
