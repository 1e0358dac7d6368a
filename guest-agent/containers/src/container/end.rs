//! A run's end, and a container's.

use std::sync::Arc;

use jiff::Timestamp;
use linkspan_net::Endpoint;

use super::{Container, Task, around, blocking};
use crate::{
    Error, Shared,
    health::HealthStatus,
    mounts::MountPoint,
    namespaces,
    state::{Exit, State},
};

impl Task {
    pub(super) async fn ended(&mut self, code: i32) {
        let oom_killed = self.tell_oom().await;
        let Some(mut run) = self.run.take() else { return };
        run.ended.send_replace(true);
        self.container.target.lock().take();
        // First: one that is left and goes on writing would hold the output open.
        if namespaces::shares_pids(&self.container.record().config)
            && let Err(error) = self.kill_all().await
        {
            tracing::warn!(%error, "processes are left of a container that has ended");
        }
        while run.pumps.join_next().await.is_some() {}
        self.container.hub.close();
        let held = run.held;
        blocking(move || drop(held)).await;
        let config = &self.container.record().config;
        let removes = self.remove_when_ended || config.auto_remove && run.restart.is_none();
        if removes {
            // Before anyone hears of the end: a `run --rm --name x` can follow another at once.
            self.shared.forget(&self.container.id);
        }
        let exit = Exit {
            code,
            oom_killed,
            error: String::new(),
            started_at: run.started_at,
            finished_at: Timestamp::now(),
        };
        tracing::debug!(code, oom_killed, "ended");
        // Before anyone hears of the end, its networks can be removed.
        let left = self.shared.networks.leave(self.container.id.as_str());
        let published = !self.status.borrow().ports.is_empty();
        if published {
            self.shared.ports.withdraw(self.container.id.as_str()).await;
        }
        self.tell_end(&exit, run.stopping, &left);
        let again = !removes && !run.last && run.restart.is_none();
        let state = self.after(exit.clone(), again.then_some(config.restart));
        self.status.change(|status| {
            status.last_exit = Some(exit);
            status.restarts += u32::from(matches!(state, State::Restarting { .. }));
            status.state = state;
            if let Some(health) = &mut status.health {
                // Nobody probes it any more. Docker's word for that.
                Arc::make_mut(health).status = HealthStatus::Unhealthy;
            }
            status.exits += 1;
            status.ports = Arc::from([]);
        });
        let networks = Arc::clone(&self.shared.networks);
        blocking(move || networks.clean(left)).await;
        if removes {
            return self.remove().await;
        }
        self.remove_cgroup().await;
        if let Some(reply) = run.restart {
            self.start_again(reply).await;
        }
        self.persist().await;
    }

    fn tell_end(&self, exit: &Exit, stopped: bool, left: &[Endpoint]) {
        let ran = exit.started_at.duration_until(exit.finished_at).as_secs().to_string();
        let details = [("exitCode", exit.code.to_string()), ("execDuration", ran)];
        self.shared.tell(&self.container, "die", details);
        around::tell_end(&self.container, &self.shared, left);
        if stopped {
            self.shared.tell(&self.container, "stop", []);
        }
    }

    pub(super) async fn remove_cgroup(&self) {
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        if let Err(error) = blocking(move || launcher.remove_cgroup(&cgroup)).await {
            tracing::warn!(%error, "a container's cgroup was not removed");
        }
    }

    /// From now on nothing else is done with it; how its last run ended.
    pub(super) fn begin_removal(&mut self) -> Option<Exit> {
        let exit = self.status.borrow().state.exit().cloned();
        let begun = State::Removing { exit: exit.clone() };
        self.status.change(|status| status.state = begun);
        exit
    }

    /// Deletes everything and ends the task; [`State::Dead`] when that fails.
    pub(super) async fn remove(&mut self) {
        let exit = self.begin_removal();
        self.restart_at = None;
        self.container.hub.close();
        self.remove_cgroup().await;
        let (container, shared) = (Arc::clone(&self.container), Arc::clone(&self.shared));
        let volumes = self.removes_volumes;
        match blocking(move || delete(&container, &shared, volumes)).await {
            Ok(()) => {
                self.shared.forget(&self.container.id);
                self.shared.tell(&self.container, "destroy", []);
                self.status.change(|status| status.state = State::Removed { exit });
                self.shared.removed();
                self.over = true;
            }
            Err(error) => {
                // Removing it again finds it by its id.
                self.shared.remember(&self.container);
                let error = error.to_string();
                self.status.change(|status| status.state = State::Dead { error, exit });
            }
        }
    }
}

/// Deletes the files of a container, and lets go of its volumes. Blocks.
fn delete(container: &Container, shared: &Shared, anonymous_volumes: bool) -> Result<(), Error> {
    let _files = container.files.lock();
    if let Some(log) = container.hub.log() {
        log.close();
    }
    container.folder.remove()?;
    let record = container.record();
    let anonymous: Vec<String> = if anonymous_volumes {
        let mounts = record.resolved.mounts.iter();
        mounts.filter_map(MountPoint::anonymous_volume).map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Ok(shared.volumes.release(&record.id, &anonymous)?)
}
