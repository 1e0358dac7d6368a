//! `builder prune`, `builder du`.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use linkspan_proto::v1::{BuildUsageRequest, PruneBuildsRequest};

use super::confirm::confirm;
use crate::args::size;
use crate::context::Context;
use crate::error::Outcome;
use crate::render::{self, human, table::align};

/// Manage what builds keep for later ones
#[derive(Debug, Args)]
pub(crate) struct BuilderCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Prune(Prune),
    Du(Du),
    Build(Box<super::build::Build>),
}

impl BuilderCommand {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Prune(verb) => verb.run(context).await,
            Verb::Du(verb) => verb.run(context).await,
            Verb::Build(verb) => verb.run(context).await,
        }
    }
}

/// Remove what builds keep and no image shares
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Also what images share
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only these: until=24h, type=regular|exec.cachemount|source.local, id=, description=, shared=,
    /// inuse=; `!=` for the opposite
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// So much may stay, the last used first
    #[arg(long, value_name = "BYTES", value_parser = size::bytes, visible_alias = "max-used-space")]
    keep_storage: Option<u64>,
}

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let what = if self.all {
            "WARNING! This will remove all that builds keep."
        } else {
            "WARNING! This will remove what builds keep and no image shares."
        };
        if !self.force && !confirm(what) {
            return Ok(0);
        }
        let client = context.running().await?;
        let request = PruneBuildsRequest {
            all: self.all,
            filters: self.filter,
            keep_bytes: self.keep_storage.unwrap_or_default(),
        };
        let pruned = client.builds(context.machine()).prune(request).await?.into_inner();
        for id in &pruned.removed {
            render::line(id)?;
        }
        render::line(&format!("Total:\t{}", human::size(pruned.reclaimed_bytes)))?;
        Ok(0)
    }
}

/// Show what builds keep for later ones
#[derive(Debug, Args)]
pub(crate) struct Du {}

impl Du {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let usage =
            client.builds(context.machine()).usage(BuildUsageRequest {}).await?.into_inner();
        let mut text = "ID\tTYPE\tSIZE\tUSES\tSHARED\tLAST USED\tDESCRIPTION\n".to_owned();
        for record in &usage.records {
            let columns = [
                record.id.chars().take(12).collect(),
                record.kind.clone(),
                human::size(record.size_bytes),
                record.uses.to_string(),
                record.shared.to_string(),
                human::ago(record.last_used_unix_nanos, Timestamp::now()),
                record.description.clone(),
            ];
            text += &columns.join("\t");
            text.push('\n');
        }
        render::print(&align(&text))?;
        let total: u64 = usage.records.iter().map(|record| record.size_bytes).sum();
        render::line(&format!("Total:\t{}", human::size(total)))?;
        Ok(0)
    }
}
