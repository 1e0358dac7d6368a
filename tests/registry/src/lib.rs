//! A registry in memory for tests (OCI distribution specification 1.1). It serves what a test puts
//! into it, takes what is pushed, and does to each request what the test's rule says: serve, cut,
//! lie, refuse, fall silent. [`Image`] makes images for it. [`Process`] is a real registry, to show
//! that not only our own idea of one is met. [`is_installed`] and [`client`] say whether the machine has what a test needs.
//!
//! It knows nothing of Linkspan: what is tested with it has to agree with it by the specification.

mod answer;
mod image;
mod needs;
mod process;
mod server;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use sha2::Digest as _;
use tokio::sync::watch;

pub use image::{File, Image, Layer, Packing, noise};
pub use needs::{cache, client, is_installed, is_missing};
pub use process::{PASSWORD, Process, Setup, USER, skopeo};
pub use server::{Server, State};

/// OCI's image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// `sha256:` and the digest of these bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// As it stood in the request.
    pub uri: String,
    /// The path of [`Self::uri`].
    pub path: String,
    /// The query of [`Self::uri`], empty when there is none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// How many with the same method and path came before.
    pub nth: usize,
}

impl Seen {
    /// A header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it asks for the bytes of a blob.
    #[must_use]
    pub fn gets_blob(&self) -> bool {
        self.method == Method::GET && self.path.contains("/blobs/sha256:")
    }

    /// Whether it asks for a manifest or index.
    #[must_use]
    pub fn gets_manifest(&self) -> bool {
        self.method == Method::GET && self.path.contains("/manifests/")
    }
}

/// What to do with a request.
#[derive(Debug)]
pub enum Act {
    /// As it should be.
    Serve,
    /// Promise all, and end the connection after this many bytes of the body.
    Cut(usize),
    /// Promise all, serve this many bytes of the body and then nothing more.
    Silence(usize),
    /// Serve this many bytes, and the rest when the gate has been opened.
    Gate(usize, Gate),
    /// Serve this many bytes at a time, with a pause after each piece.
    Slow(usize, Duration),
    /// Serve the whole, whatever range was asked for.
    Whole,
    /// Serve these bytes instead of the blob or manifest.
    Lie(Bytes),
    /// The same, without saying how long it is.
    LieInChunks(Bytes),
    /// Something else altogether.
    Answer(StatusCode, Vec<(&'static str, String)>, String),
}

impl Act {
    /// An answer of this status and nothing else.
    ///
    /// # Panics
    /// When it is no status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer(StatusCode::from_u16(status).expect("a status"), Vec::new(), String::new())
    }
}

/// What holds answers back until a test has seen what it wants to see.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// Closed.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets all through, from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        // The sender is `self`, so it is there.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
