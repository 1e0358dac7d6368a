//! The contract between host and guest, and between the daemon and its clients.
//!
//! `v1` is served by the agent and served again by the daemon; `host::v1` exists only on the
//! host. This crate owns the messages, the error table, the vsock port numbers, the stream
//! preface and how a stream carries a connection. It knows nothing else of ours, and decides
//! nothing.
//!
//! The committed descriptor baseline is `proto/baseline/linkspan.bin`; a test refuses a change
//! that an older peer would misread.

pub mod connection;
pub mod error;
pub mod ports;
pub mod preface;
mod registry;

/// Raised when an older peer would misread a newer one. Checked by both `Hello`s.
pub const PROTOCOL_VERSION: u32 = 2;

/// The metadata key by which a client of the daemon names the machine that a
/// `linkspan.v1` call is for. Absent: the default machine.
pub const MACHINE_KEY: &str = "linkspan-machine";

/// The metadata key of the id that a request keeps on its whole way, so that the log lines of the
/// client, the daemon and the agent that belong to it can be found. Absent: the daemon makes one.
pub const REQUEST_ID_KEY: &str = "linkspan-request-id";

/// The exit code of a `linkspand` that ended because another one already serves the same home.
/// To a client that started it this is no failure: it connects to the other one.
pub const DAEMON_RUNS_EXIT_CODE: i32 = 3;

/// The compiled descriptors of the whole contract (`google.protobuf.FileDescriptorSet`).
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/linkspan.bin"));

/// `linkspan.v1`: the container engine.
#[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
pub mod v1 {
    tonic::include_proto!("linkspan.v1");
}

/// `linkspan.host.v1`: what exists only on the host.
pub mod host {
    /// Version 1.
    #[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
    pub mod v1 {
        tonic::include_proto!("linkspan.host.v1");
    }
}
