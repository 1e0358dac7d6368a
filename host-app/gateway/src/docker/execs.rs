//! The exec instances of Docker's API. In our contract an exec is one call; here it is made,
//! started and looked at in several, so what was asked for and how it goes is kept in between.
//!
//! ```text
//!   created --start--> running --its process ends--> ended --a while later--> forgotten
//! ```
//!
//! They live as long as the daemon, as Docker's do.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use linkspan_docker_types::container::exec::ExecCreateBody;
use linkspan_proto::v1::{ExecRequest, StdioInput, TerminalSize, exec_request, stdio_input};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// How long an ended one can still be looked at (moby's `execCommandGC`).
const KEPT: Duration = Duration::from_secs(5 * 60);
/// One that is never started does not stay for ever.
const UNUSED: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Default)]
pub(super) struct Execs(Mutex<HashMap<String, Exec>>);

/// One of them.
#[derive(Clone)]
pub(super) struct Exec {
    pub(super) id: String,
    pub(super) container: String,
    pub(super) config: Arc<ExecCreateBody>,
    pub(super) state: ExecState,
    changed: Instant,
}

#[derive(Clone)]
pub(super) enum ExecState {
    Created,
    Running { pid: u32, input: Option<mpsc::Sender<ExecRequest>> },
    Ended { exit_code: i32 },
}

/// Why it cannot be started.
pub(super) enum NotStarted {
    Unknown,
    Before,
}

pub(super) fn input(input: StdioInput) -> ExecRequest {
    ExecRequest { kind: Some(exec_request::Kind::Input(input)) }
}

impl Execs {
    pub(super) fn create(&self, container: String, config: ExecCreateBody) -> String {
        // Of the same shape as Docker's: 64 digits.
        let id = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut all = self.0.lock();
        all.retain(|_, exec| match exec.state {
            ExecState::Created => exec.changed.elapsed() < UNUSED,
            ExecState::Running { .. } => true,
            ExecState::Ended { .. } => exec.changed.elapsed() < KEPT,
        });
        let exec = Exec {
            id: id.clone(),
            container,
            config: Arc::new(config),
            state: ExecState::Created,
            changed: Instant::now(),
        };
        all.insert(id.clone(), exec);
        id
    }

    pub(super) fn get(&self, id: &str) -> Option<Exec> {
        self.0.lock().get(id).cloned()
    }

    /// Claims it for the one start that it can have.
    pub(super) fn start(&self, id: &str) -> Result<Exec, NotStarted> {
        let mut all = self.0.lock();
        let exec = all.get_mut(id).ok_or(NotStarted::Unknown)?;
        if !matches!(exec.state, ExecState::Created) {
            return Err(NotStarted::Before);
        }
        exec.state = ExecState::Running { pid: 0, input: None };
        exec.changed = Instant::now();
        Ok(exec.clone())
    }

    pub(super) fn set(&self, id: &str, state: ExecState) {
        if let Some(exec) = self.0.lock().get_mut(id) {
            exec.state = state;
            exec.changed = Instant::now();
        }
    }
}

impl Exec {
    /// Changes the size of its terminal. False: it does not run.
    pub(super) async fn resize(&self, size: TerminalSize) -> bool {
        let ExecState::Running { input: Some(send), .. } = &self.state else { return false };
        let resize = StdioInput { kind: Some(stdio_input::Kind::Resize(size)) };
        send.send(input(resize)).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_starts_once_and_is_remembered_when_it_has_ended() {
        let execs = Execs::default();
        let id = execs.create("c".into(), ExecCreateBody::default());
        assert_eq!(id.len(), 64);
        assert!(execs.start(&id).is_ok());
        assert!(matches!(execs.start(&id), Err(NotStarted::Before)));
        assert!(matches!(execs.start("other"), Err(NotStarted::Unknown)));
        execs.set(&id, ExecState::Ended { exit_code: 3 });
        let ended = execs.get(&id).unwrap().state;
        assert!(matches!(ended, ExecState::Ended { exit_code: 3 }));
    }
}
