//! `Load` takes the byte stream that its request names; the "archive" is the image's reference.

use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    ImageSummary, ImportImageRequest, ImportImageResponse, InspectImageRequest,
    InspectImageResponse, ListImagesRequest, ListImagesResponse, LoadImageRequest,
    LoadImageResponse, LoadProgress, LoadedImage, PruneImagesRequest, PruneImagesResponse,
    RemoveImageRequest, RemoveImageResponse, SaveImagesRequest, SaveImagesResponse,
    TagImageRequest, TagImageResponse, image_service_server::ImageService, load_image_response,
};
use prost::Message as _;
use tokio::{io::AsyncReadExt as _, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::FakeGuest;

#[async_trait::async_trait]
impl ImageService for FakeGuest {
    async fn list(
        &self,
        request: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        if self.has("Image.List") {
            return self.canned("Image.List", &request);
        }
        self.record("ListImages", &request);
        let images = self.0.images.lock();
        let images = images
            .iter()
            .map(|tag| ImageSummary { tags: vec![tag.clone()], ..ImageSummary::default() });
        Ok(Response::new(ListImagesResponse { images: images.collect() }))
    }

    async fn inspect(
        &self,
        request: Request<InspectImageRequest>,
    ) -> Result<Response<InspectImageResponse>, Status> {
        if self.has("Image.Inspect") {
            return self.canned("Image.Inspect", &request);
        }
        let image = &request.get_ref().image;
        if self.0.images.lock().contains(image) {
            return Ok(Response::new(InspectImageResponse::default()));
        }
        Err(Failure::new(ErrorCode::NotFound, format!("no such image: `{image}`")).into())
    }

    async fn prune(
        &self,
        request: Request<PruneImagesRequest>,
    ) -> Result<Response<PruneImagesResponse>, Status> {
        self.canned("Image.Prune", &request)
    }

    async fn tag(
        &self,
        request: Request<TagImageRequest>,
    ) -> Result<Response<TagImageResponse>, Status> {
        self.canned("Image.Tag", &request)
    }

    async fn remove(
        &self,
        request: Request<RemoveImageRequest>,
    ) -> Result<Response<RemoveImageResponse>, Status> {
        self.canned("Image.Remove", &request)
    }

    type LoadStream = ReceiverStream<Result<LoadImageResponse, Status>>;
    async fn load(
        &self,
        request: Request<LoadImageRequest>,
    ) -> Result<Response<Self::LoadStream>, Status> {
        self.record("Load", &request);
        self.0.asked.lock().push(("Image.Load", request.get_ref().encode_to_vec()));
        let id = parse_id(&request.get_ref().stream_id)
            .ok_or_else(|| Status::invalid_argument("stream_id is not a uuid"))?;
        let (send, responses) = mpsc::channel(4);
        let guest = self.clone();
        tokio::spawn(async move {
            let mut arrivals = guest.0.arrivals.subscribe();
            let mut stream = loop {
                arrivals.mark_unchanged();
                if let Some(stream) = guest.0.streams.lock().remove(&id) {
                    break stream;
                }
                if arrivals.changed().await.is_err() {
                    return;
                }
            };
            let mut archive = Vec::new();
            if let Err(error) = stream.read_to_end(&mut archive).await {
                let _ = send.send(Err(Status::data_loss(error.to_string()))).await;
                return;
            }
            let bytes = archive.len() as u64;
            // What an archive means is told by its first line.
            let text = String::from_utf8_lossy(&archive);
            let reference = text.lines().next().unwrap_or_default().to_owned();
            guest.0.images.lock().insert(reference.clone());
            let progress = LoadProgress { layer: "one".into(), bytes };
            let loaded = LoadedImage { id: "sha256:fake".into(), tags: vec![reference] };
            for kind in [
                load_image_response::Kind::Progress(progress),
                load_image_response::Kind::Loaded(loaded),
            ] {
                let _ = send.send(Ok(LoadImageResponse { kind: Some(kind) })).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn save(
        &self,
        request: Request<SaveImagesRequest>,
    ) -> Result<Response<SaveImagesResponse>, Status> {
        let answer = self.canned("Image.Save", &request)?;
        self.give(&request.get_ref().stream_id).await?;
        Ok(answer)
    }

    async fn import(
        &self,
        request: Request<ImportImageRequest>,
    ) -> Result<Response<ImportImageResponse>, Status> {
        let answer = self.canned("Image.Import", &request)?;
        if request.get_ref().url.is_empty() {
            self.take(&request.get_ref().stream_id).await?;
        }
        Ok(answer)
    }
}

/// A uuid's text with or without dashes.
pub(super) fn parse_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|&character| character != '-').collect();
    u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32).map(u128::to_be_bytes)
}
