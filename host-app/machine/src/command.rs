//! The orders that a handle sends to the owner of a machine.

use std::sync::Arc;

use linkspan_state::SettingsPatch;
use tokio::sync::oneshot;

use crate::{
    driver::Vm,
    error::MachineError,
    handle::{Started, StopOrder, StopResult},
    policy::Action,
    settings::Settings,
};

/// Where the answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, MachineError>>;

/// An order from a handle.
pub(crate) enum Command {
    Start {
        reply: Reply<Started>,
    },
    Stop {
        order: StopOrder,
        reply: Reply<StopResult>,
    },
    Update {
        patch: SettingsPatch,
        reply: Reply<Settings>,
    },
    Remove {
        force: bool,
        reply: Reply<()>,
    },
    /// The VM, if there is one, for measuring.
    Vm {
        reply: Reply<Option<Arc<dyn Vm>>>,
    },
}

impl Command {
    pub(crate) fn action(&self) -> Option<Action> {
        Some(match self {
            Self::Start { .. } => Action::Start,
            Self::Stop { order: StopOrder { force: false, .. }, .. } => Action::Stop,
            Self::Stop { .. } => Action::Kill,
            Self::Update { .. } => Action::Update,
            Self::Remove { force, .. } => Action::Remove { force: *force },
            Self::Vm { .. } => return None,
        })
    }
}

/// Who asked may have gone; the answer is then nobody's.
pub(crate) fn answer<T>(reply: Reply<T>, result: Result<T, MachineError>) {
    let _ = reply.send(result);
}
