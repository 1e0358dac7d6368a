//! `start`.

use clap::{ArgAction, Args};
use linkspan_proto::v1::StartContainerRequest;

use super::{Attachment, attach, for_each, shape};
use crate::args::container::Streams;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::terminal::detach::DetachKeys;
use crate::terminal::stdio::{self, Ended};

/// Start created or stopped containers
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Connect its output and pass signals on; the exit code is the container's
    #[arg(short, long)]
    attach: bool,
    /// Connect its standard input
    #[arg(short, long)]
    interactive: bool,
    /// The keys that leave the container without ending it
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Pass signals on to the container
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if self.attach || self.interactive {
            return self.attached(&context).await;
        }
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            async move {
                calls.start(StartContainerRequest { container: name.clone() }).await?;
                Ok(Some(name))
            }
        })
        .await
    }

    async fn attached(self, context: &Context) -> Outcome {
        let [container] = self.containers.as_slice() else {
            return Err(Error::invalid("cannot start and attach several containers at once"));
        };
        let client = context.running().await?;
        let shape = shape(&mut client.containers(context.machine()), container).await?;
        let stdin = self.interactive && shape.open_stdin;
        stdio::check_tty(stdin, shape.tty)?;
        let attachment = Attachment {
            container: shape.id,
            streams: Streams { stdin, stdout: true, stderr: true },
            tty: shape.tty,
            start: true,
            detach: self.detach_keys,
            sig_proxy: self.sig_proxy,
        };
        match attach(&client, context, attachment).await? {
            Ended::Detached => Ok(0),
            Ended::Exited(exited) => stdio::exit_code(&exited),
        }
    }
}
