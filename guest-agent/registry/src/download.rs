//! A file from anywhere: what ADD of a URL wants.

use std::path::Path;

use http::header::LOCATION;
use http::{Request, Uri};
use tokio::io::AsyncWriteExt as _;

use crate::client::Client;
use crate::error::Error;
use crate::transport::full;

/// As many as Go's client follows.
const MAX_REDIRECTS: usize = 10;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server does not give it.
    #[error("{0}")]
    Refused(String),
    /// The way there.
    #[error(transparent)]
    Transport(#[from] Error),
    /// It cannot be kept.
    #[error("cannot write what comes")]
    Write(#[source] std::io::Error),
}

impl Client {
    /// Writes what is at a URL to a file. Redirects are followed; nobody is told who asks.
    ///
    /// # Errors
    /// The server cannot be reached or does not give the file; `to` cannot be written.
    pub async fn download(&self, url: &str, to: &Path) -> Result<(), DownloadError> {
        let transport = &self.inner.transport;
        let bad = |why: &str| DownloadError::Refused(why.to_owned());
        let mut uri: Uri = url.parse().map_err(|_| bad("it is not a URL"))?;
        let mut response = None;
        for _ in 0..=MAX_REDIRECTS {
            let request = Request::get(uri.clone()).body(full(bytes::Bytes::new()));
            let request = request.map_err(|_| bad("it is not a URL"))?;
            let answer = transport.send(url, request, transport.stall()).await?;
            if !answer.status().is_redirection() {
                response = Some(answer);
                break;
            }
            let next = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = next.ok_or_else(|| bad("it redirects to nowhere"))?;
            uri = absolute(&uri, next).ok_or_else(|| bad("it redirects to no URL"))?;
        }
        let response = response.ok_or_else(|| bad("it redirects too often"))?;
        if !response.status().is_success() {
            return Err(bad(&format!("the server answered {}", response.status())));
        }
        let local = DownloadError::Write;
        let mut file = tokio::fs::File::create(to).await.map_err(local)?;
        let mut body = response.into_body();
        while let Some(bytes) = transport.next(url, &mut body).await? {
            file.write_all(&bytes).await.map_err(local)?;
        }
        file.flush().await.map_err(local)
    }
}

/// Where a redirect leads (RFC 3986, section 5; relative paths without dots).
fn absolute(from: &Uri, to: &str) -> Option<Uri> {
    if to.contains("://") {
        return to.parse().ok();
    }
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    if let Some(rest) = to.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    let path = if to.starts_with('/') {
        to.to_owned()
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{to}")
    };
    format!("{scheme}://{authority}{path}").parse().ok()
}
