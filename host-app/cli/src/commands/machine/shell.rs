//! `machine shell`.

use std::io::IsTerminal as _;

use clap::Args;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::v1::{ShellOpen, ShellRequest, StdioInput, shell_request};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Which;
use crate::commands::{INPUTS, terminal_size};
use crate::context::{Context, start_machine};
use crate::error::{Error, Outcome};
use crate::terminal::detach::DetachKeys;
use crate::terminal::stdio::{self, Ended, Plan, Signals};

/// Open a root shell in the VM itself, or run one command there
///
/// Everything there is the machine's own: mistakes can break it. `linkspan machine rm` and a new
/// one are the way back.
#[derive(Debug, Args)]
#[command(override_usage = "linkspan machine shell [NAME] [-- COMMAND [ARG...]]")]
pub(crate) struct Shell {
    #[command(flatten)]
    which: Which,
    /// The command, instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Shell {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let name = self.which.name(&context);
        start_machine(&client, name).await.map_err(|error| self.or_a_command(error))?;
        let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let term = std::env::var("TERM").ok().filter(|_| tty);
        let open = ShellOpen {
            args: self.command.clone(),
            tty,
            size: terminal_size(tty),
            env: term.map(|term| format!("TERM={term}")).into_iter().collect(),
        };
        let (inputs, receiver) = mpsc::channel(INPUTS);
        // The channel is new and empty: there is room for the first message.
        let _ = inputs.try_send(ShellRequest { kind: Some(shell_request::Kind::Open(open)) });
        let outputs = client.agent(name).shell(ReceiverStream::new(receiver)).await?.into_inner();
        let plan =
            Plan { stdin: true, tty, detach: DetachKeys::default(), signals: Signals::ToProcess };
        match stdio::bridge(plan, inputs, shell_input, outputs).await? {
            Ended::Detached => Ok(0),
            Ended::Exited(exited) => stdio::exit_code(&exited),
        }
    }

    /// `machine shell uname`: the word may have been meant as the command.
    fn or_a_command(&self, error: Error) -> Error {
        match (error, &self.which.name) {
            (Error::Failure(failure), Some(word))
                if failure.code == ErrorCode::NotFound && self.command.is_empty() =>
            {
                let hint = "in the default machine a command runs as `linkspan machine shell --";
                Error::Failure(failure.hint(format!("{hint} {word}`")))
            }
            (error, _) => error,
        }
    }
}

fn shell_input(input: StdioInput) -> ShellRequest {
    ShellRequest { kind: Some(shell_request::Kind::Input(input)) }
}
