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
    /// Also what each has written, and that with its image
    #[arg(short, long)]
    size: bool,
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
        // As with Docker, asking for the size by name is asking for it.
        let named = self.format.format.as_deref().is_some_and(|text| text.contains(".Size"));
        let request = ListContainersRequest {
            all: self.all,
            last: if self.latest { 1 } else { self.last.unwrap_or(0) },
            filters: self.filter,
            size: self.size || named,
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
        let show = container::Show { whole: self.no_trunc, size: self.size };
        render::print(&container::list(&format, &containers, show, Timestamp::now())?)?;
        Ok(0)
    }
}
