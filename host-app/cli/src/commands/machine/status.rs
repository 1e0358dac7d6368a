//! `machine status`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::host::v1::InspectMachineRequest;

use super::Which;
use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::single;
use crate::render::{self, machine};

/// Show a machine's state, settings, boot and use
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    which: Which,
    /// `json` or a Go template such as '{{.State}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Status {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let request = InspectMachineRequest { name: self.which.of(&context) };
        let machine =
            client.machines().inspect(request).await?.into_inner().machine.ok_or_else(|| {
                Failure::new(ErrorCode::Internal, "the daemon answered without a machine")
            })?;
        let view = machine::View::from(&machine);
        let text = single(self.format.as_deref(), &view, || {
            machine::describe(&machine, Timestamp::now())
        })?;
        render::print(&text)?;
        Ok(0)
    }
}
