//! The one call of builds that the engine must see: a base may be a built-in image.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use linkspan_engine::Engine;
use linkspan_proto::v1::{ProvideImageRequest, ProvideImageResponse};
use tonic::{body::Body, server::Grpc};
use tonic_prost::ProstCodec;

use super::machine;

/// The path of the call.
pub(super) const PROVIDE: &str = "/linkspan.v1.BuildService/ProvideImage";

pub(super) async fn provide(engine: Arc<dyn Engine>, request: Request<Incoming>) -> Response<Body> {
    let machine = machine(&request);
    let service = tower::service_fn(move |request: tonic::Request<ProvideImageRequest>| {
        let (engine, machine) = (engine.clone(), machine.clone());
        async move {
            engine.provide_image(&machine, &request.into_inner().reference).await?;
            Ok(tonic::Response::new(ProvideImageResponse {}))
        }
    });
    let codec = ProstCodec::<ProvideImageResponse, ProvideImageRequest>::default();
    Grpc::new(codec).unary(service, request).await
}
