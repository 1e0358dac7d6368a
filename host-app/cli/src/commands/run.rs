//! `run`: create, connect, start, and wait for the end, in two calls.

use std::time::Duration;

use clap::{ArgAction, Args};
use linkspan_client::Client;
use linkspan_proto::v1::{StartContainerRequest, WaitCondition, WaitContainerRequest};

use super::create::Prepared;
use super::{Attachment, attach};
use crate::args::container::ContainerFlags;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;
use crate::terminal::detach::DetachKeys;
use crate::terminal::stdio::{self, Ended};

/// How long the removal of an ended container may take before we leave it to the agent.
const REMOVAL: Duration = Duration::from_secs(10);

/// Create a container from an image and run it
///
/// The exit code is that of the container's command; 125 when Linkspan failed, 126 when the
/// command cannot be executed, 127 when it was not found.
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "linkspan run [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) container: ContainerFlags,
    /// Start it in the background and print its id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// The keys that leave a container without ending it
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Pass signals on to the container
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
}

impl Run {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if self.detach && !self.container.attach.is_empty() {
            return Err(Error::invalid("cannot use -d and -a together"));
        }
        let streams = self.container.streams();
        if !self.detach {
            stdio::check_tty(streams.stdin, self.container.tty)?;
        }
        let prepared = Prepared::new(&self.container, !self.detach)?;
        let client = context.running().await?;
        let id = prepared.create(&client, &context).await?;
        if self.detach {
            let request = StartContainerRequest { container: id.clone() };
            client.containers(context.machine()).start(request).await?;
            render::line(&id)?;
            return Ok(0);
        }
        let attachment = Attachment {
            container: id.clone(),
            streams,
            tty: self.container.tty,
            start: true,
            detach: self.detach_keys,
            sig_proxy: self.sig_proxy,
        };
        let exited = match attach(&client, &context, attachment).await? {
            Ended::Detached => return Ok(0),
            Ended::Exited(exited) => exited,
        };
        if self.container.rm {
            wait_until_removed(&client, &context, id).await;
        }
        stdio::exit_code(&exited)
    }
}

/// So that the name can be used again when we return, as after Docker's `run --rm`.
async fn wait_until_removed(client: &Client, context: &Context, id: String) {
    let request = WaitContainerRequest { container: id, condition: WaitCondition::Removed.into() };
    let mut calls = client.containers(context.machine());
    match tokio::time::timeout(REMOVAL, calls.wait(request)).await {
        Ok(Ok(_)) => {}
        // Most often it is gone already.
        Ok(Err(status)) => tracing::debug!(%status, "the container's removal was not seen"),
        Err(_) => tracing::warn!("the container is still being removed"),
    }
}
