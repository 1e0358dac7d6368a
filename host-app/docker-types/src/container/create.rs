//! `POST /containers/create`.

use std::collections::BTreeMap;

use linkspan_proto::v1::{
    ContainerNetworkConfig, CreateContainerRequest, CreateContainerResponse, EndpointConfig,
};
use serde::{Deserialize, Serialize};

use super::check;
use super::config::Config;
use super::host_config::HostConfig;
use super::network::{self, EndpointSettings, NetworkingConfig};
use super::read;
use crate::error::{Malformed, Refused};
use crate::json;

/// The body. It is a `Config` with two more fields.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct CreateBody {
    pub config: Config,
    pub host_config: HostConfig,
    pub networking_config: NetworkingConfig,
}

/// What stands beside the fields of `Config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Beside {
    host_config: HostConfig,
    networking_config: NetworkingConfig,
}

/// A body in our terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// For the engine.
    pub request: CreateContainerRequest,
    /// For the answer, before the engine's own.
    pub warnings: Vec<String>,
}

/// The answer, with status 201.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct CreateAnswer {
    pub id: String,
    pub warnings: Vec<String>,
}

impl CreateAnswer {
    /// With the warnings of a [`Create`].
    #[must_use]
    pub fn new(answer: CreateContainerResponse, mut warnings: Vec<String>) -> Self {
        warnings.extend(answer.warnings);
        Self { id: answer.id, warnings }
    }
}

impl CreateBody {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not JSON, or a field has the wrong type.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let value = json::value(body)?;
        let Beside { host_config, networking_config } = json::from_value(value.clone())?;
        Ok(Self { config: json::from_value(value)?, host_config, networking_config })
    }

    /// What it asks of the engine, for a container of this name (empty: a generated one). What the
    /// version of the API changes has been done: see [`crate::compat::create`].
    ///
    /// # Errors
    /// The first field that is not supported or has no meaning.
    pub fn request(self, name: &str) -> Result<Create, Refused> {
        let Self { config, host_config, networking_config } = self;
        check::create(name, &config, &host_config, &networking_config)?;
        let warnings = warnings(&host_config);
        let (mut wire, network_disabled) = read::config(config)?;
        let mode = if network_disabled { "none" } else { &host_config.network_mode };
        wire.network = Some(ContainerNetworkConfig {
            endpoints: endpoints(mode, &networking_config.endpoints_config)?,
            dns_servers: host_config.dns.clone(),
            dns_search: host_config.dns_search.clone(),
            dns_options: host_config.dns_options.clone(),
            extra_hosts: host_config.extra_hosts.clone().unwrap_or_default(),
        });
        read::host_config(host_config, &mut wire)?;
        let request = CreateContainerRequest {
            name: name.to_owned(),
            config: Some(wire),
            ..CreateContainerRequest::default()
        };
        Ok(Create { request, warnings })
    }
}

/// Docker discards these limits too, and says so.
fn warnings(host: &HostConfig) -> Vec<String> {
    [(host.kernel_memory, "kernel memory"), (host.kernel_memory_tcp, "kernel memory TCP")]
        .into_iter()
        .filter(|(limit, _)| *limit > 0)
        .map(|(_, what)| {
            format!("Your kernel does not support {what} limit capabilities. Limitation discarded.")
        })
        .collect()
}

/// Those that are configured, the one of the mode first; without any, that of the mode.
fn endpoints(
    mode: &str,
    configured: &BTreeMap<String, Option<EndpointSettings>>,
) -> Result<Vec<EndpointConfig>, Refused> {
    let main = network::name(mode);
    let alone = ["host", "none"].contains(&main) || main.starts_with("container:");
    if alone && configured.keys().any(|name| network::name(name) != main) {
        return Err(Refused::Invalid(
            "conflicting options: container sharing network namespace with another container or host cannot be connected to any other network".into(),
        ));
    }
    let mut all = Vec::new();
    for (name, settings) in configured {
        let endpoint = settings.clone().unwrap_or_default().read(network::name(name))?;
        let at = if endpoint.network == main { 0 } else { all.len() };
        all.insert(at, endpoint);
    }
    if all.is_empty() && main != network::DEFAULT {
        all.push(EndpointConfig { network: main.to_owned(), ..EndpointConfig::default() });
    }
    Ok(all)
}
