//! `create`, and the creating half of `run`.

use std::io::Write as _;
use std::path::Path;

use clap::Args;
use linkspan_client::Client;
use linkspan_proto::v1::CreateContainerRequest;

use crate::args::container::ContainerFlags;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Create a container from an image, without starting it
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "linkspan create [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerFlags,
    /// Accepted for Docker's sake: nothing is printed but the id
    #[arg(short, long)]
    quiet: bool,
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
        Ok(Self { request: CreateContainerRequest { name, config: Some(config) }, cidfile })
    }

    /// Creates it and answers its id.
    ///
    /// # Errors
    /// What the engine refuses; a `--cidfile` that cannot be written.
    pub(crate) async fn create(self, client: &Client, context: &Context) -> Result<String, Error> {
        let created = client.containers(context.machine()).create(self.request).await?.into_inner();
        for warning in &created.warnings {
            eprintln!("warning: {warning}");
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
}
