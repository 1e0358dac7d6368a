//! The container runtime: a [`plan::Plan`] becomes a process. Synchronous; knows neither tokio
//! nor any protocol but its own short one with `linkspan-init`.
//!
//! - [`plan`]: what a container is, as data
//! - [`defaults`], [`capabilities`], [`rlimits`], [`seccomp`], [`devices`]: what a plan is made of
//! - [`bundle`]: what an OCI bundle can ask for beyond a plan
//! - [`cgroup`]: limits, and ending everything at once
//! - [`launch`]: starts `linkspan-init` and listens to it
//! - [`wire`]: what the two say to each other
//!
//! It does not mount, change namespaces or drop privileges: that is `linkspan-init`'s work, in a
//! process of its own.

pub mod bundle;
pub mod capabilities;
pub mod cgroup;
pub mod defaults;
pub mod devices;
pub mod launch;
pub mod plan;
pub mod rlimits;
pub mod seccomp;
pub mod wire;
