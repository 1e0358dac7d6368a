//! Why a machine failed: in which phase, the cause, the remedy, and the end of the serial log.

use std::{fmt, time::Duration};

use linkspan_state::{MachineName, StateError, image::ImageError};

use crate::{
    disk::DiskError,
    driver::{DriverError, VmExit},
    guest::GuestError,
    phase::Phase,
    settings::SettingsError,
};

/// Lines of the serial log that a failure carries.
pub(crate) const EVIDENCE_LINES: usize = 20;

/// The kind, for those who turn it into a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The VM image is missing or damaged.
    Image,
    /// The settings cannot be had on this host.
    Settings,
    /// Another process holds the machine, a file, a port.
    InUse,
    /// A program or device of the host is missing.
    Missing,
    /// The host's disk is full.
    NoSpace,
    /// The host or the driver cannot do it.
    Unsupported,
    /// A phase overran its budget.
    TimedOut,
    /// The guest reported that a phase failed.
    Guest,
    /// The VM ended by itself.
    Ended,
    /// The agent is of another version.
    Incompatible,
    /// Anything else.
    Internal,
}

/// A failed start, or the end of a machine that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whose.
    pub machine: MachineName,
    /// What kind.
    pub kind: FailureKind,
    /// In which phase of the boot; `None`: after it.
    pub phase: Option<Phase>,
    /// What happened: lower case, no full stop.
    pub cause: String,
    /// What to do; empty when there is nothing useful to say.
    pub remedy: String,
    /// The last lines of the serial log; empty when the VM had not started.
    pub serial: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, cause, .. } = self;
        match self.phase {
            Some(phase) => {
                write!(formatter, "machine `{machine}` did not start: phase {phase}: {cause}")
            }
            None => write!(formatter, "machine `{machine}` failed: {cause}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What went wrong, before it is known whose it is and what the serial log says.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Someone stopped the machine while it started.
    Interrupted,
    Settings(SettingsError),
    State(StateError),
    Image(ImageError),
    Disk(DiskError),
    Driver(DriverError),
    Guest(GuestError),
    /// A phase of the guest failed, in its words.
    Phase {
        error: String,
        hint: String,
    },
    /// The current phase took too long.
    Overrun {
        phase: Phase,
        budget: Duration,
        kernel: String,
    },
    /// Neither news from the guest nor a byte on its console: the accelerator is suspect.
    Silent {
        budget: Duration,
        accelerator: crate::driver::Accelerator,
    },
    /// The guest's kernel says that a processor stands still, before the agent began.
    Stalled {
        kernel: String,
    },
    /// The VM ended while it booted, or later.
    Ended(VmExit),
    Io {
        action: &'static str,
        subject: String,
        source: std::io::Error,
    },
}

impl Trouble {
    pub(crate) fn into_failure(self, machine: &MachineName, phase: Option<Phase>) -> Failure {
        let (kind, cause, remedy) = self.explain(machine);
        Failure { machine: machine.clone(), kind, phase, cause, remedy, serial: Vec::new() }
    }

    fn explain(self, machine: &MachineName) -> (FailureKind, String, String) {
        let serial = format!("read the serial log with `linkspan machine logs {machine}`");
        let other_kernel =
            format!("{serial}, or try another kernel: `linkspan machine set --kernel debian`");
        match self {
            Self::Interrupted => {
                (FailureKind::Internal, "the start was broken off".into(), String::new())
            }
            Self::Settings(error) => {
                let remedy = "change them with `linkspan machine set`".into();
                (
                    FailureKind::Settings,
                    format!("the settings do not fit this host: {error}"),
                    remedy,
                )
            }
            Self::State(error) => explain_state(&error),
            Self::Image(error) => (FailureKind::Image, error.to_string(), error.hint()),
            Self::Disk(error) if error.is_no_space() => {
                let remedy = "free some space on the host's disk and start again".into();
                (FailureKind::NoSpace, error.to_string(), remedy)
            }
            Self::Disk(error @ DiskError::Larger { .. }) => {
                let remedy =
                    "set the disk to at least that size with `linkspan machine set`".into();
                (FailureKind::Settings, error.to_string(), remedy)
            }
            Self::Disk(error) => (FailureKind::Internal, error.to_string(), String::new()),
            Self::Driver(error) => explain_driver(&error),
            Self::Guest(error) => explain_guest(error, serial),
            Self::Phase { error, hint } => {
                (FailureKind::Guest, error, if hint.is_empty() { serial } else { hint })
            }
            Self::Overrun { phase, budget, kernel } => {
                let seconds = budget.as_secs_f32();
                let (cause, remedy) = match phase {
                    Phase::Image => (
                        format!("the disk and the image were not ready within {seconds} s"),
                        "the host's disk is very slow or hangs: look at its health and load".into(),
                    ),
                    Phase::Kernel => (
                        format!("the kernel `{kernel}` did not start the agent within {seconds} s"),
                        other_kernel,
                    ),
                    Phase::Ready => {
                        (format!("the agent did not say Hello within {seconds} s"), serial)
                    }
                    other => (
                        format!("the guest did not finish the phase {other} within {seconds} s"),
                        serial,
                    ),
                };
                (FailureKind::TimedOut, cause, remedy)
            }
            Self::Silent { budget, accelerator } => (
                FailureKind::TimedOut,
                format!(
                    "the VM showed no sign of life within {} s under {accelerator}",
                    budget.as_secs_f32()
                ),
                format!(
                    "{accelerator} may not work on this host: `linkspan machine set --accelerator tcg` is slower and always works"
                ),
            ),
            Self::Stalled { kernel } => (
                FailureKind::TimedOut,
                format!("the kernel `{kernel}` stood still before it started the agent"),
                other_kernel,
            ),
            Self::Ended(exit) => explain_exit(&exit, serial),
            Self::Io { action, subject, source } => {
                let full = matches!(
                    source.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                );
                let kind = if full { FailureKind::NoSpace } else { FailureKind::Internal };
                let remedy = if full { "free some space on the host's disk" } else { "" };
                (kind, format!("cannot {action} `{subject}`: {source}"), remedy.into())
            }
        }
    }
}

fn explain_state(error: &StateError) -> (FailureKind, String, String) {
    let kind = match error {
        StateError::Locked { .. } => FailureKind::InUse,
        error if error.is_no_space() => FailureKind::NoSpace,
        _ => FailureKind::Internal,
    };
    (kind, error.to_string(), error.hint().unwrap_or_default())
}

fn explain_driver(error: &DriverError) -> (FailureKind, String, String) {
    let kind = match error {
        DriverError::Unsupported { .. } => FailureKind::Unsupported,
        DriverError::Missing { .. } => FailureKind::Missing,
        DriverError::InUse { .. } => FailureKind::InUse,
        DriverError::TimedOut { .. } => FailureKind::TimedOut,
        DriverError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            FailureKind::NoSpace
        }
        DriverError::Start { .. } | DriverError::Io { .. } => FailureKind::Internal,
    };
    (kind, error.to_string(), error.hint().unwrap_or_default().into())
}

fn explain_guest(error: GuestError, serial: String) -> (FailureKind, String, String) {
    let cause = error.to_string();
    match error {
        GuestError::Listen { .. } => {
            (FailureKind::InUse, cause, "end the other program that listens there".into())
        }
        GuestError::Incompatible { hint, .. } => (FailureKind::Incompatible, cause, hint),
        GuestError::Unreachable { .. } | GuestError::TimedOut { .. } => {
            (FailureKind::TimedOut, format!("no Hello: {cause}"), serial)
        }
        GuestError::Refused { .. } => (FailureKind::Guest, cause, serial),
    }
}

fn explain_exit(exit: &VmExit, serial: String) -> (FailureKind, String, String) {
    let (cause, remedy) = match exit {
        VmExit::PoweredOff => ("the guest powered itself off", serial),
        VmExit::GuestPanicked => ("the guest's kernel panicked or reset", serial),
        VmExit::Vanished => (
            "the virtual machine monitor ended without saying why: it crashed or was killed",
            "look whether the host ran out of memory, then start the machine again".into(),
        ),
        VmExit::Killed => {
            ("the VM was killed", "start it again with `linkspan machine start`".into())
        }
    };
    (FailureKind::Ended, cause.into(), remedy)
}
