//! How far each blob is, in the words of Docker's stream.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use linkspan_images::Digest;

/// What happens to a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It waits for its turn.
    Waiting,
    /// Its bytes come.
    Downloading,
    /// All came, and they are the right ones.
    DownloadComplete,
    /// It failed and is tried again after this time.
    Retrying(Duration),
    /// Looking whether the registry has it.
    Preparing,
    /// Its bytes go.
    Pushing,
    /// The registry has taken it.
    Pushed,
    /// The registry had it.
    LayerExists,
    /// The registry had it in this other repository.
    Mounted(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("Waiting"),
            Self::Downloading => f.write_str("Downloading"),
            Self::DownloadComplete => f.write_str("Download complete"),
            Self::Retrying(wait) => {
                let seconds = wait.as_secs_f64().ceil();
                let unit = if seconds == 1.0 { "second" } else { "seconds" };
                write!(f, "Retrying in {seconds} {unit}")
            }
            Self::Preparing => f.write_str("Preparing"),
            Self::Pushing => f.write_str("Pushing"),
            Self::Pushed => f.write_str("Pushed"),
            Self::LayerExists => f.write_str("Layer already exists"),
            Self::Mounted(repository) => write!(f, "Mounted from {repository}"),
        }
    }
}

/// One step of a blob.
#[derive(Debug, Clone)]
pub struct Event {
    /// The blob.
    pub digest: Digest,
    /// What happens.
    pub status: Status,
    /// Bytes so far.
    pub current: u64,
    /// Bytes in all.
    pub total: u64,
}

impl Event {
    /// The twelve digits that people see.
    #[must_use]
    pub fn id(&self) -> String {
        self.digest.hex()[..12].to_owned()
    }
}

/// Takes events. Called from the task that transfers: it must not block.
pub type Progress = Arc<dyn Fn(Event) + Send + Sync>;

/// Nobody listens.
#[must_use]
pub fn silent() -> Progress {
    Arc::new(|_| {})
}

/// Bytes are told this often.
const EVERY: Duration = Duration::from_millis(100);

/// The events of one blob.
#[derive(Clone)]
pub(crate) struct Reporter {
    progress: Progress,
    digest: Digest,
    total: u64,
    told: Option<Instant>,
}

impl Reporter {
    pub(crate) fn new(progress: &Progress, digest: Digest, total: u64) -> Self {
        Self { progress: progress.clone(), digest, total, told: None }
    }

    pub(crate) fn status(&self, status: Status, current: u64) {
        (self.progress)(Event { digest: self.digest, status, current, total: self.total });
    }

    /// Tells bytes, but not each time.
    pub(crate) fn bytes(&mut self, status: Status, current: u64) {
        let now = Instant::now();
        let due = self.told.is_none_or(|told| now.duration_since(told) >= EVERY);
        if due || current == self.total {
            self.told = Some(now);
            self.status(status, current);
        }
    }
}
