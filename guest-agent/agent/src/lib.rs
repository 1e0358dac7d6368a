//! `linkspan-agent`: PID 1 of the VM, and the container engine's faces.
//!
//! Owns the boot ([`boot`]), the one reaper ([`reaper`]), the services ([`rpc`]) and the power-off
//! ([`power`]). What containers are is decided in `containers`, what images are in `images`. It
//! serves on vsock and nowhere else.
//!
//! [`rpc::services`] can be served over any byte stream: the tests of the whole stack use an
//! in-memory pipe and a scripted launcher.

mod accept;
pub mod beacon;
pub mod boot;
pub mod builds;
pub mod console;
pub mod docker_api;
pub mod emulation;
pub mod failure;
pub mod folders;
pub mod launcher;
pub mod names;
pub mod networks;
mod oom;
pub mod pid1;
pub mod ports;
pub mod power;
mod procfs;
pub mod reaper;
pub mod registries;
pub mod rpc;
pub mod serve;
pub mod shell;
pub mod store;
pub mod streams;
