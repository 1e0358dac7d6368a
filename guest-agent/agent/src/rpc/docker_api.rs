//! `linkspan.v1.DockerApiService`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use linkspan_proto::v1::{
    DockerApiConnection, ServeDockerApiRequest, docker_api_service_server::DockerApiService,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status};

use super::Guest;

/// The service.
pub(super) struct Face(pub(super) Guest);

#[tonic::async_trait]
impl DockerApiService for Face {
    type ServeStream = Pin<Box<dyn Stream<Item = Result<DockerApiConnection, Status>> + Send>>;

    async fn serve(
        &self,
        _: Request<ServeDockerApiRequest>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let connections = UnboundedReceiverStream::new(self.0.docker_api.serve());
        Ok(Response::new(Box::pin(connections.map(Ok))))
    }
}
