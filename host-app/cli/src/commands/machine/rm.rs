//! `machine rm`.

use clap::Args;
use linkspan_proto::host::v1::RemoveMachineRequest;

use crate::commands::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Remove machines, with every container and image in them
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Also when it runs: stop it first
    #[arg(short, long)]
    force: bool,
    /// Their names. There is no default here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let calls = client.machines();
        for_each(&self.names, |name| {
            let mut calls = calls.clone();
            let request = RemoveMachineRequest { name: name.clone(), force: self.force };
            async move {
                calls.remove(request).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
