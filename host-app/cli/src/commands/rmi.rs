//! `rmi`.

use clap::Args;
use linkspan_proto::v1::RemoveImageRequest;

use super::for_each;
use crate::context::Context;
use crate::error::Outcome;

/// Remove images
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Also when containers that do not run still use it
    #[arg(short, long)]
    force: bool,
    /// Keep the parents that have no name
    #[arg(long)]
    no_prune: bool,
    /// References or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Rmi {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.images(context.machine());
        for_each(&self.images, |image| {
            let mut calls = calls.clone();
            let request = RemoveImageRequest { image, force: self.force, no_prune: self.no_prune };
            async move {
                let removed = calls.remove(request).await?.into_inner();
                let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}"));
                let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}"));
                let lines: Vec<String> = untagged.chain(deleted).collect();
                Ok((!lines.is_empty()).then(|| lines.join("\n")))
            }
        })
        .await
    }
}
