//! `search`.

use clap::Args;
use linkspan_credentials::Registry;
use linkspan_proto::v1::SearchImagesRequest;

use super::credentials;
use crate::context::Context;
use crate::error::Outcome;
use crate::render;
use crate::render::format::{Format, FormatFlag};

/// Search a registry for images
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Only those that match: `is-official=true|false`, `stars=NUMBER` (at least so many)
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// At most so many. 0: as many as the registry gives
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    limit: u32,
    /// Whole descriptions
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: FormatFlag,
    /// What to look for; may begin with a registry and a slash
    #[arg(value_name = "TERM")]
    term: String,
}

impl Search {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let credentials = credentials::of(&Registry::of_image(&self.term)).await?;
        let client = context.running().await?;
        let Self { term, limit, filter: filters, .. } = self;
        let request = SearchImagesRequest { term, limit, filters, credentials };
        let answer = client.registry(context.machine()).search(request).await?.into_inner();
        render::print(&render::search::list(&format, answer.images, self.no_trunc)?)?;
        Ok(0)
    }
}
