//! `history`.

use clap::{ArgAction, Args};
use jiff::Timestamp;
use linkspan_proto::v1::InspectImageRequest;

use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, history};

/// Show how an image was made, the newest step first
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Sizes and times for people; `--human=false`: bytes and RFC 3339
    #[arg(short = 'H', long, action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true")]
    human: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids and instructions
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: FormatFlag,
    /// The image, by reference or id
    #[arg(value_name = "IMAGE")]
    image: String,
}

impl History {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let request = InspectImageRequest { image: self.image };
        let answer = client.images(context.machine()).inspect(request).await?.into_inner();
        let image = answer.image.unwrap_or_default();
        let look = history::Look { whole: self.no_trunc, human: self.human };
        render::print(&match self.quiet && format.is_table() {
            true => history::ids(&image, look),
            false => history::list(&format, &image, look, Timestamp::now())?,
        })?;
        Ok(0)
    }
}
