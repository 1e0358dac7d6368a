//! `registry set`.

use std::path::PathBuf;

use clap::Args;
use linkspan_proto::host::v1::{
    RegistryMirrorSetting, RegistrySettingsPatch, UpdateRegistrySettingsRequest,
};

use crate::commands::machine::absolute;
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Change how registries are reached, from every machine
///
/// It counts from the next command on; nothing is restarted. What is removed is removed before
/// anything is added.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Ask this mirror of docker.io too, after those that there are. With `,authoritative` nothing is
    /// asked elsewhere: what it does not have does not exist
    #[arg(long, value_name = "URL[,authoritative]", value_parser = mirror)]
    mirror: Vec<RegistryMirrorSetting>,
    /// Do not ask this mirror any more
    #[arg(long, value_name = "URL")]
    no_mirror: Vec<String>,
    /// Take this registry without TLS, or with any certificate: HOST, HOST:PORT or ADDRESS/BITS
    #[arg(long, value_name = "REGISTRY")]
    insecure: Vec<String>,
    /// Do not take this registry so any more
    #[arg(long, value_name = "REGISTRY")]
    no_insecure: Vec<String>,
    /// Trust the certificates in this file (PEM) beyond those of this host
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Do not trust those in this file any more
    #[arg(long, value_name = "FILE")]
    no_ca: Vec<PathBuf>,
    /// The proxy for plain HTTP. Empty: as HTTP_PROXY says to the daemon
    #[arg(long, value_name = "URL")]
    http_proxy: Option<String>,
    /// The proxy for HTTPS. Empty: as HTTPS_PROXY says to the daemon
    #[arg(long, value_name = "URL")]
    https_proxy: Option<String>,
    /// What is reached without a proxy. Empty: as NO_PROXY says to the daemon
    #[arg(long, value_name = "HOSTS")]
    no_proxy: Option<String>,
    /// How many layers are downloaded at once. 0: the default, 3
    #[arg(long, value_name = "NUMBER")]
    parallel_downloads: Option<u32>,
    /// How many layers are uploaded at once. 0: the default, 5
    #[arg(long, value_name = "NUMBER")]
    parallel_uploads: Option<u32>,
}

fn mirror(text: &str) -> Result<RegistryMirrorSetting, String> {
    let (url, authoritative) = match text.split_once(',') {
        None => (text, false),
        Some((url, "authoritative")) => (url, true),
        Some((_, other)) => {
            return Err(format!("`{other}` is not known: only `authoritative` is"));
        }
    };
    Ok(RegistryMirrorSetting { url: url.into(), authoritative })
}

impl Set {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let patch = RegistrySettingsPatch {
            add_mirrors: self.mirror,
            remove_mirrors: self.no_mirror,
            add_insecure: self.insecure,
            remove_insecure: self.no_insecure,
            http_proxy: self.http_proxy,
            https_proxy: self.https_proxy,
            no_proxy: self.no_proxy,
            add_authority_files: absolute(self.ca)?,
            remove_authority_files: absolute(self.no_ca)?,
            parallel_downloads: self.parallel_downloads,
            parallel_uploads: self.parallel_uploads,
        };
        if patch == RegistrySettingsPatch::default() {
            return Err(Error::invalid(
                "nothing to change: give --mirror, --insecure, --ca, --http-proxy, --https-proxy, \
                 --no-proxy, --parallel-downloads or --parallel-uploads",
            ));
        }
        let client = context.client().await?;
        let request = UpdateRegistrySettingsRequest { patch: Some(patch) };
        client.host().update_registry_settings(request).await?;
        Ok(0)
    }
}
