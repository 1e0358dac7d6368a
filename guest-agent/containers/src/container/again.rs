//! Another run after one: by the restart policy, or because somebody asked for a restart.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Reply, Task, command::refuse_restart};
use crate::{
    Error,
    restart::{Backoff, RestartPolicy},
    signal::Signal,
    state::{Action, Exit, State},
};

impl Task {
    /// The state after a run; `policy`: the one to ask, None when its end is final.
    pub(super) fn after(&mut self, exit: Exit, policy: Option<RestartPolicy>) -> State {
        let restarts = self.status.borrow().restarts;
        if !policy.is_some_and(|policy| policy.restarts_after(exit.code, restarts)) {
            return State::Exited { exit, failed: None };
        }
        let ran = exit.started_at.duration_until(exit.finished_at).unsigned_abs();
        let wait = self.backoff.next(ran);
        self.restart_at = Some(Instant::now() + wait);
        State::Restarting { exit, next_at: Timestamp::now() + wait }
    }

    /// What was counted and remembered of earlier runs is no longer of interest.
    pub(super) fn by_hand_from_here(&mut self) {
        self.stopped_by_hand = false;
        self.backoff = Backoff::default();
        self.status.change(|status| status.restarts = 0);
    }

    pub(super) async fn restart_due(&mut self) {
        self.restart_at = None;
        if let Err(error) = self.start(None).await {
            tracing::warn!(%error, "a container was not restarted");
        }
        self.persist().await;
    }

    /// From Restarting to Exited.
    pub(super) async fn give_up_restarting(&mut self) {
        self.restart_at = None;
        self.status.change(|status| {
            if let State::Restarting { exit, .. } = &status.state {
                status.state = State::Exited { exit: exit.clone(), failed: None };
            }
        });
        self.persist().await;
    }

    /// `restart`: what runs is stopped first. Neither the policy nor `--rm` has a say in between.
    pub(super) async fn restart(&mut self, signal: Signal, grace: Duration, reply: Reply) {
        if let Err(error) = self.container.permit(Action::Restart) {
            let _ = reply.send(Err(error));
            return;
        }
        self.by_hand_from_here();
        let Some(run) = &mut self.run else {
            self.give_up_restarting().await;
            self.start_again(reply).await;
            return self.persist().await;
        };
        refuse_restart(run.restart.replace(reply), &self.container, "another restart took over");
        if let Err(error) = self.begin_stop(signal, grace).await
            && let Some(reply) = self.run.as_mut().and_then(|run| run.restart.take())
        {
            let _ = reply.send(Err(error));
        }
    }

    pub(super) async fn start_again(&mut self, reply: Reply) {
        let result: Result<(), Error> = self.start(None).await;
        if result.is_ok() {
            self.shared.tell(&self.container, "restart", []);
        }
        self.remove_unstarted(&result).await;
        // The caller may have gone; the container runs all the same.
        let _ = reply.send(result);
    }
}
