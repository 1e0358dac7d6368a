//! `push`.

use clap::Args;
use linkspan_credentials::Registry;
use linkspan_proto::v1::{PushImageRequest, push_image_response::Kind};

use super::credentials;
use super::pull::{full_name, has_tag, tagged};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;
use crate::transfer::{Transfer, Where};

/// Upload an image to a registry
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Every tag of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Only the image of this platform, such as linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Without a tag, `latest`
    #[arg(value_name = "NAME[:TAG]")]
    image: String,
}

impl Push {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if self.all_tags && has_tag(&self.image) {
            return Err(Error::invalid("tag can't be used with --all-tags/-a"));
        }
        if !self.all_tags && !has_tag(&self.image) && !self.quiet {
            render::line("Using default tag: latest")?;
        }
        let credentials = credentials::of(&Registry::of_image(&self.image)).await?;
        let client = context.running().await?;
        let request = PushImageRequest {
            reference: self.image.clone(),
            all_tags: self.all_tags,
            platform: self.platform.unwrap_or_default(),
            credentials,
        };
        let mut transfer = Transfer::new(if self.quiet { Where::Nowhere } else { Where::Output });
        let mut answers = client.registry(context.machine()).push(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(Kind::Progress(step)) = answer.kind {
                transfer.step(&step)?;
            }
        }
        if self.quiet {
            let name = if self.all_tags { self.image } else { tagged(&self.image) };
            render::line(&full_name(&name))?;
        }
        Ok(0)
    }
}
