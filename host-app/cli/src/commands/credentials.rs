//! As whom a call goes to a registry.

use linkspan_credentials::{DockerConfig, Registry, RegistryCredentials};
use linkspan_proto::error::Failure;

use crate::error::Error;

/// What this user has for a registry; nothing: as anybody. Looked up here and not left to the daemon,
/// whose `DOCKER_CONFIG` and `PATH` are those of whoever started it.
///
/// # Errors
/// A configuration that cannot be read, a credential helper that fails.
pub(crate) async fn of(registry: &Registry) -> Result<Option<RegistryCredentials>, Error> {
    let config = DockerConfig::discover().map_err(Failure::from)?;
    let found = config.get(registry).await.map_err(Failure::from)?;
    Ok(Some(found.unwrap_or_default()))
}
