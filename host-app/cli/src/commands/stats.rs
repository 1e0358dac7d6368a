//! `stats`.

use clap::Args;
use linkspan_proto::v1::ContainerStatsRequest;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, stats};

/// To the first cell, and what follows it is cleared: each table is drawn over the one before.
const HOME: &str = "\x1b[H\x1b[J";

/// Show what containers use, once a second
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Print one table and end
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: FormatFlag,
    /// Names or ids; none: those that run
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stats {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let request = ContainerStatsRequest { containers: self.containers, all: self.all };
        let mut answers = client.containers(context.machine()).stats(request).await?.into_inner();
        // CPU time needs two samples; the first is only a beginning.
        answers.message().await.map_err(Error::from)?;
        while let Some(answer) = answers.message().await.map_err(Error::from)? {
            let table = stats::list(&format, &answer.containers, self.no_trunc)?;
            if self.no_stream {
                render::print(&table)?;
                break;
            }
            let redraw = matches!(format, Format::Table | Format::Columns(_));
            render::print(&if redraw { format!("{HOME}{table}") } else { table })?;
        }
        Ok(0)
    }
}
