//! The vsock ports. Both ends are ours, so they are constants and not settings.

/// The agent listens here for gRPC (HTTP/2 without TLS; only the host can reach it).
pub const AGENT_RPC: u32 = 1024;

/// The agent listens here for byte streams, each beginning with a [`crate::preface::Preface`].
pub const AGENT_STREAMS: u32 = 1025;

/// The *host* listens here while a machine starts: the agent connects and sends one
/// length-delimited `BootPhase` message for each change, the last one named `ready`.
pub const HOST_BOOT_BEACON: u32 = 1026;
