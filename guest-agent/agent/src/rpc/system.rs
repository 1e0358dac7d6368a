//! `linkspan.v1.SystemService`.

use std::sync::Arc;

use linkspan_containers::filter::Filters;
use linkspan_proto::v1::{self as wire, system_service_server::SystemService};
use tonic::{Request, Response, Status};

use super::{Guest, blocking, containers::refuse, convert, images, volumes};
use crate::failure::of_store;

/// The service.
pub(super) struct Face(pub(super) Guest);

#[tonic::async_trait]
impl SystemService for Face {
    async fn disk_usage(
        &self,
        _request: Request<wire::DiskUsageRequest>,
    ) -> Result<Response<wire::DiskUsageResponse>, Status> {
        let guest = &self.0;
        let uses = images::uses(&guest.containers);
        let (store, shared) = (Arc::clone(&guest.images), guest.clone());
        let used = uses.clone();
        let images = blocking(move || {
            store
                .disk_usage(
                    |id| used.contains_key(&id.to_string()),
                    |layer| shared.uses_layer(layer),
                )
                .map_err(|error| of_store(&error))
        })
        .await?;
        let all = guest.containers.list(true, None, &Filters::default()).map_err(refuse)?;
        let mut containers = Vec::with_capacity(all.len());
        for container in &all {
            let mut summary = convert::summary(container);
            summary.size = convert::size(guest, container).await;
            containers.push(summary);
        }
        let table = Arc::clone(&guest.volumes);
        let volumes = blocking(move || {
            let usage = table.usage().into_iter().map(|(volume, bytes, users)| wire::VolumeUsage {
                volume: Some(volumes::encode(&table, volume)),
                size_bytes: bytes,
                references: u32::try_from(users).unwrap_or(u32::MAX),
            });
            Ok(usage.collect())
        })
        .await?;
        let encode = |(image, shared_bytes)| wire::ImageUsage {
            image: Some(images::summary(image, &uses)),
            shared_bytes,
        };
        Ok(Response::new(wire::DiskUsageResponse {
            images: images.images.into_iter().map(encode).collect(),
            layers_bytes: images.layers_bytes,
            layers_reclaimable_bytes: images.reclaimable_bytes,
            containers,
            volumes,
        }))
    }
}
