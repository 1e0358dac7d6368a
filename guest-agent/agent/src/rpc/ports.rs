//! `linkspan.v1.PortService`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use linkspan_proto::v1::{PortAnswer, PortOrder, port_service_server::PortService};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Guest;

/// The service.
pub(super) struct Face(pub(super) Guest);

#[tonic::async_trait]
impl PortService for Face {
    type ServeStream = Pin<Box<dyn Stream<Item = Result<PortOrder, Status>> + Send>>;

    async fn serve(
        &self,
        request: Request<Streaming<PortAnswer>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let orders = self.0.ports.serve(request.into_inner());
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(orders).map(Ok))))
    }
}
