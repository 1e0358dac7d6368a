//! `network inspect`.

use clap::Args;
use linkspan_docker_types::network::Network;
use linkspan_proto::v1::InspectNetworkRequest;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::{format::Format, inspect};

/// Show all that is known of networks, as JSON
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// `json` (one line each) or a Go template such as '{{.Driver}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// More detail, for Docker's sake: there is no cluster that could have it
    #[arg(short, long)]
    verbose: bool,
    /// Names or ids
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Inspect {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.as_deref())?;
        let client = context.running().await?;
        let mut calls = client.networks(context.machine());
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for network in self.networks {
            match calls.inspect(InspectNetworkRequest { network }).await {
                Ok(answer) => {
                    let network = answer.into_inner().network.unwrap_or_default();
                    found.push(Network::from(&network));
                }
                Err(status) => failures.push(Error::from(status)),
            }
        }
        inspect::show(&format, &found, failures)
    }
}
