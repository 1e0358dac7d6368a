//! What a boot consists of and how long each part takes.
//!
//! The clock is CLOCK_BOOTTIME: it begins with the kernel, so that the kernel's own time is a
//! phase like the others. Each change is kept for Hello, written to the log (and so to the serial
//! console) and handed to the beacon.

use std::sync::{Arc, mpsc};

use linkspan_proto::v1::BootPhase;
use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

use super::BootError;

/// Microseconds since the kernel started.
#[must_use]
pub fn since_kernel_us() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |now| {
        now.tv_sec().unsigned_abs() * 1_000_000 + now.tv_nsec().unsigned_abs() / 1000
    })
}

/// The phases so far. Cheap to clone; clones see the same boot.
#[derive(Debug, Clone, Default)]
pub struct Timeline(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    phases: Vec<BootPhase>,
    /// What the beacon has not been given yet, while it does not exist.
    unsent: Vec<BootPhase>,
    beacon: Option<mpsc::Sender<BootPhase>>,
}

impl Timeline {
    /// A boot that begins with the kernel's part, which is over.
    #[must_use]
    pub fn begin() -> Self {
        let timeline = Self::default();
        timeline.note(BootPhase {
            name: "kernel".into(),
            duration_us: since_kernel_us().max(1),
            ..BootPhase::default()
        });
        timeline
    }

    /// What happened so far, for Hello.
    #[must_use]
    pub fn phases(&self) -> Vec<BootPhase> {
        self.0.lock().phases.clone()
    }

    /// From now on every change also goes to `beacon`; what it missed goes first.
    pub fn report_to(&self, beacon: mpsc::Sender<BootPhase>) {
        let mut inner = self.0.lock();
        for phase in std::mem::take(&mut inner.unsent) {
            // A beacon that is gone has said why; the boot goes on without it.
            let _ = beacon.send(phase);
        }
        inner.beacon = Some(beacon);
    }

    /// Nothing more will happen: the beacon ends when it has sent all.
    pub fn end(&self) {
        self.0.lock().beacon = None;
    }

    /// Does one phase and times it.
    ///
    /// # Errors
    /// What `work` answers.
    pub fn phase<T>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, BootError>,
    ) -> Result<T, BootError> {
        let started_us = since_kernel_us();
        self.note(BootPhase { name: name.into(), started_us, ..BootPhase::default() });
        let result = work();
        let mut over = BootPhase {
            name: name.into(),
            started_us,
            // 0 means "runs": a phase that is over took at least a microsecond.
            duration_us: since_kernel_us().saturating_sub(started_us).max(1),
            ..BootPhase::default()
        };
        if let Err(error) = &result {
            over.error = error.to_string();
            over.hint = error.hint().unwrap_or_default().to_owned();
        }
        self.note(over);
        result
    }

    fn note(&self, phase: BootPhase) {
        if phase.duration_us > 0 && phase.error.is_empty() {
            tracing::info!(phase = phase.name, ms = phase.duration_us / 1000, "boot");
        }
        let mut inner = self.0.lock();
        match inner.phases.iter_mut().find(|known| known.name == phase.name) {
            Some(known) => known.clone_from(&phase),
            None => inner.phases.push(phase.clone()),
        }
        match &inner.beacon {
            // As above.
            Some(beacon) => drop(beacon.send(phase)),
            None => inner.unsent.push(phase),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_that_comes_late_misses_nothing() {
        let timeline = Timeline::begin();
        timeline.phase("agent", || Ok(())).expect("it succeeds");
        let (sender, receiver) = mpsc::channel();
        timeline.report_to(sender);
        timeline.phase("disk", || Ok(())).expect("it succeeds");
        timeline.end();
        let seen: Vec<_> =
            receiver.iter().map(|phase| (phase.name, phase.duration_us > 0)).collect();
        let expected =
            [("kernel", true), ("agent", false), ("agent", true), ("disk", false), ("disk", true)];
        assert_eq!(seen, expected.map(|(name, over)| (name.to_owned(), over)));
    }

    #[test]
    fn a_failed_phase_carries_its_reason_and_remedy() {
        let timeline = Timeline::begin();
        let failed: Result<(), _> =
            timeline.phase("disk", || Err(BootError::NoDisk { seconds: 3 }));
        assert!(failed.is_err());
        let phases = timeline.phases();
        let disk = phases.last().expect("a phase");
        assert!(disk.error.contains("/dev/vda") && !disk.hint.is_empty(), "{disk:?}");
    }
}
