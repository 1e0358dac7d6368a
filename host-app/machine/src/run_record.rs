//! `run.json`: what a later daemon must know of a VM that it did not start.

use jiff::Timestamp;
use linkspan_state::Document;
use serde::{Deserialize, Serialize};

use crate::{phase::Phases, settings::Settings};

/// Written when the VM starts, again when it is ready; removed when it has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    /// The VMM's process: another VM's record is not believed.
    pub(crate) vmm_pid: u32,
    pub(crate) started_at: Timestamp,
    pub(crate) settings: Settings,
    pub(crate) kernel: String,
    pub(crate) phases: Phases,
}

impl Document for RunRecord {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the record of a running machine";
}
