//! `unpause`.

use clap::Args;
use linkspan_proto::v1::UnpauseContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Let the processes of paused containers run on
#[derive(Debug, Args)]
pub(crate) struct Unpause {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Unpause {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request = UnpauseContainerRequest { container: name.clone() };
            async move {
                calls.unpause(request).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
