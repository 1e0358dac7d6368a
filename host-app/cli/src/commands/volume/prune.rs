//! `volume prune`.

use std::io::{BufRead as _, Write as _};

use clap::Args;
use linkspan_proto::v1::PruneVolumesRequest;

use super::calls;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::{self, human};

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
        if !self.force && !confirm(&warning)? {
            return Ok(0);
        }
        let request = PruneVolumesRequest { all: self.all, filters: self.filter };
        let pruned = calls(&context).await?.prune(request).await?.into_inner();
        let mut text = String::new();
        if !pruned.removed.is_empty() {
            text.push_str("Deleted Volumes:\n");
            for name in &pruned.removed {
                text.push_str(name);
                text.push('\n');
            }
            text.push('\n');
        }
        render::print(&format!(
            "{text}Total reclaimed space: {}\n",
            human::size(pruned.reclaimed_bytes)
        ))?;
        Ok(0)
    }
}

/// Asks on the terminal; all but a yes is a no.
fn confirm(warning: &str) -> Result<bool, Error> {
    let mut out = std::io::stdout().lock();
    write!(out, "{warning}\nAre you sure you want to continue? [y/N] ")
        .and_then(|()| out.flush())
        .map_err(|error| Error::output(&error))?;
    let mut answer = String::new();
    // A closed input is a no.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
