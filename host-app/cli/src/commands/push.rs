//! `push`.

use clap::Args;
use linkspan_client::Client;
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
        let client = context.running().await?;
        let request = PushImageRequest {
            all_tags: self.all_tags,
            platform: self.platform.unwrap_or_default(),
            ..one(&self.image).await?
        };
        let place = if self.quiet { Where::Nowhere } else { Where::Output };
        push(&client, &context, request, place).await?;
        if self.quiet {
            let name = if self.all_tags { self.image } else { tagged(&self.image) };
            render::line(&full_name(&name))?;
        }
        Ok(0)
    }
}

/// What pushes one name, as the user whom this command knows.
///
/// # Errors
/// Credentials that cannot be read.
pub(crate) async fn one(image: &str) -> Result<PushImageRequest, Error> {
    let credentials = credentials::of(&Registry::of_image(image)).await?;
    let reference = image.to_owned();
    Ok(PushImageRequest { reference, credentials, ..PushImageRequest::default() })
}

/// Pushes, and shows how far it is.
///
/// # Errors
/// What the registry or the machine refuses.
pub(crate) async fn push(
    client: &Client,
    context: &Context,
    request: PushImageRequest,
    place: Where,
) -> Result<(), Error> {
    let mut transfer = Transfer::new(place);
    let mut answers = client.registry(context.machine()).push(request).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        if let Some(Kind::Progress(step)) = answer.kind {
            transfer.step(&step)?;
        }
    }
    Ok(())
}
