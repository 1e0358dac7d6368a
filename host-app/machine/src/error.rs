//! What a call on a machine can end in.

use std::sync::Arc;

use linkspan_state::{MachineName, StateError};

use crate::{driver::DriverError, failure::Failure, policy::Refusal, settings::SettingsError};

/// Why a call on a machine did not do what was asked. Cheap to clone: several callers can share
/// one result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MachineError {
    /// The settings cannot be.
    #[error("{0}")]
    Settings(SettingsError),
    /// There is a machine of that name.
    #[error("there is a machine `{0}` already")]
    Exists(MachineName),
    /// There is none (any more).
    #[error("there is no machine `{0}`")]
    NotFound(MachineName),
    /// The state forbids it.
    #[error("cannot {action} machine `{machine}`: {}", because(*refusal))]
    Refused {
        /// Whose state.
        machine: MachineName,
        /// The verb.
        action: &'static str,
        /// Why not.
        refusal: Refusal,
    },
    /// It did not start.
    #[error("{0}")]
    Failed(Arc<Failure>),
    /// Someone stopped it before it ran.
    #[error("the start of machine `{0}` was broken off: it was stopped meanwhile")]
    Interrupted(MachineName),
    /// The VM would not die.
    #[error("cannot end the VM of machine `{machine}`: {source}")]
    Kill {
        /// Whose.
        machine: MachineName,
        /// The driver's words.
        source: Arc<DriverError>,
    },
    /// A file of the machine could not be read or written.
    #[error("{0}")]
    State(Arc<StateError>),
    /// The machine's task is gone: the daemon is ending.
    #[error("machine `{0}` takes no more orders: the daemon is ending")]
    Ending(MachineName),
}

fn because(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Running => "it runs",
        Refusal::Stranded => "the VM of an earlier start still runs and does not answer",
    }
}

impl From<StateError> for MachineError {
    fn from(error: StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

impl MachineError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Settings(_) | Self::Interrupted(_) => return None,
            Self::Exists(name) => {
                format!("choose another name, or change it: `linkspan machine set {name}`")
            }
            Self::NotFound(_) => "list them with `linkspan machine list`".into(),
            Self::Refused { machine, refusal: Refusal::Running, .. } => {
                format!("stop it first: `linkspan machine stop {machine}`")
            }
            Self::Refused { machine, refusal: Refusal::Stranded, .. } => {
                format!("end it with `linkspan machine stop --force {machine}`")
            }
            Self::Failed(failure) => failure.remedy.clone(),
            Self::Kill { source, .. } => source.hint()?.to_owned(),
            Self::State(error) => error.hint()?,
            Self::Ending(_) => "try again".into(),
        };
        Some(hint).filter(|hint| !hint.is_empty())
    }

    /// The end of the serial log, where it explains the error.
    #[must_use]
    pub fn evidence(&self) -> &[String] {
        match self {
            Self::Failed(failure) => &failure.serial,
            _ => &[],
        }
    }
}
