//! `pause`.

use clap::Args;
use linkspan_proto::v1::PauseContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Freeze all processes of containers
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request = PauseContainerRequest { container: name.clone() };
            async move {
                calls.pause(request).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
