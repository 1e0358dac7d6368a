//! `ps`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::v1::ListContainersRequest;

use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, container, human};

/// List containers
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// The newest N, whatever their state
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<u32>,
    /// The newest one, whatever its state
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only those that match, such as `status=exited`, `name=web` or `label=x=y`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
}

impl Ps {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let request = ListContainersRequest {
            all: self.all,
            last: if self.latest { 1 } else { self.last.unwrap_or(0) },
            filters: self.filter,
        };
        let containers =
            client.containers(context.machine()).list(request).await?.into_inner().containers;
        if self.quiet && format.is_table() {
            let ids: String = containers
                .iter()
                .map(|one| human::short_id(&one.id, self.no_trunc).to_owned() + "\n")
                .collect();
            render::print(&ids)?;
            return Ok(0);
        }
        render::print(&container::list(&format, &containers, self.no_trunc, Timestamp::now())?)?;
        Ok(0)
    }
}
