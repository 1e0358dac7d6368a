//! `linkspan.v1.VolumeService`.

use std::sync::Arc;

use linkspan_containers::volumes::{DRIVER, Filters, NewVolume, Volume, VolumeError, Volumes};
use linkspan_proto::v1::{self as wire, volume_service_server::VolumeService};
use tonic::{Request, Response, Status};

use super::{Guest, blocking, convert::nanos};
use crate::failure::of_volume;

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;

impl Face {
    async fn with_volumes<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Volumes) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, Status> {
        let volumes = Arc::clone(&self.0.volumes);
        blocking(move || work(&volumes).map_err(|error| of_volume(&error))).await
    }
}

#[tonic::async_trait]
impl VolumeService for Face {
    async fn create(
        &self,
        request: Request<wire::CreateVolumeRequest>,
    ) -> Answer<wire::CreateVolumeResponse> {
        let request = request.into_inner();
        let new = NewVolume {
            name: request.name,
            driver: request.driver,
            options: request.options.into_iter().collect(),
            labels: request.labels.into_iter().collect(),
        };
        let volume =
            self.with_volumes(move |volumes| Ok(encode(volumes, volumes.create(new)?))).await?;
        Ok(Response::new(wire::CreateVolumeResponse { volume: Some(volume) }))
    }

    async fn list(
        &self,
        request: Request<wire::ListVolumesRequest>,
    ) -> Answer<wire::ListVolumesResponse> {
        let filters = request.into_inner().filters;
        let volumes = self
            .with_volumes(move |volumes| {
                let found = volumes.list(&Filters::of_list(&filters)?);
                Ok(found.into_iter().map(|volume| encode(volumes, volume)).collect())
            })
            .await?;
        Ok(Response::new(wire::ListVolumesResponse { volumes }))
    }

    async fn inspect(
        &self,
        request: Request<wire::InspectVolumeRequest>,
    ) -> Answer<wire::InspectVolumeResponse> {
        let name = request.into_inner().name;
        let volume =
            self.with_volumes(move |volumes| Ok(encode(volumes, volumes.inspect(&name)?))).await?;
        Ok(Response::new(wire::InspectVolumeResponse { volume: Some(volume) }))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveVolumeRequest>,
    ) -> Answer<wire::RemoveVolumeResponse> {
        let request = request.into_inner();
        self.with_volumes(move |volumes| volumes.remove(&request.name, request.force)).await?;
        Ok(Response::new(wire::RemoveVolumeResponse {}))
    }

    async fn prune(
        &self,
        request: Request<wire::PruneVolumesRequest>,
    ) -> Answer<wire::PruneVolumesResponse> {
        let request = request.into_inner();
        let (removed, reclaimed_bytes) = self
            .with_volumes(move |volumes| {
                let filters = Filters::of_prune(&request.filters)?;
                volumes.prune(request.all || filters.all(), &filters)
            })
            .await?;
        Ok(Response::new(wire::PruneVolumesResponse { removed, reclaimed_bytes }))
    }
}

pub(super) fn encode(volumes: &Volumes, volume: Volume) -> wire::Volume {
    wire::Volume {
        mountpoint: volumes.mountpoint(&volume.name).display().to_string(),
        name: volume.name,
        driver: DRIVER.into(),
        created_unix_nanos: nanos(volume.created_at),
        labels: volume.labels.into_iter().collect(),
        options: volume.options.into_iter().collect(),
    }
}
