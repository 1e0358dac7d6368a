//! The container runtime: a [`plan::Plan`] becomes a process. Synchronous, no tokio.

pub mod plan;
