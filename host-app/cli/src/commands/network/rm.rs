//! `network rm`.

use clap::Args;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::v1::RemoveNetworkRequest;

use crate::commands::for_each;
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Remove networks
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// No error when there is no such network
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.networks(context.machine());
        for_each(&self.networks, |network| {
            let mut calls = calls.clone();
            async move {
                let request = RemoveNetworkRequest { network: network.clone() };
                match calls.remove(request).await.map_err(Error::from) {
                    Ok(_) => Ok(Some(network)),
                    Err(Error::Failure(f)) if self.force && f.code == ErrorCode::NotFound => {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }
}
