//! Builds: the context is taken, and then what was laid down is told.

use futures::StreamExt as _;
use linkspan_proto::v1::{
    self as wire, build_context, build_request, build_service_server::BuildService,
};
use tonic::{Request, Response, Status, Streaming};

use super::{FakeGuest, canned::Answers};

#[async_trait::async_trait]
impl BuildService for FakeGuest {
    type BuildStream = Answers<wire::BuildResponse>;

    async fn build(
        &self,
        request: Request<Streaming<wire::BuildRequest>>,
    ) -> Result<Response<Self::BuildStream>, Status> {
        let mut requests = request.into_inner();
        let Some(build_request::Kind::Open(open)) =
            requests.message().await?.and_then(|request| request.kind)
        else {
            return Err(Status::invalid_argument("a build begins with its options"));
        };
        let context = open.context.as_ref().and_then(|context| context.kind.as_ref());
        if let Some(build_context::Kind::TarStreamId(id)) = context {
            self.take(id).await?;
        }
        let answers = self.canned_stream("Build.Build", &Request::new(open))?.into_inner();
        // The caller's side stays open as long as the answers last.
        let answers = answers.map(move |answer| {
            let _open = &requests;
            answer
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn provide_image(
        &self,
        request: Request<wire::ProvideImageRequest>,
    ) -> Result<Response<wire::ProvideImageResponse>, Status> {
        self.canned("Build.ProvideImage", &request)
    }

    async fn usage(
        &self,
        request: Request<wire::BuildUsageRequest>,
    ) -> Result<Response<wire::BuildUsageResponse>, Status> {
        if !self.has("Build.Usage") {
            return Ok(Response::new(wire::BuildUsageResponse::default()));
        }
        self.canned("Build.Usage", &request)
    }

    async fn prune(
        &self,
        request: Request<wire::PruneBuildsRequest>,
    ) -> Result<Response<wire::PruneBuildsResponse>, Status> {
        self.canned("Build.Prune", &request)
    }
}
