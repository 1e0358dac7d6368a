//! Built-in container images: OCI archives in the VM image that are loaded into a guest when
//! someone creates a container from one which the guest lacks.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use linkspan_agent_client::AgentChannel;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    preface::{Kind, Preface},
    v1::{CreateContainerRequest, CreateContainerResponse, InspectImageRequest, LoadImageRequest},
};
use linkspan_state::image::{ImageError, ImageSearch};
use linkspan_transport::BoxStream;
use parking_lot::Mutex;
use tokio::{io::AsyncWriteExt as _, time::timeout};
use tonic::{Extensions, Request, Response, Status};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::failure;

/// A few megabytes, also under an emulator on a busy machine.
const LOAD_DEADLINE: Duration = Duration::from_secs(120);
/// How long a call may take to say why its byte stream was cut.
const REASON_DEADLINE: Duration = Duration::from_secs(5);
const CHUNK: usize = 256 * 1024;

/// The VM image's archives, and the loads that are under way.
pub(crate) struct BuiltinImages {
    search: ImageSearch,
    loads: Mutex<HashMap<(String, PathBuf), Load>>,
}

/// Several creations from one image share its load.
type Load = Shared<BoxFuture<'static, Result<(), Failure>>>;

impl BuiltinImages {
    pub(crate) fn new(search: ImageSearch) -> Self {
        Self { search, loads: Mutex::default() }
    }

    pub(crate) async fn create(
        &self,
        machine: &str,
        agent: &AgentChannel,
        request: Request<CreateContainerRequest>,
    ) -> Result<Response<CreateContainerResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let attempt =
            || Request::from_parts(metadata.clone(), Extensions::default(), message.clone());
        let refused = match agent.containers().create(attempt()).await {
            Ok(created) => return Ok(created),
            Err(status) => status,
        };
        if Failure::from(refused.clone()).code != ErrorCode::NotFound {
            return Err(refused);
        }
        let image = message.config.as_ref().map_or("", |config| config.image.as_str());
        let Some(archive) = self.archive(image).await? else {
            return Err(refused);
        };
        let inspect = InspectImageRequest { image: image.into() };
        // When the guest has the image, somebody has just loaded it, or it was something else
        // that was not found: the second attempt tells.
        if agent.images().inspect(inspect).await.is_err() {
            self.load(machine, agent, image, archive).await?;
        }
        agent.containers().create(attempt()).await
    }

    /// Loads an image that is built in, and that the guest lacks.
    pub(crate) async fn provide(
        &self,
        machine: &str,
        agent: &AgentChannel,
        reference: &str,
    ) -> Result<(), Failure> {
        let inspect = InspectImageRequest { image: reference.into() };
        let Err(refused) = agent.images().inspect(inspect).await else { return Ok(()) };
        match self.archive(reference).await? {
            Some(archive) => self.load(machine, agent, reference, archive).await,
            None => Err(refused.into()),
        }
    }

    async fn archive(&self, reference: &str) -> Result<Option<PathBuf>, Failure> {
        let (search, reference) = (self.search.clone(), reference.to_owned());
        let found = tokio::task::spawn_blocking(move || match search.find() {
            Ok(image) => image.builtin(&reference),
            // A VM that runs needs no image on the host, and then nothing is built in.
            Err(ImageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        });
        found.await.map_err(failure::lost_task)?.map_err(failure::image)
    }

    async fn load(
        &self,
        machine: &str,
        agent: &AgentChannel,
        reference: &str,
        archive: PathBuf,
    ) -> Result<(), Failure> {
        let key = (machine.to_owned(), archive.clone());
        let load = {
            let mut loads = self.loads.lock();
            // A load that is over says nothing about the guest of now.
            loads.retain(|_, load| load.peek().is_none());
            loads.entry(key).or_insert_with(|| begin(agent.clone(), archive)).clone()
        };
        load.await.map_err(|failure| Failure {
            message: format!("cannot load the built-in image `{reference}`: {failure}"),
            ..failure
        })
    }
}

/// In a task of its own: a caller that goes away does not take the load from the others.
fn begin(agent: AgentChannel, archive: PathBuf) -> Load {
    let load = async move {
        timeout(LOAD_DEADLINE, load(&agent, &archive)).await.unwrap_or_else(|_| {
            Err(Failure::new(
                ErrorCode::TimedOut,
                format!("it took longer than {} s", LOAD_DEADLINE.as_secs()),
            ))
        })
    };
    let task = tokio::spawn(load.in_current_span());
    async move { task.await.unwrap_or_else(|error| Err(failure::lost_task(error))) }
        .boxed()
        .shared()
}

#[tracing::instrument(level = "info", skip(agent))]
async fn load(agent: &AgentChannel, archive: &Path) -> Result<(), Failure> {
    let id = Uuid::new_v4();
    let call = async {
        let request = LoadImageRequest { stream_id: id.to_string(), ..Default::default() };
        let mut progress = agent.images().load(request).await?.into_inner();
        while progress.message().await?.is_some() {}
        Ok(())
    };
    let mut call = std::pin::pin!(call);
    let upload = upload(agent, id, archive);
    tokio::select! {
        result = &mut call => return result,
        sent = upload => match sent {
            // Kept open until the call has ended.
            Ok(_stream) => call.await,
            // The call knows better why the agent took no more.
            Err(cut) => match timeout(REASON_DEADLINE, call).await {
                Ok(Err(reason)) => Err(reason),
                _ => Err(cut),
            },
        }
    }
}

async fn upload(agent: &AgentChannel, id: Uuid, archive: &Path) -> Result<BoxStream, Failure> {
    let copy = async {
        let file = tokio::fs::File::open(archive).await?;
        let mut file = tokio::io::BufReader::with_capacity(CHUNK, file);
        let mut stream = agent.open_stream().await.map_err(std::io::Error::other)?;
        let preface = Preface { kind: Kind::Upload, id: *id.as_bytes() };
        stream.write_all(&preface.encode()).await?;
        tokio::io::copy_buf(&mut file, &mut stream).await?;
        stream.shutdown().await?;
        Ok(stream)
    };
    copy.await.map_err(|error: std::io::Error| {
        Failure::new(
            ErrorCode::Unavailable,
            format!("cannot send `{}`: {error}", archive.display()),
        )
    })
}
