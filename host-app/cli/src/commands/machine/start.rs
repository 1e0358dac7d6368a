//! `machine start`.

use clap::Args;

use super::Which;
use crate::context::{Context, start_machine};
use crate::error::Outcome;

/// Start a machine and show its boot
#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    which: Which,
    /// Show nothing but failures
    #[arg(short, long)]
    quiet: bool,
}

impl Start {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let started = start_machine(&client, self.which.name(&context)).await?;
        if !started.booted && !self.quiet {
            say!("the machine `{}` runs already", started.machine.name);
        }
        Ok(0)
    }
}
