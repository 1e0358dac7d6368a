//! `load`, and how an archive goes to the agent.

use std::future::Future;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use linkspan_client::{Client, new_stream_id};
use linkspan_proto::v1::{LoadImageRequest, load_image_response::Kind};
use tokio::io::AsyncRead;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// How long the call's own error may take when the byte stream breaks off.
const CALLS_OWN_WORD: Duration = Duration::from_secs(5);

/// Load images from an archive
///
/// An OCI layout or what `docker save` writes, as tar, plain or compressed with
/// gzip, bzip2, xz or zstd.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Read from this file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The images of this platform, such as linux/arm64, instead of the machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let source = open(self.input.as_deref()).await?;
        let client = context.running().await?;
        let progress = (!self.quiet && std::io::stderr().is_terminal()).then(spinner);
        let id = new_stream_id();
        let platform = self.platform.unwrap_or_default();
        let request = LoadImageRequest { stream_id: id.to_string(), platform };
        let mut calls = client.images(context.machine());
        let call = async {
            let mut answers = calls.load(request).await?.into_inner();
            let mut lines = Vec::new();
            while let Some(answer) = answers.message().await? {
                match answer.kind {
                    Some(Kind::Progress(now)) => {
                        if let Some(bar) = &progress {
                            bar.set_message(now.layer);
                            bar.set_position(now.bytes);
                        }
                    }
                    Some(Kind::Loaded(image)) if image.tags.is_empty() => {
                        lines.push(format!("Loaded image ID: {}", image.id));
                    }
                    Some(Kind::Loaded(image)) => {
                        lines.extend(image.tags.iter().map(|tag| format!("Loaded image: {tag}")));
                    }
                    None => {}
                }
            }
            Ok(lines)
        };
        let result = with_upload(&client, &context, id, source, call).await;
        if let Some(bar) = progress {
            bar.finish_and_clear();
        }
        for line in result? {
            render::line(&line)?;
        }
        Ok(0)
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {bytes} {binary_bytes_per_sec} {msg}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(80));
    bar
}

/// An archive's bytes: a file, or standard input when that is not a terminal.
///
/// # Errors
/// A file that cannot be read; a terminal.
pub(crate) async fn open(path: Option<&Path>) -> Result<Box<dyn AsyncRead + Unpin>, Error> {
    let Some(path) = path else {
        if std::io::stdin().is_terminal() {
            return Err(Error::invalid(
                "an archive is wanted from standard input, which is a terminal: name a file or \
                 pipe one in",
            ));
        }
        return Ok(Box::new(tokio::io::stdin()));
    };
    let cannot = |why: String| Error::invalid(format!("cannot read `{}`: {why}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(|error| cannot(error.to_string()))?;
    let metadata = file.metadata().await.map_err(|error| cannot(error.to_string()))?;
    if metadata.is_dir() {
        return Err(cannot("it is a folder".into()));
    }
    Ok(Box::new(file))
}

/// Runs a call beside the byte stream that it names. When both fail the call knows why.
///
/// # Errors
/// The call's, else the stream's.
pub(crate) async fn with_upload<T>(
    client: &Client,
    context: &Context,
    id: uuid::Uuid,
    source: Box<dyn AsyncRead + Unpin>,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::pin!(call);
    let upload = client.upload(context.machine(), id, source);
    let lost = tokio::select! {
        result = &mut call => return result,
        sent = upload => sent.err(),
    };
    let Some(lost) = lost else {
        return call.await;
    };
    match tokio::time::timeout(CALLS_OWN_WORD, call).await {
        Ok(result) => result,
        Err(_) => Err(lost.into()),
    }
}
