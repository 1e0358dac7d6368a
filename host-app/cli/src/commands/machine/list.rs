//! `machine list`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::host::v1::ListMachinesRequest;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::format::{Format, FormatFlag, json_line};
use crate::render::{self, machine};

/// List machines
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only the names
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    format: FormatFlag,
}

impl List {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.client().await?;
        let machines = client.machines().list(ListMachinesRequest {}).await?.into_inner().machines;
        let text = match &format {
            Format::Table if self.quiet => {
                machines.iter().map(|one| one.name.clone() + "\n").collect()
            }
            // All that is known, as `machine status` has it.
            Format::Json => machines
                .iter()
                .map(|one| json_line(&machine::View::from(one)))
                .collect::<Result<String, Error>>()?,
            other => machine::list(other, &machines, Timestamp::now())?,
        };
        render::print(&text)?;
        Ok(0)
    }
}
