//! The client of image registries (OCI distribution specification 1.1, and Docker's).
//!
//! Owns everything on the wire: where a registry is (mirrors, insecure registries, proxies),
//! who asks (tokens, passwords), and that what comes is what was asked for (digests, sizes). It is
//! called by the agent, once per machine: a [`Client`] is shared so that its transfers are.
//!
//! ```text
//! Client::repository(reference, credentials) -> Repository
//!     image(platform)                 index -> manifest
//!     fetch_blob(descriptor, sink)    in order; resumed, verified, once for simultaneous calls
//!     push_blob(descriptor, source)   not if it is there; mounted; in one request or in pieces
//!     put_manifest(media type, bytes)
//! ```
//!
//! Nothing is left behind when a future is dropped: no task of ours goes on, and a sink that
//! was not committed is dropped.
//!
//! Why not a ready client: `oci-client` resumes and mounts, but knows neither mirrors nor retries
//! nor identity tokens nor where the loopback of a virtual machine's host is, and it comes with
//! `reqwest`, whose URLs bring the Unicode tables of ICU into the initramfs. hyper is in the
//! agent already.
//!
//! Deliberately absent: a store, unpacking, reading credentials from files (the host does that
//! and hands them over with each call), manifests of schema 1, other digests than SHA-256.

#![forbid(unsafe_code)]

mod auth;
mod blob;
mod challenge;
mod client;
mod connect;
mod document;
mod download;
mod endpoint;
mod error;
mod flight;
mod headers;
mod login;
mod manifest;
mod outgoing;
mod platform;
mod progress;
mod retry;
mod search;
mod settings;
mod tls;
mod transport;
mod upload;

pub use auth::Credentials;
pub use blob::{BlobSink, Fetched};
pub use client::{Client, Repository};
pub use document::{
    Content, DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, OCI_INDEX, OCI_MANIFEST,
};
pub use download::DownloadError;
pub use error::{BoxError, Error, Refusal, Result};
pub use manifest::Image;
pub use outgoing::BlobSource;
pub use platform::parse_platform;
pub use progress::{Event, Progress, Status, silent};
pub use search::Found;
pub use settings::{Insecure, Mirror, Proxies, Retry, Settings, Timeouts};
pub use upload::Pushed;
