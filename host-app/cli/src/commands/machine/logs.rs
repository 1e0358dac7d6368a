//! `machine logs`.

use clap::Args;
use linkspan_proto::host::v1::SerialLogRequest;

use super::Which;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::terminal::stdout::{Output, Target};

/// Print what the VM wrote to its serial console: kernel and agent
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    which: Which,
    /// Go on with what it writes from now on
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<u64>,
}

impl Logs {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let request = SerialLogRequest {
            name: self.which.of(&context),
            follow: self.follow,
            tail: self.tail,
        };
        let mut answers = client.machines().serial_log(request).await?.into_inner();
        let output = Output::standard()?;
        loop {
            let answer = tokio::select! {
                () = output.failed() => break,
                answer = answers.message() => answer,
            };
            match answer {
                Ok(Some(answer)) => {
                    if !output.write(Target::Stdout, answer.data).await {
                        break;
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    output.finish().await?;
                    return Err(Error::from(status));
                }
            }
        }
        output.finish().await?;
        Ok(0)
    }
}
