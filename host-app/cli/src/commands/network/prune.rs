//! `network prune`.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use linkspan_proto::v1::PruneNetworksRequest;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Remove all networks that no container uses
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Do not ask first
    #[arg(short, long)]
    force: bool,
    /// Only those that match: `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if !self.force && !confirmed()? {
            return Ok(0);
        }
        let client = context.running().await?;
        let request = PruneNetworksRequest { filters: self.filter };
        let names = client.networks(context.machine()).prune(request).await?.into_inner().names;
        if !names.is_empty() {
            render::line(&format!("Deleted Networks:\n{}\n", names.join("\n")))?;
        }
        Ok(0)
    }
}

/// Asks as Docker does; without a terminal there is nobody to ask, and the answer is no.
fn confirmed() -> Result<bool, Error> {
    eprint!(
        "WARNING! This will remove all custom networks not used by at least one container.\n\
         Are you sure you want to continue? [y/N] "
    );
    // The question is not an answer: nothing is lost with it.
    let _ = std::io::stderr().flush();
    if !std::io::stdin().is_terminal() {
        eprintln!();
        return Ok(false);
    }
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::invalid(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
