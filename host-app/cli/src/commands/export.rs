//! `export`, and how an archive comes from the agent.

use std::future::Future;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;
use linkspan_client::new_stream_id;
use linkspan_proto::v1::ExportContainerRequest;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::context::Context;
use crate::error::{Error, Outcome};

/// Write all files of a container as a tar archive
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Export {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let mut target = Target::open(self.output.as_deref())?;
        let client = context.running().await?;
        let id = new_stream_id();
        let stream = client.download(context.machine(), id).await?;
        let request =
            ExportContainerRequest { container: self.container, stream_id: id.to_string() };
        let mut calls = client.files(context.machine());
        let call = async { calls.export(request).await.map(drop).map_err(Error::from) };
        let result = both(call, target.take(stream)).await;
        target.close(result.is_ok()).await?;
        result.map(|_| 0)
    }
}

/// Where an archive goes.
pub(crate) struct Target {
    out: Box<dyn AsyncWrite + Send + Unpin>,
    /// A file takes its name when it is complete.
    file: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// A file, or standard output when that is not a terminal.
    ///
    /// # Errors
    /// A file that cannot be written; a terminal.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else {
            if std::io::stdout().is_terminal() {
                return Err(Error::invalid(
                    "an archive would go to standard output, which is a terminal: name a file or \
                     pipe it on",
                ));
            }
            return Ok(Self { out: Box::new(tokio::io::stdout()), file: None });
        };
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let file = std::fs::File::create(&part).map_err(|error| {
            Error::invalid(format!("cannot write `{}`: {error}", part.display()))
        })?;
        let out = Box::new(tokio::fs::File::from_std(file));
        Ok(Self { out, file: Some((part, path.to_owned())) })
    }

    /// Takes all bytes.
    ///
    /// # Errors
    /// When the stream breaks off or nothing more can be written.
    pub(crate) async fn take(&mut self, mut stream: impl AsyncRead + Unpin) -> Result<u64, Error> {
        let copied = tokio::io::copy(&mut stream, &mut self.out).await;
        let copied = copied.map_err(|error| Error::output(&error))?;
        self.out.flush().await.map_err(|error| Error::output(&error))?;
        Ok(copied)
    }

    /// Gives a complete file its name, and deletes another.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) async fn close(self, complete: bool) -> Result<(), Error> {
        let Self { mut out, file } = self;
        // What could be written has been; what counts here is that the file is closed.
        let _ = out.shutdown().await;
        drop(out);
        let Some((part, path)) = file else { return Ok(()) };
        let moved =
            if complete { std::fs::rename(&part, &path) } else { std::fs::remove_file(&part) };
        moved.map_err(|error| Error::invalid(format!("cannot write `{}`: {error}", path.display())))
    }
}

/// Runs a call beside the reading of its byte stream. When both fail the call knows why.
///
/// # Errors
/// The call's, else the reader's.
pub(crate) async fn both<T>(
    call: impl Future<Output = Result<(), Error>>,
    reading: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let (called, read) = tokio::join!(call, reading);
    match (called, read) {
        // Nobody takes what comes: the call's complaint about that is of no interest.
        (_, Err(Error::OutputClosed)) => Err(Error::OutputClosed),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(value)) => Ok(value),
    }
}
