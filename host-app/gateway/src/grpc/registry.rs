//! `linkspan.v1.RegistryService`: as the agent serves it, but as the user whom the host knows, and
//! by the host's settings.

use std::sync::Arc;

use linkspan_engine::{Engine, Registry, RegistryCalls};
use linkspan_proto::{
    MACHINE_KEY,
    error::{ErrorCode, Failure},
    v1::{
        ConfigureRegistriesRequest, ConfigureRegistriesResponse, DistributionRequest,
        DistributionResponse, LoginRequest, LoginResponse, PullImageRequest, PullImageResponse,
        PushImageRequest, PushImageResponse, RegistryCredentials, SearchImagesRequest,
        SearchImagesResponse, registry_service_server::RegistryService,
    },
};
use tonic::{Request, Response, Status, Streaming};

/// What the paths of this service begin with.
pub(super) const PREFIX: &str = "/linkspan.v1.RegistryService/";

pub(super) struct Registries(pub(super) Arc<dyn Engine>);

impl Registries {
    /// The machine's own service, for a call as whoever the user is at this registry.
    async fn calls(
        &self,
        machine: &str,
        registry: Registry,
        credentials: &mut Option<RegistryCredentials>,
    ) -> Result<RegistryCalls, Failure> {
        self.0.authenticate(&registry, credentials).await?;
        Ok(self.0.registry_agent(machine).await?.registry())
    }
}

/// As `super::machine`, of a decoded request.
fn machine<T>(request: &Request<T>) -> String {
    let name = request.metadata().get(MACHINE_KEY);
    name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).unwrap_or_default()
}

#[tonic::async_trait]
impl RegistryService for Registries {
    type PullStream = Streaming<PullImageResponse>;
    async fn pull(
        &self,
        mut request: Request<PullImageRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let machine = machine(&request);
        let message = request.get_mut();
        let registry = Registry::of_image(&message.reference);
        self.calls(&machine, registry, &mut message.credentials).await?.pull(request).await
    }

    type PushStream = Streaming<PushImageResponse>;
    async fn push(
        &self,
        mut request: Request<PushImageRequest>,
    ) -> Result<Response<Self::PushStream>, Status> {
        let machine = machine(&request);
        let message = request.get_mut();
        let registry = Registry::of_image(&message.reference);
        self.calls(&machine, registry, &mut message.credentials).await?.push(request).await
    }

    async fn login(
        &self,
        mut request: Request<LoginRequest>,
    ) -> Result<Response<LoginResponse>, Status> {
        let machine = machine(&request);
        let message = request.get_mut();
        let registry = Registry::of_server(&message.server);
        self.calls(&machine, registry, &mut message.credentials).await?.login(request).await
    }

    async fn search(
        &self,
        mut request: Request<SearchImagesRequest>,
    ) -> Result<Response<SearchImagesResponse>, Status> {
        let machine = machine(&request);
        let message = request.get_mut();
        let registry = Registry::of_image(&message.term);
        self.calls(&machine, registry, &mut message.credentials).await?.search(request).await
    }

    async fn distribution(
        &self,
        mut request: Request<DistributionRequest>,
    ) -> Result<Response<DistributionResponse>, Status> {
        let machine = machine(&request);
        let message = request.get_mut();
        let registry = Registry::of_image(&message.reference);
        self.calls(&machine, registry, &mut message.credentials).await?.distribution(request).await
    }

    async fn configure_registries(
        &self,
        _: Request<ConfigureRegistriesRequest>,
    ) -> Result<Response<ConfigureRegistriesResponse>, Status> {
        let message = "the daemon says to machines how registries are reached";
        let failure = Failure::new(ErrorCode::Unsupported, message);
        Err(failure.hint("change it with `linkspan registry set`").into())
    }
}
