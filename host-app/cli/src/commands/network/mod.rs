//! `network`: the networks of containers. One file a verb.

mod connect;
mod create;
mod disconnect;
mod inspect;
mod ls;
pub(crate) mod prune;
mod rm;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::Outcome;

/// Manage networks
#[derive(Debug, Args)]
pub(crate) struct NetworkCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Connect(connect::Connect),
    Create(Box<create::Create>),
    Disconnect(disconnect::Disconnect),
    Inspect(inspect::Inspect),
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    Prune(prune::Prune),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
}

impl NetworkCommand {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Connect(verb) => verb.run(context).await,
            Verb::Create(verb) => verb.run(context).await,
            Verb::Disconnect(verb) => verb.run(context).await,
            Verb::Inspect(verb) => verb.run(context).await,
            Verb::Ls(verb) => verb.run(context).await,
            Verb::Prune(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
        }
    }
}
