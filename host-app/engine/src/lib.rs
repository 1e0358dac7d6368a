//! The use cases of the daemon: what needs both the host and the guest, and every decision.
//!
//! Owns: which machines there are, booting one for the first call that needs it, the guest's
//! side of a boot as the `machine` crate wants it (`guest`), built-in images,
//! what a machine looks like to a client. Called by the faces through [`Engine`]. It does not:
//! decode or encode a wire protocol, know a driver, or copy bytes.

mod agent_log;
mod builtin;
mod clock;
mod companion;
mod docker_api;
mod engine;
mod failure;
mod fleet;
mod folders;
mod guest;
mod host;
mod host_engine;
mod ports;
mod registries;
mod shares;
mod start;
#[cfg(any(test, feature = "fake"))]
pub mod stub;
mod view;

pub use docker_api::DockerClient;
pub use engine::{Engine, Updates};
pub use host_engine::{EngineOptions, HostEngine};
pub use linkspan_agent_client::RegistryCalls;
pub use linkspan_credentials::Registry;
