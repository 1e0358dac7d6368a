//! What a machine is made of, and the small work on its files that several steps share.

use std::{sync::Arc, time::SystemTime};

use jiff::Timestamp;
use linkspan_state::{MachinePaths, image::ImageSearch};

use crate::{
    driver::Driver,
    failure::{EVIDENCE_LINES, Trouble},
    guest::Guest,
    phase::Budgets,
    serial::SerialLog,
    settings::HostLimits,
};

/// What a machine is made of.
#[derive(Clone)]
pub struct Parts {
    /// Its files.
    pub paths: MachinePaths,
    /// Where the VM image may be.
    pub images: ImageSearch,
    /// The hypervisor.
    pub driver: Arc<dyn Driver>,
    /// How to talk to the agent.
    pub guest: Arc<dyn Guest>,
    /// How long things may take.
    pub budgets: Budgets,
    /// What the host has.
    pub host: HostLimits,
    /// The host's vsock port for the boot beacon.
    pub beacon_port: u32,
    /// A start is refused with less free on the host's disk: [`MIN_FREE_BYTES`](crate::MIN_FREE_BYTES).
    pub min_free_bytes: u64,
}

impl Parts {
    pub(crate) fn serial(&self) -> SerialLog {
        SerialLog::new(self.paths.serial_log(), self.paths.previous_serial_log())
    }
}

impl Parts {
    /// The end of the serial log, for a failure.
    pub(crate) async fn evidence(&self) -> Vec<String> {
        let serial = self.serial();
        blocking(move || serial.evidence(EVIDENCE_LINES)).await.unwrap_or_default()
    }

    /// The VM is gone: so is its record. One that stays is not believed later, since the process
    /// in it is not the VM's.
    pub(crate) async fn forget_run(&self) {
        let path = self.paths.run_record();
        if let Ok(Err(error)) = blocking(move || linkspan_state::remove_file(&path)).await {
            tracing::warn!(%error, "the record of a VM that is gone stays");
        }
    }
}

/// The moment a VM was started, when nothing better is known: now.
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Runs blocking file work with its own errors.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Trouble::Io {
        action: "finish",
        subject: "work on files".into(),
        source: source.into(),
    })
}
