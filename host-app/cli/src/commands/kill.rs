//! `kill`.

use clap::Args;
use linkspan_proto::v1::KillContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Send a signal to running containers
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal, as name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request =
                KillContainerRequest { container: name.clone(), signal: self.signal.clone() };
            async move {
                calls.kill(request).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
