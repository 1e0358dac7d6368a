//! `restart`.

use clap::Args;
use linkspan_proto::v1::RestartContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Stop containers where they run, and start them
#[derive(Debug, Args)]
pub(crate) struct Restart {
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

impl Restart {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request = RestartContainerRequest {
                container: name.clone(),
                timeout_seconds: self.timeout,
                signal: self.signal.clone().unwrap_or_default(),
            };
            async move {
                calls.restart(request).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
