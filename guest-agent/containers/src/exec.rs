//! One more process in a container: `exec`, and the probes of its health.
//!
//! Its id is listed with the container from before it is started until it has ended.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::Instrument as _;

use crate::{
    Containers, Error, Shared,
    config::ExecConfig,
    container::{Container, blocking},
    id::ContainerId,
    launch::{Launched, StdioSpec},
    plan::{self, Permissions},
    session::{OomBase, Session},
    state::Action,
    validate,
};

impl Containers {
    /// Runs one more process in a container.
    ///
    /// # Errors
    /// When the container does not run, the id that is asked for is taken, or the process cannot be
    /// started, with the failing step.
    pub async fn exec(&self, who: &str, config: ExecConfig) -> Result<Session, Error> {
        validate::exec(&config)?;
        let container = self.find(who)?;
        // A caller that goes while it is started has left, as any client may.
        open_session(&container, &self.shared, config, drop).await
    }
}

/// An id in its container's list, until this is dropped.
struct Listed {
    container: Arc<Container>,
    id: ContainerId,
}

impl Listed {
    /// `wanted`: valid; empty: a generated one.
    fn new(container: &Arc<Container>, wanted: &str) -> Result<Self, Error> {
        // Of the same shape as a container's.
        let id = match wanted {
            "" => ContainerId::generate(),
            wanted => validate::exec_id(wanted)?,
        };
        if !container.execs.lock().insert(id.clone()) {
            return Err(Error::WrongState {
                action: Action::Exec.verb(),
                name: container.name(),
                why: format!("the id `{id}` is of a command that runs"),
            });
        }
        Ok(Self { container: Arc::clone(container), id })
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.container.execs.lock().remove(&self.id);
    }
}

/// One more process in a container, valid as it is, with its events. `abandoned` gets it when the
/// caller has gone before it was started: by a task of its own, so that it is not lost.
pub(crate) async fn open_session(
    container: &Arc<Container>,
    shared: &Arc<Shared>,
    config: ExecConfig,
    abandoned: fn(Session),
) -> Result<Session, Error> {
    let (sender, opened) = oneshot::channel();
    let (its, ours) = (Arc::clone(container), Arc::clone(shared));
    let opening = async move {
        if let Err(Ok(session)) = sender.send(open(&its, &ours, config).await) {
            abandoned(session);
        }
    };
    tokio::spawn(opening.in_current_span());
    opened.await.unwrap_or_else(|_| Err(Error::Gone(container.name())))
}

async fn open(
    container: &Arc<Container>,
    shared: &Arc<Shared>,
    config: ExecConfig,
) -> Result<Session, Error> {
    container.permit(Action::Exec)?;
    let listed = Listed::new(container, &config.id)?;
    let exec_id = listed.id.to_string();
    let command = config.args.join(" ");
    let tell = |what: &str| {
        let action = format!("{what}: {command}");
        shared.tell(container, action, [("execID", exec_id.clone())]);
    };
    tell("exec_create");
    let (its, ours) = (Arc::clone(container), Arc::clone(shared));
    let detach = config.detach;
    let (launched, base) = blocking(move || launch(&its, &ours, &config)).await?;
    tell("exec_start");
    let (its, ours) = (Arc::clone(container), Arc::clone(shared));
    let ended = move |code: i32| {
        // Whoever hears of the end finds it no longer.
        drop(listed);
        ours.tell(&its, "exec_die", [("execID", exec_id), ("exitCode", code.to_string())]);
    };
    let session =
        Session::watched(launched, Arc::clone(&shared.launcher), Some(base), ended).map_err(
            |source| Error::Process { action: "connect to", name: container.name(), source },
        )?;
    Ok(if detach { session.detached() } else { session })
}

fn launch(
    container: &Container,
    shared: &Shared,
    config: &ExecConfig,
) -> Result<(Launched, OomBase), Error> {
    let record = container.record();
    let own = &record.config;
    let permissions = Permissions::of_exec(own, config)?;
    let seccomp = shared.seccomp(own, &permissions)?;
    let ids = shared.user_namespace(own);
    let process = plan::exec(own, &record.resolved, config, seccomp, ids)?;
    let Some(target) = container.target.lock().clone() else {
        return Err(Error::WrongState {
            action: Action::Exec.verb(),
            name: container.name(),
            why: "it has just ended".into(),
        });
    };
    let launcher = &shared.launcher;
    let before = launcher.oom_kills(&target.cgroup).unwrap_or(0);
    let stdio = StdioSpec { stdin: config.stdin, output: !config.detach };
    let launched = launcher.exec(&target, &process, stdio).map_err(Error::Launch)?;
    Ok((launched, OomBase { cgroup: target.cgroup, before }))
}
