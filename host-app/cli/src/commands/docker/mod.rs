//! `docker`: the user's own docker CLI against us, and how other programs find us.

mod context;
mod env;
mod run;

use std::ffi::OsString;

use clap::{Args, Subcommand};
use linkspan_client::Client;
use linkspan_proto::error::{ErrorCode, Failure};

use crate::context::Context;
use crate::error::{Error, Outcome};

/// Run your docker CLI against Linkspan, or make it and other tools find Linkspan
#[derive(Debug, Args)]
#[command(
    after_help = "All other words go to your docker CLI: `linkspan docker ps`, `linkspan docker compose up`."
)]
pub(crate) struct Docker {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The docker context by which Docker's tools find Linkspan
    Context(context::ContextCommand),
    Env(env::Env),
    #[command(external_subcommand)]
    Run(Vec<OsString>),
}

impl Docker {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Context(verb) => verb.run(context).await,
            Verb::Env(verb) => verb.run(context).await,
            Verb::Run(args) => run::run(&context, &args).await,
        }
    }
}

/// Where Docker's API is served, as `DOCKER_HOST` has it. The daemon runs when this returns.
async fn host(context: &Context) -> Result<String, Error> {
    let client = context.client().await?;
    only_the_default(context, &client).await?;
    let socket = client.paths().docker_socket();
    let socket = socket.to_str().ok_or_else(|| {
        let message = format!("`{}` is not UTF-8: DOCKER_HOST cannot name it", socket.display());
        Failure::new(ErrorCode::Unsupported, message)
    })?;
    // Windows: `npipe:////./pipe/NAME`.
    let pipe = socket.strip_prefix(r"\\.\pipe\").map(|name| format!("npipe:////./pipe/{name}"));
    Ok(pipe.unwrap_or_else(|| format!("unix://{socket}")))
}

/// What `DOCKER_BUILDKIT` is to be; the user's own word stands. The docker CLI takes it that every engine
/// on Linux speaks BuildKit's protocol, whatever the engine says, and `docker build` fails where the
/// buildx plugin is there; Linkspan serves the classic builder.
fn buildkit() -> Option<&'static str> {
    let is_set = std::env::var_os("DOCKER_BUILDKIT").is_some_and(|value| !value.is_empty());
    (!is_set).then_some("0")
}

/// There is one socket, and what comes to it is for the default machine.
async fn only_the_default(context: &Context, client: &Client) -> Result<(), Error> {
    let Some(wanted) = context.machine() else { return Ok(()) };
    let info = client.host().info(linkspan_proto::host::v1::HostInfoRequest {}).await?;
    let default = info.into_inner().default_machine;
    if wanted == default {
        return Ok(());
    }
    let message =
        format!("Docker's API is served for the default machine `{default}`, not for `{wanted}`");
    Err(Failure::new(ErrorCode::Unsupported, message)
        .hint("make it the default one: `default_machine` in config.json")
        .into())
}
