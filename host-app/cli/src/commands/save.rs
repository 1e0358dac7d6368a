//! `save`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use linkspan_client::new_stream_id;
use linkspan_proto::v1::{ArchiveFormat, SaveImagesRequest};

use super::export::{Target, both};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Write images as one archive, for `load`
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only the images of this platform, such as linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// `docker`: what older readers take too, or `oci`: an OCI layout. Both in one when not given
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// References or ids; a repository without a tag means all of its tags
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Docker,
    Oci,
}

impl Save {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let mut target = Target::open(self.output.as_deref())?;
        let client = context.running().await?;
        let id = new_stream_id();
        let stream = client.download(context.machine(), id).await?;
        let format = match self.format {
            None => ArchiveFormat::Unspecified,
            Some(Format::Docker) => ArchiveFormat::Docker,
            Some(Format::Oci) => ArchiveFormat::Oci,
        };
        let request = SaveImagesRequest {
            images: self.images,
            stream_id: id.to_string(),
            format: format.into(),
            platform: self.platform.unwrap_or_default(),
        };
        let mut calls = client.images(context.machine());
        let call = async { calls.save(request).await.map(drop).map_err(Error::from) };
        let result = both(call, target.take(stream)).await;
        target.close(result.is_ok()).await?;
        result.map(|_| 0)
    }
}
