//! Stop, kill, pause, unpause: what happens to processes that run.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Task, blocking, command::refuse_restart};
use crate::{
    Error,
    signal::Signal,
    state::{Action, State, Verdict},
};

/// Who stops a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Somebody asked for it: `unless-stopped` remembers it.
    Hand,
    /// The machine goes down: the next boot starts again what its policy says.
    Machine,
}

impl Task {
    /// Stop signal now, SIGKILL after `grace`. What is paused runs on, to be able to end.
    pub(super) async fn stop(
        &mut self,
        signal: Signal,
        grace: Duration,
        by: By,
    ) -> Result<(), Error> {
        if self.container.permit(Action::Stop)? == Verdict::AlreadySo {
            return Ok(());
        }
        self.stopped_by_hand |= by == By::Hand;
        let Some(run) = &mut self.run else {
            self.give_up_restarting().await;
            return Ok(());
        };
        run.last = true;
        refuse_restart(run.restart.take(), &self.container, "it was stopped meanwhile");
        self.begin_stop(signal, grace).await
    }

    /// The part that `stop` and `restart` have in common.
    pub(super) async fn begin_stop(
        &mut self,
        signal: Signal,
        grace: Duration,
    ) -> Result<(), Error> {
        if let Some(run) = &mut self.run {
            let at = Instant::now() + grace;
            run.kill_at = Some(run.kill_at.map_or(at, |known| known.min(at)));
            run.stopping = true;
        }
        self.thaw().await?;
        self.signal(signal).await
    }

    /// Docker's rule: the stop signal and SIGKILL mean the end, so that no policy starts another
    /// run; other signals are messages. What is paused runs on, for the signal to take effect.
    pub(super) async fn kill(&mut self, signal: Signal) -> Result<(), Error> {
        self.container.permit(Action::Kill)?;
        let stop_signal = self.container.record().resolved.stop_signal;
        let ends = signal == Signal::KILL || signal == stop_signal;
        self.stopped_by_hand |= ends;
        let Some(run) = &mut self.run else {
            // A message has nobody to hear it, and its policy goes on.
            if ends {
                self.give_up_restarting().await;
            }
            return Ok(());
        };
        run.last |= ends;
        if signal == Signal::KILL {
            self.kill_all().await?
        } else {
            self.signal(signal).await?
        }
        self.thaw().await
    }

    pub(super) async fn pause(&mut self) -> Result<(), Error> {
        self.container.permit(Action::Pause)?;
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let frozen = blocking(move || launcher.freeze(&cgroup)).await;
        frozen.map_err(|source| self.process_error("pause", source))?;
        self.shared.tell(&self.container, "pause", []);
        let paused_at = Timestamp::now();
        self.status.change(|status| {
            if let State::Running { pid, started_at } = status.state {
                status.state = State::Paused { pid, started_at, paused_at };
            }
        });
        Ok(())
    }

    pub(super) async fn unpause(&mut self) -> Result<(), Error> {
        self.container.permit(Action::Unpause)?;
        self.thaw().await
    }

    /// Does nothing to what is not paused.
    async fn thaw(&self) -> Result<(), Error> {
        if !matches!(self.status.borrow().state, State::Paused { .. }) {
            return Ok(());
        }
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let thawed = blocking(move || launcher.thaw(&cgroup)).await;
        thawed.map_err(|source| self.process_error("unpause", source))?;
        self.shared.tell(&self.container, "unpause", []);
        self.status.change(|status| {
            if let State::Paused { pid, started_at, .. } = status.state {
                status.state = State::Running { pid, started_at };
            }
        });
        Ok(())
    }

    /// To the first process.
    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(target) = self.container.target.lock().clone() else { return Ok(()) };
        let launcher = Arc::clone(&self.shared.launcher);
        let result = blocking(move || launcher.signal(&target, signal)).await;
        result.map_err(|source| self.process_error("signal", source))?;
        self.tell_kill(signal);
        Ok(())
    }

    /// SIGKILL to every process. Reaches frozen ones too (cgroup-v2.rst, cgroup.freeze).
    pub(super) async fn kill_all(&self) -> Result<(), Error> {
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let result = blocking(move || launcher.kill_all(&cgroup)).await;
        result.map_err(|source| self.process_error("kill", source))?;
        self.tell_kill(Signal::KILL);
        Ok(())
    }

    fn tell_kill(&self, signal: Signal) {
        let number = signal.number().to_string();
        self.shared.tell(&self.container, "kill", [("signal", number)]);
    }

    pub(super) async fn grace_over(&mut self) {
        if let Some(run) = &mut self.run {
            run.kill_at = None;
        }
        if let Err(error) = self.kill_all().await {
            // Whoever waits for the stop is told by the time-out.
            tracing::error!(%error, "SIGKILL after the grace period failed");
        }
    }
}
