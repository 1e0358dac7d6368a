//! `rmi`.

use clap::Args;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::v1::RemoveImageRequest;

use super::for_each;
use crate::context::Context;
use crate::error::{Error, Outcome, print_failure};

/// Remove images
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Also when containers that do not run still use it, or when it has several names
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
            let request = RemoveImageRequest {
                image,
                force: self.force,
                no_prune: self.no_prune,
                ..Default::default()
            };
            async move {
                let removed = match calls.remove(request).await.map_err(Error::from) {
                    Ok(removed) => removed.into_inner(),
                    // As `rm -f`: what was to be gone is gone. Docker says so, too.
                    Err(Error::Failure(failure))
                        if self.force && failure.code == ErrorCode::NotFound =>
                    {
                        print_failure(&mut std::io::stderr(), &failure);
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                };
                let untagged = removed.untagged.iter().map(|name| format!("Untagged: {name}"));
                let deleted = removed.deleted.iter().map(|id| format!("Deleted: {id}"));
                let lines: Vec<String> = untagged.chain(deleted).collect();
                Ok((!lines.is_empty()).then(|| lines.join("\n")))
            }
        })
        .await
    }
}
