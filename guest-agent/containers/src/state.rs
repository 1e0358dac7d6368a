//! The states of a container, each with its data, and which actions are legal in which.
//!
//! ```text
//!            start            exits
//!  Created ---------> Running ------> Exited --start--> Running
//!     |                  |              |
//!     +---- remove ------+ (force) -----+----> Removing ----> Removed
//!                                                  |
//!                                                  +--------> Dead (files could not be deleted)
//! ```
//!
//! [`judge`] is pure: the container's task asks it before it acts, property tests drive it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::LaunchError;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// As a shell reports it: the code, or 128 + the signal's number.
    pub code: i32,
    /// The kernel's OOM killer ended a process of the container.
    pub oom_killed: bool,
    /// Why it ended otherwise than by itself (the VM went down, say); empty: by itself.
    pub error: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When the end was seen.
    pub finished_at: Timestamp,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Never ran.
    Created {
        /// Why the last start failed.
        failed: Option<LaunchError>,
    },
    /// Its first process runs.
    Running {
        /// In the VM's PID namespace.
        pid: u32,
        /// When it was started.
        started_at: Timestamp,
    },
    /// Its first process has ended, and every other with it.
    Exited {
        /// How the last run ended.
        exit: Exit,
        /// Why the last start after that failed.
        failed: Option<LaunchError>,
    },
    /// Being deleted.
    Removing {
        /// How the last run ended, if it ever ran.
        exit: Option<Exit>,
    },
    /// Some of its files could not be deleted; `remove` can be tried again.
    Dead {
        /// What could not be deleted, and why.
        error: String,
        /// How the last run ended, if it ever ran.
        exit: Option<Exit>,
    },
    /// Nothing is left of it. Only seen by those who held on to it.
    Removed {
        /// How the last run ended, if it ever ran.
        exit: Option<Exit>,
    },
}

/// A state without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`State::Created`]
    Created,
    /// [`State::Running`]
    Running,
    /// [`State::Exited`]
    Exited,
    /// [`State::Removing`]
    Removing,
    /// [`State::Dead`]
    Dead,
    /// [`State::Removed`]
    Removed,
}

impl Kind {
    /// Every kind, for tests and tables.
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Running, Self::Exited, Self::Removing, Self::Dead, Self::Removed];

    /// The word that `ps --filter status=` and inspect use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
            Self::Removed => "removed",
        }
    }
}

impl State {
    /// Which state it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Created { .. } => Kind::Created,
            Self::Running { .. } => Kind::Running,
            Self::Exited { .. } => Kind::Exited,
            Self::Removing { .. } => Kind::Removing,
            Self::Dead { .. } => Kind::Dead,
            Self::Removed { .. } => Kind::Removed,
        }
    }

    /// How the last run ended, where there was one and it is over.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited { exit, .. } => Some(exit),
            Self::Removing { exit } | Self::Dead { exit, .. } | Self::Removed { exit } => {
                exit.as_ref()
            }
            Self::Created { .. } | Self::Running { .. } => None,
        }
    }

    /// Why the last start failed.
    #[must_use]
    pub fn failed(&self) -> Option<&LaunchError> {
        match self {
            Self::Created { failed } | Self::Exited { failed, .. } => failed.as_ref(),
            _ => None,
        }
    }
}

/// What may be asked of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Run its first process.
    Start,
    /// Stop signal, grace period, SIGKILL.
    Stop,
    /// Send a signal.
    Kill,
    /// Delete it.
    Remove {
        /// Kill it first.
        force: bool,
    },
    /// One more process.
    Exec,
    /// Connect to its standard streams as they are now.
    Attach,
}

impl Action {
    /// Every action, for tests and tables.
    pub const ALL: [Self; 7] = [
        Self::Start,
        Self::Stop,
        Self::Kill,
        Self::Remove { force: false },
        Self::Remove { force: true },
        Self::Exec,
        Self::Attach,
    ];

    /// The verb for messages.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Kill => "kill",
            Self::Remove { .. } => "remove",
            Self::Exec => "exec in",
            Self::Attach => "attach to",
        }
    }
}

/// The answer to "may I?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Go,
    /// It is already so: succeed and do nothing, as Docker does (HTTP 304).
    AlreadySo,
    /// Refuse, with this reason.
    Refuse(&'static str),
}

/// Whether `action` is legal in `state`. The rules are Docker's.
#[must_use]
pub fn judge(state: Kind, action: Action) -> Verdict {
    use Verdict::{AlreadySo, Go, Refuse};
    const GOING: &str = "it is being removed";
    const GONE: &str = "it was removed";
    const DEAD: &str = "its removal failed half way; remove it again";
    const NOT_RUNNING: &str = "it is not running";
    match (state, action) {
        (Kind::Removed, _) => Refuse(GONE),
        (Kind::Removing, _) => Refuse(GOING),
        (Kind::Dead, Action::Remove { .. }) => Go,
        (Kind::Dead, Action::Stop) => AlreadySo,
        (Kind::Dead, _) => Refuse(DEAD),
        (Kind::Created | Kind::Exited, Action::Start | Action::Remove { .. }) => Go,
        (Kind::Created | Kind::Exited, Action::Stop) => AlreadySo,
        (Kind::Created | Kind::Exited, Action::Kill | Action::Exec) => Refuse(NOT_RUNNING),
        // Docker's clients attach to a created container and start it then.
        (Kind::Created, Action::Attach) => Go,
        (Kind::Exited, Action::Attach) => Refuse("it is not running; start it first"),
        (Kind::Running, Action::Start) => AlreadySo,
        (Kind::Running, Action::Remove { force: false }) => {
            Refuse("it is running; stop it first, or remove it with --force")
        }
        (Kind::Running, _) => Go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a legal action makes of a state, as the task does it.
    fn step(state: Kind, action: Action) -> Kind {
        match (judge(state, action), action) {
            (Verdict::Go, Action::Start) => Kind::Running,
            (Verdict::Go, Action::Stop | Action::Kill) => Kind::Exited,
            (Verdict::Go, Action::Remove { .. }) => Kind::Removed,
            _ => state,
        }
    }

    proptest! {
        #[test]
        fn no_sequence_revives_a_removed_container(
            actions in proptest::collection::vec(0..Action::ALL.len(), 0..40)
        ) {
            let mut state = Kind::Created;
            let mut removed = false;
            for index in actions {
                state = step(state, Action::ALL[index]);
                removed |= state == Kind::Removed;
                prop_assert_eq!(removed, state == Kind::Removed);
            }
        }

        #[test]
        fn force_removes_from_wherever_a_container_can_get_to(
            actions in proptest::collection::vec(0..Action::ALL.len(), 0..40)
        ) {
            let mut state = Kind::Created;
            for index in actions {
                state = step(state, Action::ALL[index]);
            }
            prop_assert_eq!(step(state, Action::Remove { force: true }), Kind::Removed);
        }
    }

    #[test]
    fn only_a_running_container_takes_signals_and_more_processes() {
        for state in Kind::ALL {
            for action in [Action::Kill, Action::Exec] {
                assert_eq!(judge(state, action) == Verdict::Go, state == Kind::Running);
            }
        }
    }

    #[test]
    fn repeating_start_or_stop_is_no_error() {
        assert_eq!(judge(Kind::Running, Action::Start), Verdict::AlreadySo);
        assert_eq!(judge(Kind::Exited, Action::Stop), Verdict::AlreadySo);
        assert_eq!(judge(Kind::Created, Action::Stop), Verdict::AlreadySo);
    }

    #[test]
    fn a_running_container_is_not_removed_without_force() {
        assert!(matches!(
            judge(Kind::Running, Action::Remove { force: false }),
            Verdict::Refuse(_)
        ));
    }
}
