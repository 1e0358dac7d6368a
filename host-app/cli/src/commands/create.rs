//! `create`, and the creating half of `run`.

use std::io::Write as _;
use std::path::Path;

use clap::Args;
use linkspan_client::Client;
use linkspan_credentials::Registry;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::v1::{CreateContainerRequest, InspectImageRequest, PullImageRequest};

use super::{credentials, pull};
use crate::args::container::{ContainerFlags, Pull};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;
use crate::transfer::Where;

/// Create a container from an image, without starting it
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "linkspan create [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerFlags,
}

impl Create {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        // Docker: `create -i` closes standard input when the first client that attaches leaves.
        let foreground = true;
        let prepared = Prepared::new(&self.container, foreground)?;
        let client = context.running().await?;
        render::line(&prepared.create(&client, &context).await?)?;
        Ok(0)
    }
}

/// A container that has been checked and not yet been created.
pub(crate) struct Prepared<'a> {
    request: CreateContainerRequest,
    cidfile: Option<&'a Path>,
    flags: &'a ContainerFlags,
}

impl<'a> Prepared<'a> {
    /// Checks all that can be checked without a machine.
    ///
    /// # Errors
    /// A flag or file that is refused.
    pub(crate) fn new(flags: &'a ContainerFlags, foreground: bool) -> Result<Self, Error> {
        let cidfile = flags.cidfile.as_deref();
        if let Some(path) = cidfile
            && path.exists()
        {
            return Err(Error::invalid(format!(
                "cannot use --cidfile `{}`: the file exists; remove it or name another",
                path.display()
            )));
        }
        let config = flags.config(foreground)?;
        let name = flags.name.clone().unwrap_or_default();
        Ok(Self {
            request: CreateContainerRequest { name, config: Some(config), ..Default::default() },
            cidfile,
            flags,
        })
    }

    /// Creates it, after its image was pulled where that is asked for, and answers its id.
    ///
    /// # Errors
    /// What the engine or a registry refuses; a `--cidfile` that cannot be written.
    pub(crate) async fn create(self, client: &Client, context: &Context) -> Result<String, Error> {
        if self.flags.pull == Pull::Always {
            self.pull(client, context).await?;
        }
        let mut containers = client.containers(context.machine());
        let created = match containers.create(self.request.clone()).await {
            Err(status) => {
                let refused = Error::from(status);
                if !self.lacks_image(client, context, &refused).await {
                    return Err(refused);
                }
                if !self.flags.quiet {
                    let image = pull::tagged(self.image());
                    say!("Unable to find image '{image}' locally");
                }
                self.pull(client, context).await?;
                containers.create(self.request).await?
            }
            Ok(created) => created,
        };
        let created = created.into_inner();
        for warning in &created.warnings {
            say!("warning: {warning}");
        }
        if let Some(path) = self.cidfile {
            std::fs::File::create_new(path)
                .and_then(|mut file| file.write_all(created.id.as_bytes()))
                .map_err(|error| {
                    Error::invalid(format!("cannot write `{}`: {error}", path.display()))
                })?;
        }
        Ok(created.id)
    }

    fn image(&self) -> &str {
        self.request.config.as_ref().map_or("", |config| &config.image)
    }

    /// Whether the image is what was not found: it could be a network too.
    async fn lacks_image(&self, client: &Client, context: &Context, refused: &Error) -> bool {
        let missing = |error: &Error| matches!(error, Error::Failure(failure) if failure.code == ErrorCode::NotFound);
        if self.flags.pull != Pull::Missing || !missing(refused) {
            return false;
        }
        let request = InspectImageRequest { image: self.image().into() };
        let found = client.images(context.machine()).inspect(request).await;
        found.is_err_and(|status| missing(&status.into()))
    }

    /// All that is said goes to standard error: the output is the container's, or its id.
    async fn pull(&self, client: &Client, context: &Context) -> Result<(), Error> {
        let request = PullImageRequest {
            reference: self.image().into(),
            platform: self.flags.platform.clone().unwrap_or_default(),
            all_tags: false,
            credentials: credentials::of(&Registry::of_image(self.image())).await?,
        };
        let place = if self.flags.quiet { Where::Nowhere } else { Where::Stderr };
        pull::pull(client, context, request, place).await.map(drop)
    }
}
