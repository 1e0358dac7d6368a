//! `stop`.

use clap::Args;
use linkspan_proto::v1::StopContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Stop running containers: their stop signal, and SIGKILL when the time is over
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds to wait before killing; the container's own (10) when not given
    #[arg(short, long = "timeout", alias = "time", value_name = "SECONDS")]
    timeout: Option<u32>,
    /// The signal to send first
    #[arg(short, long)]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request = StopContainerRequest {
                container: name.clone(),
                timeout_seconds: self.timeout,
                signal: self.signal.clone().unwrap_or_default(),
            };
            async move {
                calls.stop(request).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
