//! The states of a container, each with its data, and which actions are legal in which.
//!
//! ```text
//!            start               pause
//!  Created ---------> Running <---------> Paused      (a signal that ends it unpauses it)
//!     |              ^   |  ^   unpause      |
//!     |      back-off|   |  | start          | exits
//!     |              |   v  |                v
//!     |        Restarting   Exited <---------+
//!     |              |        |  ^
//!     |              +--stop--|--+
//!     +---- remove -----------+ (any: force) ----> Removing ----> Removed
//!                                                      |
//!                                                      +--------> Dead (files not deleted)
//! ```
//!
//! A run that ends goes to Restarting where the restart policy says so (`restart`), else to
//! Exited. Running, Paused and Restarting count as running ([`Kind::is_live`]), as in Docker.
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
    /// Its processes are frozen (cgroup.freeze).
    Paused {
        /// In the VM's PID namespace.
        pid: u32,
        /// When it was started.
        started_at: Timestamp,
        /// When it was paused.
        paused_at: Timestamp,
    },
    /// A run has ended and its restart policy starts the next one.
    Restarting {
        /// How the last run ended.
        exit: Exit,
        /// When the next run begins.
        next_at: Timestamp,
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
    /// [`State::Paused`]
    Paused,
    /// [`State::Restarting`]
    Restarting,
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
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Restarting,
        Self::Exited,
        Self::Removing,
        Self::Dead,
        Self::Removed,
    ];

    /// Whether it counts as running: it has processes, or will have some without being asked.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// The word that `ps --filter status=` and inspect use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
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
            Self::Paused { .. } => Kind::Paused,
            Self::Restarting { .. } => Kind::Restarting,
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
            Self::Exited { exit, .. } | Self::Restarting { exit, .. } => Some(exit),
            Self::Removing { exit } | Self::Dead { exit, .. } | Self::Removed { exit } => {
                exit.as_ref()
            }
            Self::Created { .. } | Self::Running { .. } | Self::Paused { .. } => None,
        }
    }

    /// Its first process in the VM's PID namespace and when it was started, while there is one.
    #[must_use]
    pub fn process(&self) -> Option<(u32, Timestamp)> {
        match self {
            Self::Running { pid, started_at } | Self::Paused { pid, started_at, .. } => {
                Some((*pid, *started_at))
            }
            _ => None,
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
    /// Freeze its processes.
    Pause,
    /// Let them run on.
    Unpause,
    /// Stop it where it runs, and start it.
    Restart,
    /// Give it another name.
    Rename,
    /// Change its limits or its restart policy.
    Update,
    /// List its processes.
    Top,
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
    pub const ALL: [Self; 13] = [
        Self::Start,
        Self::Stop,
        Self::Kill,
        Self::Pause,
        Self::Unpause,
        Self::Restart,
        Self::Rename,
        Self::Update,
        Self::Top,
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
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Restart => "restart",
            Self::Rename => "rename",
            Self::Update => "update",
            Self::Top => "list the processes of",
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

/// Whether `action` is legal in `state`. The rules are Docker's, and where a script may look for
/// it, so are the words.
#[must_use]
pub fn judge(state: Kind, action: Action) -> Verdict {
    use Verdict::{AlreadySo, Go, Refuse};
    match (state, action) {
        (Kind::Removed, _) => Refuse("it was removed"),
        (Kind::Removing, _) => Refuse("it is being removed"),
        (Kind::Dead, Action::Remove { .. }) => Go,
        (Kind::Dead, Action::Stop) => AlreadySo,
        (Kind::Dead, _) => Refuse("its removal failed half way; remove it again"),
        (Kind::Created | Kind::Exited, _) => judge_idle(state, action),
        (_, Action::Stop | Action::Kill | Action::Restart | Action::Rename | Action::Update)
        | (_, Action::Remove { force: true }) => Go,
        (Kind::Running, Action::Start) => AlreadySo,
        (Kind::Running, Action::Unpause) => Refuse(NOT_PAUSED),
        (Kind::Running, Action::Remove { force: false }) => {
            Refuse("it is running; stop it first, or remove it with --force")
        }
        (Kind::Running, _) => Go,
        (Kind::Paused, _) => judge_paused(action),
        (Kind::Restarting, Action::Start) => AlreadySo,
        (Kind::Restarting, Action::Unpause) => Refuse(NOT_PAUSED),
        (Kind::Restarting, Action::Remove { force: false }) => {
            Refuse("it is restarting; stop it first, or remove it with --force")
        }
        (Kind::Restarting, _) => Refuse("it is restarting, wait until the container is running"),
    }
}

const NOT_PAUSED: &str = "it is not paused";

/// Created and Exited.
fn judge_idle(state: Kind, action: Action) -> Verdict {
    use Verdict::{AlreadySo, Go, Refuse};
    match action {
        Action::Start
        | Action::Restart
        | Action::Rename
        | Action::Update
        | Action::Remove { .. } => Go,
        Action::Stop => AlreadySo,
        Action::Unpause => Refuse(NOT_PAUSED),
        Action::Kill | Action::Exec | Action::Pause | Action::Top => Refuse("it is not running"),
        // Docker's clients attach to a created container and start it then.
        Action::Attach if state == Kind::Created => Go,
        Action::Attach => Refuse("it is not running; start it first"),
    }
}

fn judge_paused(action: Action) -> Verdict {
    use Verdict::{Go, Refuse};
    match action {
        Action::Start => Refuse("it is paused, try unpause instead"),
        Action::Pause => Refuse("it is already paused"),
        Action::Exec => Refuse("it is paused, unpause the container before exec"),
        Action::Attach => Refuse("it is paused, unpause the container before attach"),
        Action::Remove { force: false } => {
            Refuse("it is paused; unpause and stop it first, or remove it with --force")
        }
        _ => Go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a legal action makes of a state, as the task does it. `restarts`: whether the policy
    /// starts it again when a run ends by a signal that was not meant to stop it.
    fn step(state: Kind, action: Action, restarts: bool) -> Kind {
        match (judge(state, action), action) {
            (Verdict::Go, Action::Start | Action::Restart | Action::Unpause) => Kind::Running,
            (Verdict::Go, Action::Kill) if restarts => Kind::Restarting,
            (Verdict::Go, Action::Stop | Action::Kill) => Kind::Exited,
            (Verdict::Go, Action::Pause) => Kind::Paused,
            (Verdict::Go, Action::Remove { .. }) => Kind::Removed,
            _ => state,
        }
    }

    fn walks() -> impl Strategy<Value = Vec<(usize, bool)>> {
        proptest::collection::vec((0..Action::ALL.len(), any::<bool>()), 0..60)
    }

    proptest! {
        #[test]
        fn no_sequence_revives_a_removed_container(walk in walks()) {
            let mut state = Kind::Created;
            let mut removed = false;
            for (index, restarts) in walk {
                state = step(state, Action::ALL[index], restarts);
                removed |= state == Kind::Removed;
                prop_assert_eq!(removed, state == Kind::Removed);
            }
        }

        #[test]
        fn force_removes_and_stop_stops_from_wherever_a_container_can_get_to(walk in walks()) {
            let mut state = Kind::Created;
            for (index, restarts) in walk {
                state = step(state, Action::ALL[index], restarts);
                let stopped = step(state, Action::Stop, true);
                prop_assert!(!stopped.is_live(), "{:?} was stopped and is {:?}", state, stopped);
                prop_assert_eq!(step(state, Action::Remove { force: true }, false), Kind::Removed);
            }
        }

        #[test]
        fn a_paused_container_is_left_by_unpausing_or_ending_only(walk in walks()) {
            let mut state = Kind::Created;
            for (index, restarts) in walk {
                let (before, action) = (state, Action::ALL[index]);
                state = step(state, action, restarts);
                if before == Kind::Paused && state != Kind::Paused {
                    let leaves = matches!(
                        action,
                        Action::Unpause | Action::Stop | Action::Kill | Action::Restart
                    );
                    let removed = action == Action::Remove { force: true };
                    prop_assert!(leaves || removed);
                }
            }
        }
    }

    #[test]
    fn only_what_runs_takes_signals_and_only_running_more_processes() {
        for state in Kind::ALL {
            assert_eq!(judge(state, Action::Kill) == Verdict::Go, state.is_live(), "{state:?}");
            for action in [Action::Exec, Action::Pause] {
                assert_eq!(judge(state, action) == Verdict::Go, state == Kind::Running);
            }
            let unpause = judge(state, Action::Unpause) == Verdict::Go;
            assert_eq!(unpause, state == Kind::Paused);
        }
    }

    #[test]
    fn repeating_start_or_stop_is_no_error() {
        for state in [Kind::Running, Kind::Restarting] {
            assert_eq!(judge(state, Action::Start), Verdict::AlreadySo);
        }
        for state in [Kind::Exited, Kind::Created, Kind::Dead] {
            assert_eq!(judge(state, Action::Stop), Verdict::AlreadySo);
        }
    }

    #[test]
    fn what_counts_as_running_is_not_removed_without_force() {
        for state in Kind::ALL.into_iter().filter(|state| state.is_live()) {
            let verdict = judge(state, Action::Remove { force: false });
            assert!(matches!(verdict, Verdict::Refuse(_)), "{state:?}");
        }
    }

    #[test]
    fn states_of_older_versions_still_load() {
        let old = r#"{"state":"running","pid":7,"started_at":"2026-01-01T00:00:00Z"}"#;
        let state: State = serde_json::from_str(old).unwrap();
        assert_eq!(state.process().map(|(pid, _)| pid), Some(7));
    }
}
