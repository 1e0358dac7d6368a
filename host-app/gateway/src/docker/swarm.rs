//! Swarm, nodes, services, tasks, secrets, configs and plugins, as an engine answers that is in no
//! swarm and has no plugins.

use http::StatusCode;

use super::{
    answer::{Outcome, Refusal, ok},
    call::Call,
};

/// Docker's words.
pub(super) const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

pub(super) async fn not_a_manager(_: Call) -> Outcome {
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, NOT_A_MANAGER))
}

/// `init` and `join` would make one.
pub(super) async fn no_swarm(_: Call) -> Outcome {
    let why = "swarm mode is not supported: this engine is one machine";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why))
}

/// `leave` and what only a member can do.
pub(super) async fn not_a_member(_: Call) -> Outcome {
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm"))
}

pub(super) async fn plugins(_: Call) -> Outcome {
    ok(&[(); 0])
}

pub(super) async fn no_plugin(call: Call) -> Outcome {
    let message = format!("plugin \"{}\" not found", call.name("name"));
    Err(Refusal::new(StatusCode::NOT_FOUND, message))
}

pub(super) async fn no_plugins(_: Call) -> Outcome {
    let why = "plugins are not supported: drivers of volumes, networks and logs are built in";
    Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, why))
}
