//! `tag`.

use clap::Args;
use linkspan_proto::v1::TagImageRequest;

use super::images::not_empty;
use crate::context::Context;
use crate::error::Outcome;

/// Give an image one more name
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image, by reference or id
    #[arg(value_name = "SOURCE[:TAG]")]
    source: String,
    /// Its new name
    #[arg(value_name = "TARGET[:TAG]")]
    target: String,
}

impl Tag {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        not_empty(&self.source, "the image's name")?;
        not_empty(&self.target, "the new name")?;
        let client = context.running().await?;
        let request = TagImageRequest { source: self.source, target: self.target };
        client.images(context.machine()).tag(request).await?;
        Ok(0)
    }
}
