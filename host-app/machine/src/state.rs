//! The states of a machine, each with its data, and the snapshot that watchers see.
//!
//! ```text
//!              start                 Hello
//!  Stopped ------------> Starting ------------> Running
//!     ^  ^                |    |                 |   |
//!     |  |   interrupted  |    | any phase       |   | panic, vanished
//!     |  +----------------+    +---> Failed <----|---+
//!     |                                          | stop, kill
//!     +------------------ Stopping <-------------+
//! ```
//! A guest that powers itself off goes from Running to Stopped; one that panics, from Running to
//! Starting, unless it did so too often (`crash`).

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use linkspan_state::MachineName;
use linkspan_transport::GuestSocket;
use tokio::sync::watch;

use crate::{
    driver::AcceleratorVerdict, failure::Failure, guest::GuestInfo, phase::Phases,
    policy::StateKind, settings::Settings, share::FolderChanges,
};

/// What a machine is doing.
#[derive(Debug, Clone)]
pub enum State {
    /// No VM.
    Stopped(Stopped),
    /// A VM boots, or one that an earlier daemon left is being asked whether it is well.
    Starting(Starting),
    /// The agent answered Hello.
    Running(Box<Running>),
    /// The VM is on its way out.
    Stopping(Stopping),
    /// The last start failed, or the VM ended badly.
    Failed(Failed),
}

/// No VM.
#[derive(Debug, Clone, Default)]
pub struct Stopped {
    /// How the last run ended, when this daemon saw it.
    pub ended: Option<Ended>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The guest powered off, asked or by itself.
    PoweredOff,
    /// It was killed: asked for, or because it did not power off in time.
    Killed,
    /// Someone stopped it before it ran; the VM, if there was one yet, was killed.
    StartInterrupted,
}

/// A boot under way.
#[derive(Debug, Clone)]
pub struct Starting {
    /// When it began.
    pub since: Timestamp,
    /// How far it is.
    pub phases: Phases,
    /// What it runs with, once that is chosen.
    pub accelerator: Option<AcceleratorVerdict>,
    /// Not a boot: the VM of an earlier daemon.
    pub adopting: bool,
    /// What the user should be told.
    pub notices: Vec<String>,
}

/// An agent that answered.
#[derive(Debug, Clone)]
pub struct Running {
    /// When the VM was started.
    pub started_at: Timestamp,
    /// The VMM's process on the host.
    pub vmm_pid: u32,
    /// What it runs with.
    pub accelerator: AcceleratorVerdict,
    /// How long its boot took, by phase.
    pub phases: Phases,
    /// Who answered.
    pub guest: GuestInfo,
    /// How to reach it.
    pub socket: GuestSocket,
    /// Where its shared folders tell of changes.
    pub folder_changes: Vec<FolderChanges>,
    /// Why the VM stands still, as long as it does.
    pub halted: watch::Receiver<Option<String>>,
    /// What it was started with.
    pub settings: Settings,
    /// Name (or path) of the kernel that was booted.
    pub kernel: String,
    /// Started by an earlier daemon.
    pub adopted: bool,
    /// What the user should be told.
    pub notices: Vec<String>,
}

/// A VM on its way out.
#[derive(Debug, Clone)]
pub struct Stopping {
    /// Since when.
    pub since: Timestamp,
    /// It is being killed, not asked.
    pub forced: bool,
}

/// A failure that nobody has answered yet with a start or a stop.
#[derive(Debug, Clone)]
pub struct Failed {
    /// What happened.
    pub failure: Arc<Failure>,
    /// When.
    pub at: Timestamp,
    /// How far the boot came.
    pub phases: Option<Phases>,
    /// The VM still runs as this process, and does not answer.
    pub stranded_pid: Option<u32>,
}

impl State {
    /// One word, as users see it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stopped(_) => "stopped",
            Self::Starting(_) => "starting",
            Self::Running(_) => "running",
            Self::Stopping(_) => "stopping",
            Self::Failed(_) => "failed",
        }
    }

    pub(crate) fn kind(&self) -> StateKind {
        match self {
            Self::Stopped(_) => StateKind::Stopped,
            Self::Starting(Starting { adopting: true, .. }) => StateKind::Adopting,
            Self::Starting(_) => StateKind::Starting,
            Self::Running(_) => StateKind::Running,
            Self::Stopping(Stopping { forced: true, .. }) => StateKind::Killing,
            Self::Stopping(_) => StateKind::Stopping,
            Self::Failed(Failed { stranded_pid: Some(_), .. }) => StateKind::Stranded,
            Self::Failed(_) => StateKind::Failed,
        }
    }

    /// The running VM, when it runs.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::Running(running) => Some(running),
            _ => None,
        }
    }

    /// The phases of the boot that is under way or was the last, where known.
    #[must_use]
    pub fn phases(&self) -> Option<&Phases> {
        match self {
            Self::Starting(starting) => Some(&starting.phases),
            Self::Running(running) => Some(&running.phases),
            Self::Failed(failed) => failed.phases.as_ref(),
            Self::Stopped(_) | Self::Stopping(_) => None,
        }
    }
}

/// A crash of the guest that was answered with a start.
#[derive(Debug, Clone)]
pub struct Crash {
    /// What happened, with the end of the serial log.
    pub failure: Arc<Failure>,
    /// When.
    pub at: Timestamp,
}

/// A machine at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its name.
    pub name: MachineName,
    /// What it does.
    pub state: State,
    /// What the next start uses.
    pub settings: Settings,
    /// `qemu`, `vz`, `hcs`.
    pub driver: &'static str,
    /// Where its files are.
    pub directory: PathBuf,
    /// Why it was started again by itself; until somebody starts or stops it.
    pub crash: Option<Crash>,
    /// Why its VM stands still, as long as it does.
    pub halted: Option<String>,
    /// It does not exist any more.
    pub removed: bool,
}

impl Snapshot {
    /// The settings were changed since the VM that runs was started.
    #[must_use]
    pub fn restart_needed(&self) -> bool {
        self.state.running().is_some_and(|running| running.settings != self.settings)
    }
}

/// A snapshot with figures that have to be measured.
#[derive(Debug, Clone)]
pub struct Status {
    /// The machine.
    pub snapshot: Snapshot,
    /// Resident memory of the VM's host processes; 0 unless there is one.
    pub host_memory_bytes: u64,
    /// What the data disk takes on the host.
    pub disk_allocated_bytes: u64,
    /// The data disk's size; 0 before the first start.
    pub disk_size_bytes: u64,
}
