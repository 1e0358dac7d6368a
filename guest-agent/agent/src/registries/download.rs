//! Files from anywhere: what an import of a URL and a build's remote context want.

use std::path::PathBuf;

use linkspan_images::Scratch;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_registry::DownloadError;

use super::Registries;
use crate::failure::{chain, of_io, of_registries};

/// A file that was fetched; it goes with its value.
pub(crate) struct Downloaded(Scratch);

impl Downloaded {
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("file")
    }

    /// The folder that the file is in.
    pub(crate) fn into_folder(self) -> Scratch {
        self.0
    }
}

impl Registries {
    /// Fetches what http:// or https:// has, by the proxies and certificates of registries.
    ///
    /// # Errors
    /// The server cannot be reached or does not give the file; the disk is full.
    pub(crate) async fn download(&self, url: &str) -> Result<Downloaded, Failure> {
        let store = self.store().clone();
        let scratch = super::blocking(move || store.scratch("download")).await;
        let file = Downloaded(scratch.map_err(|error| of_registries(&error))?);
        let fetched = self.client().download(url, &file.path()).await;
        fetched.map_err(|error| {
            let code = match &error {
                DownloadError::Write(error) => of_io(error),
                _ => ErrorCode::Unavailable,
            };
            Failure::new(code, format!("cannot fetch `{url}`: {}", chain(&error)))
        })?;
        Ok(file)
    }
}
