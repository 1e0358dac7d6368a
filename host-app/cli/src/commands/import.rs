//! `import`.

use std::path::Path;

use clap::Args;
use linkspan_client::new_stream_id;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::ImportImageRequest;

use super::load::{open, with_upload};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Make an image of a root file system in an archive
///
/// As tar, gzip or zstd.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What the image's history says
    #[arg(short, long)]
    message: Option<String>,
    /// The archive, or `-` for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Import {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if self.file.starts_with("http://") || self.file.starts_with("https://") {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                format!("cannot import `{}`: downloads are not supported yet", self.file),
            )
            .hint("download it, and import the file or pipe it in with `-`")
            .into());
        }
        let path = (self.file != "-").then(|| Path::new(&self.file));
        let source = open(path).await?;
        let client = context.running().await?;
        let id = new_stream_id();
        let request = ImportImageRequest {
            stream_id: id.to_string(),
            reference: self.reference.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            ..Default::default()
        };
        let mut calls = client.images(context.machine());
        let call = async { Ok::<_, Error>(calls.import(request).await?.into_inner().id) };
        render::line(&with_upload(&client, &context, id, source, call).await?)?;
        Ok(0)
    }
}
