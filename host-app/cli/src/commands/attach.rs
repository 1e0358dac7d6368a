//! `attach`.

use clap::{ArgAction, Args};
use linkspan_proto::error::{ErrorCode, Failure};

use super::{Attachment, attach, shape};
use crate::args::container::Streams;
use crate::context::Context;
use crate::error::Outcome;
use crate::terminal::detach::DetachKeys;
use crate::terminal::stdio::{self, Ended};

/// Connect the terminal with a running container
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Do not connect standard input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    /// The keys that leave the container without ending it
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Its name or id
    container: String,
}

impl Attach {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let shape = shape(&mut client.containers(context.machine()), &self.container).await?;
        let refuse = |what: &str, hint: String| {
            let message = format!("cannot attach to `{}`: it {what}", self.container);
            Err(Failure::new(ErrorCode::WrongState, message).hint(hint).into())
        };
        if shape.paused {
            return refuse("is paused", format!("`linkspan unpause {}` first", self.container));
        }
        if !shape.running {
            return refuse("does not run", format!("`linkspan start -a {}`", self.container));
        }
        let stdin = !self.no_stdin && shape.open_stdin;
        stdio::check_tty(stdin, shape.tty)?;
        let attachment = Attachment {
            container: shape.id,
            streams: Streams { stdin, stdout: true, stderr: true },
            tty: shape.tty,
            start: false,
            detach: self.detach_keys,
            // With a terminal in raw mode Ctrl-C is a byte; other signals are for us, as in
            // Docker's `attach`.
            sig_proxy: self.sig_proxy && !shape.tty,
        };
        match attach(&client, &context, attachment).await? {
            Ended::Detached => Ok(0),
            Ended::Exited(exited) => stdio::exit_code(&exited),
        }
    }
}
