//! `linkspan.v1.BuildService`.

use std::pin::Pin;

use futures::Stream;
use linkspan_builder::{PruneOptions, Record};
use linkspan_proto::v1::{self as wire, build_service_server::BuildService};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Guest, blocking};
use crate::{
    builds::{self, of_build},
    failure::of_store,
};

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;
type Answers = Pin<Box<dyn Stream<Item = Result<wire::BuildResponse, Status>> + Send>>;

/// Answers that wait for the caller.
const AHEAD: usize = 64;

#[tonic::async_trait]
impl BuildService for Face {
    type BuildStream = Answers;

    async fn build(&self, request: Request<Streaming<wire::BuildRequest>>) -> Answer<Answers> {
        let (answers, stream) = mpsc::channel(AHEAD);
        let guest = self.0.clone();
        tokio::spawn(async move {
            let build = builds::run(guest, request.into_inner(), answers.clone());
            tokio::select! {
                // The caller has hung up: dropping the build ends it.
                () = answers.closed() => {}
                result = build => if let Err(failure) = result {
                    drop(answers.send(Err(failure.into())).await);
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn provide_image(
        &self,
        request: Request<wire::ProvideImageRequest>,
    ) -> Answer<wire::ProvideImageResponse> {
        let (store, name) = (self.0.images.clone(), request.into_inner().reference);
        blocking(move || store.resolve(&name).map_err(|error| of_store(&error))).await?;
        Ok(Response::new(wire::ProvideImageResponse {}))
    }

    async fn usage(&self, _: Request<wire::BuildUsageRequest>) -> Answer<wire::BuildUsageResponse> {
        let builder = self.0.builds.builder.clone();
        let records = blocking(move || builder.records().map_err(|error| of_build(&error)));
        let encode = |record: Record| wire::BuildRecord {
            id: record.id,
            kind: record.kind.name().to_owned(),
            description: record.description,
            size_bytes: record.size_bytes,
            created_unix_nanos: record.created_unix_nanos,
            last_used_unix_nanos: record.last_used_unix_nanos,
            uses: record.uses,
            in_use: record.in_use,
            shared: record.shared,
        };
        let records = records.await?.into_iter().map(encode).collect();
        Ok(Response::new(wire::BuildUsageResponse { records }))
    }

    async fn prune(
        &self,
        request: Request<wire::PruneBuildsRequest>,
    ) -> Answer<wire::PruneBuildsResponse> {
        let wire::PruneBuildsRequest { all, filters, keep_bytes } = request.into_inner();
        let options = PruneOptions { all, filters, keep_bytes };
        let guest = self.0.clone();
        let pruned = blocking(move || {
            let collect = || {
                guest.images.collect(|layer| guest.uses_layer(layer))?;
                Ok(())
            };
            let pruned = guest.builds.builder.prune(&options, collect);
            pruned.map_err(|error| of_build(&error))
        });
        let pruned = pruned.await?;
        Ok(Response::new(wire::PruneBuildsResponse {
            removed: pruned.removed,
            reclaimed_bytes: pruned.freed_bytes,
        }))
    }
}
