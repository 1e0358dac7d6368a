//! `system df`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::v1::DiskUsageRequest;

use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, disk_usage};

/// Show what images, containers and volumes take of the disk
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// A line for each of them
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    format: FormatFlag,
}

impl Df {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let usage = client.system(context.machine()).disk_usage(DiskUsageRequest {}).await?;
        let usage = usage.into_inner();
        render::print(&match self.verbose {
            true => disk_usage::everything(&format, &usage, Timestamp::now())?,
            false => disk_usage::summary(&format, &usage)?,
        })?;
        Ok(0)
    }
}
