//! `wait`.

use clap::Args;
use linkspan_proto::v1::WaitContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Wait until containers end, and print their exit codes
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request = WaitContainerRequest { container: name, ..Default::default() };
            async move { Ok(Some(calls.wait(request).await?.into_inner().exit_code.to_string())) }
        })
        .await
    }
}
