//! `linkspan.v1.FolderService`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use linkspan_proto::v1::{FolderOrder, FolderReport, folder_service_server::FolderService};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Guest;

/// The service.
pub(super) struct Face(pub(super) Guest);

#[tonic::async_trait]
impl FolderService for Face {
    type ServeStream = Pin<Box<dyn Stream<Item = Result<FolderOrder, Status>> + Send>>;

    async fn serve(
        &self,
        request: Request<Streaming<FolderReport>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let orders = self.0.folders.serve(self.0.containers.clone(), request.into_inner());
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(orders).map(Ok))))
    }
}
