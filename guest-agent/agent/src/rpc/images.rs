//! `linkspan.v1.ImageService`.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::BufWriter,
    path::PathBuf,
    pin::Pin,
};

use futures::Stream;
use linkspan_containers::{Containers, events::Events};
use linkspan_images::{
    ArchiveFormat, ContainerUse, Error as StoreError, ImageDetail, ImageFilters, ImageId,
    ImageSummary, ImportOptions, ListFilter, Reference, RemoveOptions, Removed, Store,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, image_service_server::ImageService},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::SyncIoBridge;
use tonic::{Request, Response, Status};

use super::{Guest, blocking, registry::platform};
use crate::failure::{of_registries, of_store};

/// Parts in which an archive goes to its stream.
const BUFFER: usize = 128 * 1024;

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

    fn uses(&self) -> HashMap<String, u32> {
        uses(&self.0.containers)
    }

    /// An image that has a new name is told of with its labels, as Docker does.
    async fn tell_of(&self, action: &'static str, id: String, name: String) {
        let looked = id.clone();
        let image = self.with_store(move |store| store.inspect(&looked)).await;
        // One that has just been removed has no labels any more.
        let labels = image.map(|image| image.summary.labels).unwrap_or_default();
        tell(self.0.containers.events(), action, &id, labels, name);
    }
}

impl Guest {
    /// Whether an image is of one of these platforms. Docker's words: clients pull the image of the
    /// platform when they read them.
    pub(super) async fn check_platform(
        &self,
        image: &str,
        wanted: &[String],
    ) -> Result<(), Status> {
        let (store, name) = (self.images.clone(), image.to_owned());
        let found = blocking(move || match store.resolve(&name) {
            Ok(image) => Ok(Some(image.platform)),
            // What the call itself says of that is better.
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(of_store(&error)),
        });
        let Some(is) = found.await? else { return Ok(()) };
        for text in wanted {
            let wanted = platform(text).map_err(|error| of_registries(&error))?;
            if wanted.is_none_or(|wanted| is.is(&wanted)) {
                return Ok(());
            }
        }
        let wanted = wanted.join(", ");
        let why = format!(
            "image with reference {image} was found but its platform ({is}) does not match the \
             specified platform ({wanted})"
        );
        Err(Failure::new(ErrorCode::NotFound, why).into())
    }

    /// As of a build by Docker (`ImageExportedByBuildkit` of moby's `daemon/build.go`), then its
    /// names. Nothing of a build that made no image.
    pub(crate) async fn tell_of_build(&self, built: &wire::BuiltImage) {
        if built.id.is_empty() {
            return;
        }
        let face = Face(self.clone());
        face.tell_of("create", built.id.clone(), built.id.clone()).await;
        for tag in &built.tags {
            face.tell_of("tag", built.id.clone(), tag.clone()).await;
        }
    }

    /// Docker names a pulled or pushed image in its events by its reference.
    pub(super) async fn tell_of_transfer(&self, action: &'static str, reference: &Reference) {
        let (store, shown) = (self.images.clone(), reference.familiar());
        let looked = shown.clone();
        let image = blocking(move || store.inspect(&looked).map_err(|error| of_store(&error)));
        // One that has just been removed has no labels any more.
        let labels = image.await.map(|image| image.summary.labels).unwrap_or_default();
        tell(self.containers.events(), action, &shown, labels, reference.familiar_name());
    }
}

/// How many containers each image has.
pub(super) fn uses(containers: &Containers) -> HashMap<String, u32> {
    let mut uses = HashMap::new();
    for (image, _, _) in containers.images_in_use() {
        *uses.entry(image).or_default() += 1;
    }
    uses
}

/// The containers of an image, for the store.
fn users(uses: &[(String, String, bool)], id: &ImageId) -> Vec<ContainerUse> {
    let id = id.to_string();
    let of_it = uses.iter().filter(|(image, _, _)| *image == id);
    of_it.map(|(_, name, running)| ContainerUse { name: name.clone(), running: *running }).collect()
}

fn tell(
    events: &Events,
    action: &str,
    id: &str,
    mut attributes: BTreeMap<String, String>,
    name: String,
) {
    attributes.insert("name".into(), name);
    events.publish("image", action, id, attributes);
}

/// Names and images that have gone, told in Docker's words.
fn tell_removed(events: &Events, removed: &Removed) {
    for image in &removed.images {
        let id = image.id.to_string();
        for name in &image.untagged {
            tell(events, "untag", &id, BTreeMap::new(), name.clone());
        }
        if image.deleted {
            tell(events, "delete", &id, BTreeMap::new(), id.clone());
        }
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
        let images = self.with_store(move |store| {
            let filters = ImageFilters::of_list(&request.filters)?;
            let references = request.references;
            store.list(&ListFilter { references, all: request.all, filters })
        });
        let images = images.await?;
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
        let target = request.target.clone();
        let id = self.with_store(move |store| {
            store.tag(&request.source, &request.target)?;
            Ok(store.resolve(&request.target)?.id)
        });
        self.tell_of("tag", id.await?.to_string(), target).await;
        Ok(Response::new(wire::TagImageResponse {}))
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveImageRequest>,
    ) -> Answer<wire::RemoveImageResponse> {
        let request = request.into_inner();
        if !request.platforms.is_empty() {
            self.0.check_platform(&request.image, &request.platforms).await?;
        }
        let guest = self.0.clone();
        let removed = self
            .with_store(move |store| {
                let uses = guest.containers.images_in_use();
                store.remove(
                    &request.image,
                    RemoveOptions { force: request.force, keep_parents: request.no_prune },
                    |id| users(&uses, id),
                    |layer| guest.uses_layer(layer),
                )
            })
            .await?;
        tell_removed(self.0.containers.events(), &removed);
        Ok(Response::new(wire::RemoveImageResponse {
            untagged: removed.untagged,
            deleted: removed.deleted,
        }))
    }

    async fn prune(
        &self,
        request: Request<wire::PruneImagesRequest>,
    ) -> Answer<wire::PruneImagesResponse> {
        let request = request.into_inner();
        let guest = self.0.clone();
        let removed = self.with_store(move |store| {
            let mut filters = ImageFilters::of_prune(&request.filters)?;
            // Docker's other word for `all`.
            let all = filters.dangling.take().map_or(request.all, |dangling| !dangling);
            let wanted = |image: &ImageSummary| filters.matches(image);
            let users = |id: &ImageId| users(&guest.containers.images_in_use(), id);
            store.prune(all, wanted, users, |layer| guest.uses_layer(layer))
        });
        let removed = removed.await?;
        let events = self.0.containers.events();
        tell_removed(events, &removed);
        let reclaimed = ("reclaimed".to_owned(), removed.freed_bytes.to_string());
        events.publish("image", "prune", "", [reclaimed].into());
        Ok(Response::new(wire::PruneImagesResponse {
            untagged: removed.untagged,
            deleted: removed.deleted,
            reclaimed_bytes: removed.freed_bytes,
        }))
    }

    async fn load(&self, request: Request<wire::LoadImageRequest>) -> Answer<Loads> {
        let request = request.into_inner();
        let platform = platform(&request.platform).map_err(|error| of_registries(&error))?;
        let archive = self.0.streams.take(&request.stream_id).await?;
        let (answers, stream) = mpsc::channel(16);
        let (store, face) = (self.0.images.clone(), Face(self.0.clone()));
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
                    .load_for(platform.as_ref(), SyncIoBridge::new(archive), &mut report)
                    .map_err(|error| of_store(&error))
            })
            .await;
            match loaded {
                Ok(images) => {
                    for image in images {
                        let id = image.id.to_string();
                        let name = image.tags.first().unwrap_or(&id).clone();
                        face.tell_of("load", id, name).await;
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

    async fn save(
        &self,
        request: Request<wire::SaveImagesRequest>,
    ) -> Answer<wire::SaveImagesResponse> {
        let request = request.into_inner();
        let format = archive_format(request.format());
        let platform = platform(&request.platform).map_err(|error| of_registries(&error))?;
        let stream = self.0.streams.take_download(&request.stream_id).await?;
        let store = self.0.images.clone();
        let bytes = blocking(move || {
            let out = BufWriter::with_capacity(BUFFER, SyncIoBridge::new(stream));
            let saved = store.save(&request.images, platform.as_ref(), format, out);
            saved.map_err(|error| of_store(&error))
        });
        Ok(Response::new(wire::SaveImagesResponse { bytes: bytes.await? }))
    }

    async fn import(
        &self,
        request: Request<wire::ImportImageRequest>,
    ) -> Answer<wire::ImportImageResponse> {
        let request = request.into_inner();
        let options = ImportOptions {
            reference: Some(request.reference).filter(|reference| !reference.is_empty()),
            message: request.message,
            changes: request.changes,
            platform: platform(&request.platform).map_err(|error| of_registries(&error))?,
        };
        let image = if request.url.is_empty() {
            let archive = SyncIoBridge::new(self.0.streams.take(&request.stream_id).await?);
            self.with_store(move |store| store.import(archive, &options, |_| {})).await?
        } else {
            let fetched = self.0.registries.download(&request.url).await?;
            self.with_store(move |store| {
                let archive = File::open(fetched.path()).map_err(StoreError::Read)?;
                store.import(archive, &options, |_| {})
            })
            .await?
        };
        let id = image.id.to_string();
        let name = image.tags.first().unwrap_or(&id).clone();
        self.tell_of("import", id, name).await;
        Ok(Response::new(wire::ImportImageResponse { id: image.id.to_string() }))
    }
}

pub(super) fn summary(image: ImageSummary, uses: &HashMap<String, u32>) -> wire::ImageSummary {
    let id = image.id.to_string();
    wire::ImageSummary {
        containers: uses.get(&id).copied().unwrap_or_default(),
        id,
        tags: image.tags,
        digests: image.digests,
        created_unix_nanos: image.created_unix_nanos,
        size_bytes: image.size_bytes,
        labels: image.labels.into_iter().collect(),
        layer_bytes: image.layer_bytes,
        ..wire::ImageSummary::default()
    }
}

fn detail(image: ImageDetail, uses: &HashMap<String, u32>) -> wire::ImageDetail {
    let shown = |folder: &PathBuf| folder.display().to_string();
    let summary = wire::ImageSummary {
        parent: image.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        last_tagged_unix_nanos: image.tagged_unix_nanos,
        manifest: image.manifest.map(|manifest| wire::ImageDescriptor {
            media_type: manifest.media_type,
            digest: manifest.digest.to_string(),
            size: manifest.size,
        }),
        layer_folders: image.layer_folders.iter().map(shown).collect(),
        ..summary(image.summary, uses)
    };
    wire::ImageDetail {
        summary: Some(summary),
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

/// What an archive is to be, in the store's words.
pub(crate) fn archive_format(format: wire::ArchiveFormat) -> ArchiveFormat {
    match format {
        wire::ArchiveFormat::Unspecified => ArchiveFormat::Both,
        wire::ArchiveFormat::Docker => ArchiveFormat::Docker,
        wire::ArchiveFormat::Oci => ArchiveFormat::Oci,
    }
}
