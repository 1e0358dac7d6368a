//! The daemon's faces: they decode, call the engine, encode. Nothing here decides.
//!
//! Owns: the HTTP/2 server on the local socket, the services of `linkspan.host.v1`, the
//! pass-through of `linkspan.v1`, the splice of byte streams, and the Docker Engine API. Called by the daemon. It does
//! not: know machines, choose defaults, or look into a message that it passes through.

mod docker;
mod grpc;
mod streams;

pub use docker::{serve as serve_docker, serve_connection as serve_docker_connection};
pub use grpc::{serve as serve_grpc, serve_connection as serve_grpc_connection};
pub use streams::{serve as serve_streams, serve_connection as serve_stream_connection};
