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
    /// The newest N, whatever their state; -1 for no limit, and only those that run
    #[arg(short = 'n', long, value_name = "N", value_parser = last, allow_negative_numbers = true)]
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

/// Docker's default is -1: not asked for. As there, any other number below 1 is the same.
///
/// # Errors
/// Not a number.
fn last(text: &str) -> Result<u32, String> {
    let number: i64 = text.parse().map_err(|_| "give a number".to_owned())?;
    u32::try_from(number.max(0)).map_err(|_| format!("{number} is too many"))
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
            ..ListContainersRequest::default()
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

#[cfg(test)]
mod tests {
    use super::last;

    #[test]
    fn a_number_below_one_is_no_limit() {
        for (text, limit) in [("3", 3), ("0", 0), ("-1", 0), ("-7", 0)] {
            assert_eq!(last(text), Ok(limit), "{text}");
        }
        assert!(last("x").is_err() && last("4294967296").is_err());
    }
}
