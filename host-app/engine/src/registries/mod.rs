//! Registries, as far as the host has a say: as whom a call goes there, and what a guest must know
//! before it goes: mirrors, insecure registries, proxies, certificates.
//!
//! A guest keeps none of it longer than it runs. What it was told is remembered here, and told
//! again when it is another by now: after a change of settings, a login to a mirror, a new
//! certificate, a boot.

mod authorities;
mod settings;

use std::collections::HashMap;

use linkspan_agent_client::AgentChannel;
use linkspan_credentials::{DockerConfig, Registry};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    host::v1,
    v1::{ConfigureRegistriesRequest, RegistryCredentials, RegistryMirror},
};
use linkspan_state::{Config, Paths, RegistrySettings};
use parking_lot::Mutex;

use crate::failure;

/// The settings of one home, and what its guests know of them.
pub(crate) struct Registries {
    /// `None`: this user's, as the environment says at the time of a call.
    docker: Option<DockerConfig>,
    settings: Mutex<RegistrySettings>,
    told: Mutex<HashMap<String, Told>>,
}

/// What a guest was told, during which boot.
struct Told {
    boot_id: String,
    request: ConfigureRegistriesRequest,
}

impl Registries {
    pub(crate) fn new(settings: RegistrySettings, docker: Option<DockerConfig>) -> Self {
        Self { docker, settings: Mutex::new(settings), told: Mutex::default() }
    }

    fn docker(&self) -> Result<DockerConfig, Failure> {
        match &self.docker {
            Some(docker) => Ok(docker.clone()),
            None => Ok(DockerConfig::discover()?),
        }
    }

    /// Puts in what the user has for a registry, where a caller gave nothing.
    pub(crate) async fn authenticate(
        &self,
        registry: &Registry,
        credentials: &mut Option<RegistryCredentials>,
    ) -> Result<(), Failure> {
        if credentials.is_none() {
            *credentials = self.docker()?.get(registry).await?;
        }
        Ok(())
    }

    /// Lets a guest know how registries are reached, unless it does.
    pub(crate) async fn configure(
        &self,
        machine: &str,
        agent: &AgentChannel,
    ) -> Result<(), Failure> {
        let request = self.request().await?;
        let boot_id = agent.connect().await?.boot_id.clone();
        let known = |told: &Told| told.boot_id == boot_id && told.request == request;
        if self.told.lock().get(machine).is_some_and(known) {
            return Ok(());
        }
        agent.registry().configure_registries(request.clone()).await.map_err(|status| {
            let failure = Failure::from(status);
            Failure {
                message: format!("the machine does not take the registry settings: {failure}"),
                ..failure
            }
            .hint("see `linkspan registry show`")
        })?;
        self.told.lock().insert(machine.to_owned(), Told { boot_id, request });
        Ok(())
    }

    /// The settings in the words of the guest.
    async fn request(&self) -> Result<ConfigureRegistriesRequest, Failure> {
        let settings = self.settings.lock().clone();
        let mut mirrors = Vec::new();
        for mirror in &settings.mirrors {
            let mut credentials = None;
            self.authenticate(&Registry::of_server(&mirror.url), &mut credentials).await?;
            let (url, authoritative) = (mirror.url.clone(), mirror.authoritative);
            mirrors.push(RegistryMirror { url, authoritative, credentials });
        }
        let files = settings.authority_files;
        let authorities = tokio::task::spawn_blocking(move || authorities::foreign(&files))
            .await
            .map_err(failure::lost_task)??;
        let proxy = |own: String, variable: &str| match own.as_str() {
            "" => environment(variable),
            _ => own,
        };
        Ok(ConfigureRegistriesRequest {
            mirrors,
            insecure: settings.insecure,
            http_proxy: proxy(settings.http_proxy, "HTTP_PROXY"),
            https_proxy: proxy(settings.https_proxy, "HTTPS_PROXY"),
            no_proxy: proxy(settings.no_proxy, "NO_PROXY"),
            authorities,
            parallel_downloads: settings.parallel_downloads,
            parallel_uploads: settings.parallel_uploads,
        })
    }

    /// What is set.
    pub(crate) fn settings(&self) -> v1::RegistrySettings {
        settings::encode(&self.settings.lock())
    }

    /// Changes what is set, also in the home's configuration.
    pub(crate) async fn update(
        &self,
        paths: &Paths,
        patch: v1::RegistrySettingsPatch,
    ) -> Result<v1::RegistrySettings, Failure> {
        let paths = paths.clone();
        // The file is the newer one when somebody edited it.
        let work = move || -> Result<RegistrySettings, Failure> {
            let mut config = Config::load(&paths).map_err(failure::state)?;
            config.registries =
                settings::patched(&config.registries, patch).map_err(|problems| {
                    Failure::new(ErrorCode::InvalidArgument, problems.join("; "))
                })?;
            config.save(&paths).map_err(failure::state)?;
            Ok(config.registries)
        };
        let settings = tokio::task::spawn_blocking(work).await.map_err(failure::lost_task)??;
        *self.settings.lock() = settings;
        Ok(self.settings())
    }
}

/// A proxy variable of the daemon, which has either spelling.
fn environment(variable: &str) -> String {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    value(variable).or_else(|| value(&variable.to_ascii_lowercase())).unwrap_or_default()
}
