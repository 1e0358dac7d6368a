//! `registry`: how registries are reached. One file a verb.

mod set;
mod show;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::Outcome;

/// Say how registries are reached: mirrors, insecure registries, proxies, certificates
#[derive(Debug, Args)]
pub(crate) struct RegistryCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Set(Box<set::Set>),
    #[command(visible_alias = "inspect")]
    Show(show::Show),
}

impl RegistryCommand {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Set(verb) => verb.run(context).await,
            Verb::Show(verb) => verb.run(context).await,
        }
    }
}
