//! `logout`.

use clap::Args;
use linkspan_credentials::{DockerConfig, Registry};
use linkspan_proto::error::Failure;

use crate::error::Outcome;
use crate::render;

/// Log out from a registry
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The registry. Docker Hub when not given
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Logout {
    /// Needs neither the daemon nor a machine: the credentials are this user's.
    pub(crate) async fn run(self) -> Outcome {
        let registry = Registry::of_server(self.server.as_deref().unwrap_or_default());
        render::line(&format!("Removing login credentials for {}", registry.key()))?;
        let config = DockerConfig::discover().map_err(Failure::from)?;
        config.erase(&registry).await.map_err(Failure::from)?;
        Ok(0)
    }
}
