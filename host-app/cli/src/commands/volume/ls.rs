//! `volume ls`.

use clap::Args;
use linkspan_proto::v1::ListVolumesRequest;

use super::calls;
use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, volume};

/// List volumes
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only the names
    #[arg(short, long)]
    quiet: bool,
    /// Only those that match: `dangling=true|false`, `driver=`, `label=`, `name=`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
}

impl Ls {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let request = ListVolumesRequest { filters: self.filter };
        let volumes = calls(&context).await?.list(request).await?.into_inner().volumes;
        if self.quiet && format.is_table() {
            let names: String = volumes.iter().map(|volume| volume.name.clone() + "\n").collect();
            render::print(&names)?;
        } else {
            render::print(&volume::list(&format, &volumes)?)?;
        }
        Ok(0)
    }
}
