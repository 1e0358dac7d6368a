//! Publishes how far a boot or an adoption is.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{
    driver::AcceleratorVerdict,
    phase::Phases,
    state::{Snapshot, Starting, State},
    tracker::Tracker,
};

/// The boot's clock, its phases, and the one `watch` that they go out through.
pub(crate) struct Progress {
    out: Arc<watch::Sender<Snapshot>>,
    begun: Instant,
    pub(crate) tracker: Tracker,
    pub(crate) accelerator: Option<AcceleratorVerdict>,
    pub(crate) notices: Vec<String>,
}

impl Progress {
    pub(crate) fn new(out: Arc<watch::Sender<Snapshot>>, phases: Phases) -> Self {
        let tracker = Tracker::new(phases);
        Self { out, begun: Instant::now(), tracker, accelerator: None, notices: Vec::new() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.begun + self.tracker.deadline()
    }

    pub(crate) fn publish(&self) {
        self.out.send_if_modified(|snapshot| {
            // Interrupted meanwhile: the owner has the word.
            let State::Starting(starting) = &mut snapshot.state else { return false };
            *starting = Starting {
                since: starting.since,
                adopting: starting.adopting,
                phases: self.tracker.phases().clone(),
                accelerator: self.accelerator.clone(),
                notices: self.notices.clone(),
            };
            true
        });
    }
}
