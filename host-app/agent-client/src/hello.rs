//! The handshake: both sides check the other's protocol version and features.

use std::time::{SystemTime, UNIX_EPOCH};

use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    v1::{HelloRequest, HelloResponse},
};
use tonic::Status;

use crate::AgentError;

/// What this side can do, as told to the agent.
pub const OFFERED_FEATURES: &[&str] = &["boot-beacon", "upload"];

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn request() -> HelloRequest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    HelloRequest {
        protocol_version: PROTOCOL_VERSION,
        version: VERSION.into(),
        features: OFFERED_FEATURES.iter().map(|&feature| feature.into()).collect(),
        unix_nanos: i64::try_from(now.as_nanos()).unwrap_or(0),
    }
}

pub(crate) fn check(
    machine: &str,
    required: &[&str],
    response: &HelloResponse,
) -> Result<(), AgentError> {
    if response.protocol_version != PROTOCOL_VERSION {
        return Err(AgentError::VersionMismatch {
            machine: machine.into(),
            theirs: response.protocol_version,
            their_version: response.version.clone(),
            ours: PROTOCOL_VERSION,
            our_version: VERSION,
        });
    }
    let missing =
        required.iter().find(|&&feature| !response.features.iter().any(|has| has == feature));
    missing.map_or(Ok(()), |feature| {
        Err(AgentError::MissingFeature {
            machine: machine.into(),
            their_version: response.version.clone(),
            feature: (*feature).into(),
        })
    })
}

/// The agent's own check failed, or its Hello did.
pub(crate) fn refused(machine: &str, status: Status) -> AgentError {
    let mut failure = Failure::from(status);
    if failure.code == ErrorCode::VersionMismatch && failure.hint.is_none() {
        failure = failure.hint(format!(
            "restart it with the present VM image: `linkspan machine stop {machine}`, then \
             `linkspan machine start {machine}`"
        ));
    }
    AgentError::Refused { machine: machine.into(), failure }
}
