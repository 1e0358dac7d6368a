//! `linkspan.v1.ImageService`.

use std::{collections::HashMap, pin::Pin};

use futures::Stream;
use linkspan_images::{
    ContainerUse, ImageDetail, ImageSummary, ImportOptions, ListFilter, RemoveOptions, Store,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, image_service_server::ImageService},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::SyncIoBridge;
use tonic::{Request, Response, Status};

use super::{Guest, blocking};
use crate::failure::of_store;

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;
type Loads = Pin<Box<dyn Stream<Item = Result<wire::LoadImageResponse, Status>> + Send>>;

impl Face {
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> linkspan_images::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.0.images.clone();
        blocking(move || work(&store).map_err(|error| of_store(&error))).await
    }

    /// How many containers each image has.
    fn uses(&self) -> HashMap<String, u32> {
        let mut uses = HashMap::new();
        for (image, _, _) in self.0.containers.images_in_use() {
            *uses.entry(image).or_default() += 1;
        }
        uses
    }
}

#[tonic::async_trait]
impl ImageService for Face {
    type LoadStream = Loads;

    async fn list(
        &self,
        request: Request<wire::ListImagesRequest>,
    ) -> Answer<wire::ListImagesResponse> {
        let request = request.into_inner();
        let filter = ListFilter { references: request.references, all: request.all };
        let images = self.with_store(move |store| store.list(&filter)).await?;
        let uses = self.uses();
        Ok(Response::new(wire::ListImagesResponse {
            images: images.into_iter().map(|image| summary(image, &uses)).collect(),
        }))
    }

    async fn inspect(
        &self,
        request: Request<wire::InspectImageRequest>,
    ) -> Answer<wire::InspectImageResponse> {
        let name = request.into_inner().image;
        let image = self.with_store(move |store| store.inspect(&name)).await?;
        Ok(Response::new(wire::InspectImageResponse { image: Some(detail(image, &self.uses())) }))
    }

    async fn tag(&self, request: Request<wire::TagImageRequest>) -> Answer<wire::TagImageResponse> {
        let request = request.into_inner();
        self.with_store(move |store| store.tag(&request.source, &request.target)).await?;
        Ok(Response::new(wire::TagImageResponse {}))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveImageRequest>,
    ) -> Answer<wire::RemoveImageResponse> {
        let request = request.into_inner();
        if request.no_prune {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                "--no-prune is not supported: there are no untagged parents to keep",
            )
            .into());
        }
        let containers = self.0.containers.clone();
        let removed = self
            .with_store(move |store| {
                let uses = containers.images_in_use();
                store.remove(
                    &request.image,
                    RemoveOptions { force: request.force },
                    |id| {
                        let id = id.to_string();
                        uses.iter()
                            .filter(|(image, _, _)| *image == id)
                            .map(|(_, name, running)| ContainerUse {
                                name: name.clone(),
                                running: *running,
                            })
                            .collect()
                    },
                    |layer| containers.uses_layer(&layer.to_string()),
                )
            })
            .await?;
        Ok(Response::new(wire::RemoveImageResponse {
            untagged: removed.untagged,
            deleted: removed.deleted,
        }))
    }

    async fn load(&self, request: Request<wire::LoadImageRequest>) -> Answer<Loads> {
        let archive = self.0.streams.take(&request.into_inner().stream_id).await?;
        let (answers, stream) = mpsc::channel(16);
        let store = self.0.images.clone();
        tokio::spawn(async move {
            let progress = answers.clone();
            let loaded = blocking(move || {
                let mut report = |step: linkspan_images::Progress| {
                    let layer = step.layer.map(|layer| layer.to_string()).unwrap_or_default();
                    let kind = wire::load_image_response::Kind::Progress(wire::LoadProgress {
                        layer,
                        bytes: step.bytes,
                    });
                    // Progress that nobody reads fast enough is left out, not waited for.
                    let _ = progress.try_send(Ok(wire::LoadImageResponse { kind: Some(kind) }));
                };
                store
                    .load(SyncIoBridge::new(archive), &mut report)
                    .map_err(|error| of_store(&error))
            })
            .await;
            match loaded {
                Ok(images) => {
                    for image in images {
                        let kind = wire::load_image_response::Kind::Loaded(wire::LoadedImage {
                            id: image.id.to_string(),
                            tags: image.tags,
                        });
                        // A client that has left misses only the answer.
                        let _ =
                            answers.send(Ok(wire::LoadImageResponse { kind: Some(kind) })).await;
                    }
                }
                Err(status) => drop(answers.send(Err(status)).await),
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn import(
        &self,
        request: Request<wire::ImportImageRequest>,
    ) -> Answer<wire::ImportImageResponse> {
        let request = request.into_inner();
        let archive = self.0.streams.take(&request.stream_id).await?;
        let options = ImportOptions {
            reference: Some(request.reference).filter(|reference| !reference.is_empty()),
            message: request.message,
            changes: request.changes,
        };
        let archive = SyncIoBridge::new(archive);
        let image = self.with_store(move |store| store.import(archive, &options, |_| {})).await?;
        Ok(Response::new(wire::ImportImageResponse { id: image.id.to_string() }))
    }
}

fn summary(image: ImageSummary, uses: &HashMap<String, u32>) -> wire::ImageSummary {
    let id = image.id.to_string();
    wire::ImageSummary {
        containers: uses.get(&id).copied().unwrap_or_default(),
        id,
        tags: image.tags,
        digests: image.digests,
        created_unix_nanos: image.created_unix_nanos,
        size_bytes: image.size_bytes,
        labels: image.labels.into_iter().collect(),
    }
}

fn detail(image: ImageDetail, uses: &HashMap<String, u32>) -> wire::ImageDetail {
    wire::ImageDetail {
        summary: Some(summary(image.summary, uses)),
        architecture: image.architecture,
        os: image.os,
        variant: image.variant,
        author: image.author,
        env: image.config.env,
        entrypoint: image.config.entrypoint,
        command: image.config.cmd,
        working_dir: image.config.working_dir,
        user: image.config.user,
        stop_signal: image.config.stop_signal.unwrap_or_default(),
        exposed_ports: image.config.exposed_ports,
        volumes: image.config.volumes,
        diff_ids: image.diff_ids.iter().map(ToString::to_string).collect(),
        history: image
            .history
            .into_iter()
            .map(|step| wire::ImageHistory {
                created_unix_nanos: step.created_unix_nanos,
                created_by: step.created_by,
                comment: step.comment,
                empty_layer: step.empty_layer,
            })
            .collect(),
        config_json: image.config_json.into(),
    }
}
