//! `system`: the daemon itself, and what concerns all of a machine's things together.

mod df;
mod prune;

use clap::{Args, Subcommand};
use linkspan_client::{Client, ConnectOptions};

use super::{events::Events, info::Info};
use crate::context::Context;
use crate::error::Outcome;

/// Manage the daemon, and look after a machine as a whole
#[derive(Debug, Args)]
pub(crate) struct System {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// End the daemon. Machines keep running and are adopted by the next one
    #[command(alias = "stop-daemon")]
    Stop {
        /// Stop every machine first
        #[arg(long)]
        machines: bool,
    },
    /// End the daemon and start it again. Machines keep running
    #[command(alias = "restart-daemon")]
    Restart,
    /// Start the daemon when none runs
    #[command(alias = "start-daemon")]
    Start,
    Df(df::Df),
    Prune(prune::Prune),
    Events(Events),
    Info(Info),
}

impl System {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Stop { machines } => {
                let ran = Client::shutdown_daemon(&ConnectOptions::default(), machines).await?;
                if !ran {
                    say!("the daemon does not run");
                }
            }
            Verb::Restart => {
                Client::shutdown_daemon(&ConnectOptions::default(), false).await?;
                started(&context).await?;
            }
            Verb::Start => started(&context).await?,
            Verb::Df(verb) => return verb.run(context).await,
            Verb::Prune(verb) => return verb.run(context).await,
            Verb::Events(verb) => return verb.run(context).await,
            Verb::Info(verb) => return verb.run(context).await,
        }
        Ok(0)
    }
}

async fn started(context: &Context) -> Result<(), crate::error::Error> {
    let client = context.client().await?;
    let daemon = client.daemon();
    say!("the daemon runs: version {}, process {}", daemon.version, daemon.pid);
    Ok(())
}
