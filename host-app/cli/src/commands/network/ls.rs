//! `network ls`.

use clap::Args;
use linkspan_proto::v1::ListNetworksRequest;

use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, human, network};

/// List networks
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only those that match: id, name, driver, label, type, scope, dangling
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
}

impl Ls {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let request = ListNetworksRequest { filters: self.filter };
        let answer = client.networks(context.machine()).list(request).await?.into_inner();
        let mut networks = answer.networks;
        // Docker's order.
        networks.sort_by(|a, b| network::name(a).cmp(network::name(b)));
        if self.quiet && format.is_table() {
            let id = |one: &linkspan_proto::v1::Network| {
                human::short_id(&one.id, self.no_trunc).to_owned() + "\n"
            };
            render::print(&networks.iter().map(id).collect::<String>())?;
            return Ok(0);
        }
        render::print(&network::list(&format, &networks, self.no_trunc)?)?;
        Ok(0)
    }
}
