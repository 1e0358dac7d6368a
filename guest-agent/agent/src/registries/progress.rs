//! Lines of progress, in the words of Docker's stream.

use std::sync::Arc;

use linkspan_registry::{Event, Status};

/// How far one layer is, or a word about the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Twelve digits of a layer, or a tag; empty: the whole.
    pub id: String,
    /// `Downloading`, `Pull complete`, ...
    pub status: String,
    /// Bytes; both 0 when the status has none.
    pub current: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Line {
    /// Whether a later line of the same layer makes this one needless.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.total > 0
    }
}

/// Takes lines. It must not block.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn(Line) + Send + Sync>);

impl Lines {
    /// Hands each line to `take`.
    pub fn new(take: impl Fn(Line) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn tell(&self, id: impl Into<String>, status: impl Into<String>) {
        self.bytes(id, status, 0, 0);
    }

    pub(super) fn bytes(
        &self,
        id: impl Into<String>,
        status: impl Into<String>,
        current: u64,
        total: u64,
    ) {
        (self.0)(Line { id: id.into(), status: status.into(), current, total });
    }

    /// What the client of registries says of one blob, under this id.
    pub(super) fn event(&self, id: &str, event: &Event) {
        match event.status {
            Status::Downloading | Status::Pushing => {
                self.bytes(id, event.status.to_string(), event.current, event.total);
            }
            Status::DownloadComplete => {
                self.tell(id, "Verifying Checksum");
                self.tell(id, event.status.to_string());
            }
            _ => self.tell(id, event.status.to_string()),
        }
    }
}
