//! `/build`.

use http::StatusCode;
use serde_json::json;

use super::{
    answer::{Outcome, Refusal, ok},
    call::Call,
};

/// The machine has no builder yet.
pub(super) async fn build(_: Call) -> Outcome {
    let why =
        "building images is not supported by this engine yet: build elsewhere and load the image";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why))
}

/// Without a builder there is nothing that builds have left.
pub(super) async fn prune(_: Call) -> Outcome {
    ok(&json!({"CachesDeleted": null, "SpaceReclaimed": 0}))
}

/// `POST /build/cancel`: a build ends with its connection, there is no other to cancel.
pub(super) async fn cancel(call: Call) -> Outcome {
    let id = call.text("id");
    Err(Refusal::new(StatusCode::NOT_FOUND, format!("no such build: {id}")))
}
