//! `linkspan.host.v1.HostService`.

use std::sync::Arc;

use linkspan_engine::Engine;
use linkspan_proto::host::v1::{
    HostHelloRequest, HostHelloResponse, HostInfoRequest, HostInfoResponse, HostPortsRequest,
    HostPortsResponse, HostShutdownRequest, HostShutdownResponse, RegistrySettingsRequest,
    RegistrySettingsResponse, UpdateRegistrySettingsRequest, UpdateRegistrySettingsResponse,
    host_service_server::HostService,
};
use tonic::{Request, Response, Status};

pub(super) struct Host(pub(super) Arc<dyn Engine>);

#[tonic::async_trait]
impl HostService for Host {
    async fn hello(
        &self,
        request: Request<HostHelloRequest>,
    ) -> Result<Response<HostHelloResponse>, Status> {
        Ok(Response::new(self.0.hello(request.get_ref())))
    }

    async fn info(
        &self,
        _: Request<HostInfoRequest>,
    ) -> Result<Response<HostInfoResponse>, Status> {
        Ok(Response::new(self.0.host_info().await?))
    }

    async fn ports(
        &self,
        _: Request<HostPortsRequest>,
    ) -> Result<Response<HostPortsResponse>, Status> {
        Ok(Response::new(HostPortsResponse { ports: self.0.ports() }))
    }

    async fn registry_settings(
        &self,
        _: Request<RegistrySettingsRequest>,
    ) -> Result<Response<RegistrySettingsResponse>, Status> {
        let settings = Some(self.0.registry_settings());
        Ok(Response::new(RegistrySettingsResponse { settings }))
    }

    async fn update_registry_settings(
        &self,
        request: Request<UpdateRegistrySettingsRequest>,
    ) -> Result<Response<UpdateRegistrySettingsResponse>, Status> {
        let patch = request.into_inner().patch.unwrap_or_default();
        let settings = Some(self.0.update_registry_settings(patch).await?);
        Ok(Response::new(UpdateRegistrySettingsResponse { settings }))
    }

    async fn shutdown(
        &self,
        request: Request<HostShutdownRequest>,
    ) -> Result<Response<HostShutdownResponse>, Status> {
        self.0.shutdown(request.into_inner().stop_machines).await?;
        Ok(Response::new(HostShutdownResponse {}))
    }
}
