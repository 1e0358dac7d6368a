//! `volume rm`.

use clap::Args;
use linkspan_proto::v1::RemoveVolumeRequest;

use super::calls;
use crate::commands::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Remove volumes that no container has
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// No error when there is none
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let calls = calls(&context).await?;
        let force = self.force;
        for_each(&self.names, |name| {
            let mut calls = calls.clone();
            async move {
                calls.remove(RemoveVolumeRequest { name: name.clone(), force }).await?;
                Ok(Some(name))
            }
        })
        .await
    }
}
