//! `exec`.

use std::path::PathBuf;

use clap::Args;
use linkspan_proto::v1::{ExecOpen, ExecRequest, StdioInput, exec_request};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{INPUTS, terminal_size};
use crate::args::env;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::terminal::detach::DetachKeys;
use crate::terminal::stdio::{self, Ended, Plan, Signals};

/// Run one more command in a running container
#[derive(Debug, Args)]
#[command(override_usage = "linkspan exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
pub(crate) struct Exec {
    /// Connect standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Start it in the background
    #[arg(short, long)]
    detach: bool,
    /// The keys that leave the process without ending it
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,
    /// Set an environment variable; a name alone takes our own value
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// The user, as name or number, and the group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Every capability
    #[arg(long)]
    privileged: bool,
    /// The container, then the command and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true,
        value_names = ["CONTAINER", "COMMAND"])]
    container_and_command: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let stdin = self.interactive && !self.detach;
        stdio::check_tty(stdin, self.tty)?;
        let (container, args) = self
            .container_and_command
            .split_first()
            .ok_or_else(|| Error::invalid("a container is missing"))?;
        let open = ExecOpen {
            container: container.clone(),
            args: args.to_vec(),
            env: env::environment(&self.env_file, &self.env, |name| std::env::var(name).ok())?,
            working_dir: self.workdir.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            tty: self.tty,
            stdin,
            privileged: self.privileged,
            detach: self.detach,
            size: terminal_size(self.tty),
            id: String::new(),
        };
        let client = context.running().await?;
        let (inputs, receiver) = mpsc::channel(INPUTS);
        // The channel is new and empty: there is room for the first message.
        let _ = inputs.try_send(ExecRequest { kind: Some(exec_request::Kind::Open(open)) });
        let mut outputs = client
            .containers(context.machine())
            .exec(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        if self.detach {
            // `started`, or why not. The stream ends then.
            outputs.message().await?;
            return Ok(0);
        }
        let signals = Signals::ToProcess;
        let plan = Plan { stdin, tty: self.tty, detach: self.detach_keys, signals };
        match stdio::bridge(plan, inputs, exec_input, outputs).await? {
            Ended::Detached => Ok(0),
            Ended::Exited(exited) => stdio::exit_code(&exited),
        }
    }
}

fn exec_input(input: StdioInput) -> ExecRequest {
    ExecRequest { kind: Some(exec_request::Kind::Input(input)) }
}
