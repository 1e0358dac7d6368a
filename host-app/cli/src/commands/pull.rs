//! `pull`.

use clap::Args;
use linkspan_client::Client;
use linkspan_credentials::Registry;
use linkspan_proto::v1::{PullImageRequest, PulledImage, pull_image_response::Kind};

use super::credentials;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;
use crate::transfer::{Transfer, Where};

/// Download an image from a registry
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Every tag of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// The platform of the image, such as linux/arm64. The machine's own when not given
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Without a tag and a digest, `latest`
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

impl Pull {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if self.all_tags && has_tag(&self.image) {
            return Err(Error::invalid("tag can't be used with --all-tags/-a"));
        }
        let implied = !self.all_tags && !has_tag(&self.image);
        if implied && !self.quiet {
            render::line("Using default tag: latest")?;
        }
        let client = context.running().await?;
        let request = PullImageRequest {
            reference: self.image.clone(),
            platform: self.platform.unwrap_or_default(),
            all_tags: self.all_tags,
            credentials: credentials::of(&Registry::of_image(&self.image)).await?,
        };
        let place = if self.quiet { Where::Nowhere } else { Where::Output };
        let pulled = pull(&client, &context, request, place).await?;
        if self.all_tags {
            render::line(&full_name(&self.image))?;
        } else {
            for image in &pulled {
                render::line(&full_name(&image.reference))?;
            }
        }
        Ok(0)
    }
}

/// Pulls, and shows how far it is.
///
/// # Errors
/// What the registry or the machine refuses.
pub(crate) async fn pull(
    client: &Client,
    context: &Context,
    request: PullImageRequest,
    place: Where,
) -> Result<Vec<PulledImage>, Error> {
    let mut transfer = Transfer::new(place);
    let mut answers = client.registry(context.machine()).pull(request).await?.into_inner();
    let mut pulled = Vec::new();
    while let Some(answer) = answers.message().await? {
        match answer.kind {
            Some(Kind::Progress(step)) => transfer.step(&step)?,
            Some(Kind::Pulled(image)) => pulled.push(image),
            None => {}
        }
    }
    Ok(pulled)
}

/// Whether a reference says which image of its repository it means.
pub(crate) fn has_tag(reference: &str) -> bool {
    let name = reference.rsplit('/').next().unwrap_or_default();
    name.contains([':', '@'])
}

/// A reference with the tag that it means.
pub(crate) fn tagged(reference: &str) -> String {
    let tag = if has_tag(reference) { "" } else { ":latest" };
    format!("{reference}{tag}")
}

/// A familiar name with its registry: `docker.io/library/busybox:latest`.
pub(crate) fn full_name(reference: &str) -> String {
    match (Registry::of_image(reference).is_hub(), reference.contains('/')) {
        (true, true) if reference.starts_with("docker.io/") => reference.to_owned(),
        (true, true) => format!("docker.io/{reference}"),
        (true, false) => format!("docker.io/library/{reference}"),
        (false, _) => reference.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_begins_with_its_registry() {
        for (familiar, full) in [
            ("busybox:1", "docker.io/library/busybox:1"),
            ("someone/app:1", "docker.io/someone/app:1"),
            ("docker.io/someone/app:1", "docker.io/someone/app:1"),
            ("localhost/app:1", "localhost/app:1"),
            ("host:5000/app:1", "host:5000/app:1"),
            ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
        ] {
            assert_eq!(full_name(familiar), full);
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        for (reference, tagged) in [
            ("host:5000/app", false),
            ("host:5000/app:1", true),
            ("a@sha256:0", true),
            ("a", false),
        ] {
            assert_eq!(has_tag(reference), tagged, "{reference}");
        }
    }
}
