//! `machine stop`.

use clap::Args;
use linkspan_proto::host::v1::StopMachineRequest;

use super::Which;
use crate::context::Context;
use crate::error::Outcome;

/// Stop a machine: its containers first, then the VM
#[derive(Debug, Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
    /// Cut the power instead. What is not on the disk yet is lost
    #[arg(short, long)]
    force: bool,
    /// Seconds each container is given after its stop signal
    #[arg(short, long = "timeout", alias = "time", value_name = "SECONDS")]
    timeout: Option<u32>,
}

impl Stop {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let request = StopMachineRequest {
            name: self.which.of(&context),
            force: self.force,
            stop_timeout_seconds: self.timeout,
        };
        let stopped = client.machines().stop(request).await?.into_inner();
        if stopped.start_broken_off {
            say!("note: the machine was being started: the start was broken off");
        } else if stopped.killed && !self.force {
            say!("note: the machine did not end in time and was killed");
        }
        Ok(0)
    }
}
