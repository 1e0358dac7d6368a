//! What the task is asked, and who answers.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Changes, Container, Task, signals::By};
use crate::{
    Error,
    health::{Health, ProbeResult},
    output::{Attached, Backlog},
    restart::RestartPolicy,
    signal::Signal,
    state::{Action, Verdict},
};

/// Which outputs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hears {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// What a start has come to.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) verdict: Verdict,
    /// How many runs had ended before.
    pub(crate) exits: u64,
    /// To the one who [`Hears`].
    pub(crate) heard: Option<(Attached, Backlog)>,
}

/// Where the answer goes.
pub(super) type Reply = oneshot::Sender<Result<(), Error>>;

/// What the task is asked. Each is answered as soon as it is under way, not when it is over;
/// except a restart, which is over when the next run has begun.
pub(crate) enum Command {
    Start {
        size: Option<(u16, u16)>,
        /// The outputs that the caller hears of the run that begins, from its first byte on.
        hears: Option<Hears>,
        reply: oneshot::Sender<Result<Begun, Error>>,
    },
    Stop {
        signal: Signal,
        grace: Duration,
        by: By,
        reply: Reply,
    },
    Kill {
        signal: Signal,
        reply: Reply,
    },
    Pause {
        reply: Reply,
    },
    Unpause {
        reply: Reply,
    },
    Restart {
        signal: Signal,
        grace: Duration,
        reply: Reply,
    },
    Rename {
        name: String,
        reply: Reply,
    },
    Update {
        changes: Box<Changes>,
        reply: Reply,
    },
    Remove {
        force: bool,
        /// Its anonymous volumes too.
        volumes: bool,
        reply: Reply,
    },
    /// Nothing but an answer, when everything before it is done and on the disk.
    Settle {
        reply: Reply,
    },
    /// A probe of the run that began then has ended.
    Probed {
        run_began: Timestamp,
        result: ProbeResult,
    },
}

impl Task {
    pub(super) async fn obey(&mut self, command: Command) {
        // The caller may have gone; what was begun goes on all the same.
        match command {
            Command::Start { size, hears, reply } => self.obey_start(size, hears, reply).await,
            Command::Stop { signal, grace, by, reply } => {
                let _ = reply.send(self.stop(signal, grace, by).await);
            }
            Command::Kill { signal, reply } => {
                let _ = reply.send(self.kill(signal).await);
            }
            Command::Pause { reply } => {
                let _ = reply.send(self.pause().await);
                self.persist().await;
            }
            Command::Unpause { reply } => {
                let _ = reply.send(self.unpause().await);
                self.persist().await;
            }
            Command::Restart { signal, grace, reply } => self.restart(signal, grace, reply).await,
            Command::Rename { name, reply } => {
                let _ = reply.send(self.rename(&name).await);
            }
            Command::Update { changes, reply } => {
                let _ = reply.send(self.update(&changes).await);
            }
            Command::Remove { force, volumes, reply } => {
                self.obey_remove(force, volumes, reply).await;
            }
            Command::Settle { reply } => {
                let _ = reply.send(Ok(()));
            }
            Command::Probed { run_began, result } => self.probed(run_began, result),
        }
    }

    async fn obey_start(
        &mut self,
        size: Option<(u16, u16)>,
        hears: Option<Hears>,
        reply: oneshot::Sender<Result<Begun, Error>>,
    ) {
        // Not sooner: the end of a run before would end it for this caller too.
        let exits = self.status.borrow().exits;
        let heard = hears.map(|Hears { stdout, stderr }| {
            let heard = self.container.hub.attach(stdout, stderr, true);
            self.shared.tell(&self.container, "attach", []);
            heard
        });
        let result = match self.container.permit(Action::Start) {
            Ok(Verdict::Go) => {
                self.by_hand_from_here();
                self.start(size).await.map(|()| Verdict::Go)
            }
            other => other,
        };
        let result = result.map(|verdict| Begun { verdict, exits, heard });
        let removes = self.remove_unstarted(&result).await;
        let policy = self.container.record().config.restart;
        if policy != RestartPolicy::No && !removes {
            // What was answered outlives a crash: the next boot starts it again.
            self.persist().await;
        }
        let _ = reply.send(result);
        if policy == RestartPolicy::No && !removes {
            // After the answer: a start need not wait for the disk. A crash in between loses no
            // more than that it ran.
            self.persist().await;
        }
    }

    /// What is removed when it ends has ended when it cannot be started.
    pub(super) async fn remove_unstarted<T>(&mut self, result: &Result<T, Error>) -> bool {
        let removes =
            result.is_err() && self.run.is_none() && self.container.record().config.auto_remove;
        if removes {
            // Before the caller hears of it, as at the end of a run: its name, volumes and networks
            // are free for what comes next.
            self.shared.forget(&self.container.id);
            self.remove().await;
        }
        removes
    }

    async fn obey_remove(&mut self, force: bool, volumes: bool, reply: Reply) {
        let result = self.container.permit(Action::Remove { force });
        let go = result.is_ok();
        if go && self.run.is_none() {
            // Before the answer: its caller must not take an earlier failure for this one's.
            self.begin_removal();
        }
        let _ = reply.send(result.map(drop));
        if !go {
            return;
        }
        self.removes_volumes |= volumes;
        let Some(run) = &mut self.run else { return self.remove().await };
        run.last = true;
        refuse_restart(run.restart.take(), &self.container, "it is being removed");
        self.remove_when_ended = true;
        if let Err(error) = self.kill_all().await {
            tracing::error!(%error, "a container that is to be removed was not killed");
        }
    }

    fn probed(&self, run_began: Timestamp, result: ProbeResult) {
        let Some(check) = self.container.record().resolved.health.clone() else { return };
        // Of a run that is over, when it came too late.
        if self.run.as_ref().is_none_or(|run| run.started_at != run_began) {
            return;
        }
        let Some(known) = self.status.borrow().health.clone() else { return };
        let mut health = Health::clone(&known);
        health.record(&check, run_began, result);
        if health.status != known.status {
            let action = format!("health_status: {}", health.status.word());
            self.shared.tell(&self.container, action, []);
        }
        self.status.change(|status| status.health = Some(Arc::new(health)));
    }
}

/// Tells whoever waits for a restart that there will be none.
pub(super) fn refuse_restart(waiting: Option<Reply>, container: &Container, why: &str) {
    if let Some(reply) = waiting {
        let (action, name) = (Action::Restart.verb(), container.name());
        let _ = reply.send(Err(Error::WrongState { action, name, why: why.into() }));
    }
}
