//! `/distribution`: what a registry says of an image.

use linkspan_docker_types::image::Distribution;
use linkspan_proto::v1::DistributionRequest;

use super::{
    answer::{Outcome, ok},
    call::Call,
    transfer::credentials,
};

pub(super) async fn inspect(call: Call) -> Outcome {
    let request =
        DistributionRequest { reference: call.name("name"), credentials: credentials(&call)? };
    let found = call.registries().await?.distribution(request).await?.into_inner();
    ok(&Distribution::from(&found))
}
