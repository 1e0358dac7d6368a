//! `volume`: one file a verb.

mod create;
mod inspect;
mod ls;
pub(crate) mod prune;
mod rm;

use clap::{Args, Subcommand};
use linkspan_client::VolumeCalls;

use crate::context::Context;
use crate::error::{Error, Outcome};

/// Manage volumes
#[derive(Debug, Args)]
pub(crate) struct VolumeCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Create),
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    Inspect(inspect::Inspect),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    Prune(prune::Prune),
}

impl VolumeCommand {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Create(verb) => verb.run(context).await,
            Verb::Ls(verb) => verb.run(context).await,
            Verb::Inspect(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
            Verb::Prune(verb) => verb.run(context).await,
        }
    }
}

async fn calls(context: &Context) -> Result<VolumeCalls, Error> {
    Ok(context.running().await?.volumes(context.machine()))
}
