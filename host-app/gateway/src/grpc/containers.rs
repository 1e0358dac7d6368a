//! The one container call that the engine must see: it may have to load a built-in image first.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use linkspan_engine::Engine;
use linkspan_proto::v1::{CreateContainerRequest, CreateContainerResponse};
use tonic::{body::Body, server::Grpc};
use tonic_prost::ProstCodec;

use super::machine;

/// The path of the call.
pub(super) const CREATE: &str = "/linkspan.v1.ContainerService/Create";

pub(super) async fn create(engine: Arc<dyn Engine>, request: Request<Incoming>) -> Response<Body> {
    let machine = machine(&request);
    let service = tower::service_fn(move |request: tonic::Request<CreateContainerRequest>| {
        let (engine, machine) = (engine.clone(), machine.clone());
        async move { engine.create_container(&machine, request).await }
    });
    let codec = ProstCodec::<CreateContainerResponse, CreateContainerRequest>::default();
    Grpc::new(codec).unary(service, request).await
}
