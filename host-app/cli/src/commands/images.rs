//! `images`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::ListImagesRequest;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, human, image};

/// List images
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Also those without a name
    #[arg(short, long)]
    all: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Also the digests of the manifests
    #[arg(long)]
    digests: bool,
    /// Only those that match: `reference=PATTERN`, `label=KEY[=VALUE]`, `label!=KEY`,
    /// `dangling=true`, `before=IMAGE`, `since=IMAGE`, `until=24h`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
    /// Only this repository or reference
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Images {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let request = ListImagesRequest {
            references: self.reference.into_iter().collect(),
            all: self.all,
            filters: self.filter,
        };
        let images = client.images(context.machine()).list(request).await?.into_inner().images;
        let rows: Vec<image::Named<'_>> =
            images.iter().flat_map(|image| image::named(image, self.digests)).collect();
        if self.quiet && format.is_table() {
            let ids: String = rows
                .iter()
                .map(|row| human::short_id(&row.image.id, self.no_trunc).to_owned() + "\n")
                .collect();
            render::print(&ids)?;
            return Ok(0);
        }
        let text = image::list(&format, &rows, self.no_trunc, self.digests, Timestamp::now())?;
        render::print(&text)?;
        Ok(0)
    }
}

/// A reference that must be given and not be empty.
///
/// # Errors
/// When it is empty.
pub(crate) fn not_empty(reference: &str, what: &str) -> Result<(), Error> {
    if reference.is_empty() {
        return Err(Failure::new(ErrorCode::InvalidArgument, format!("{what} is empty")).into());
    }
    Ok(())
}
