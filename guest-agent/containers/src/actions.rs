//! What may be asked of a container that exists, beside start, stop, kill and remove.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    Changes, Containers, Error, KILL_BUDGET,
    container::{Command, Container},
    how_to_stop, names,
    signal::Signal,
    state::Action,
};

impl Containers {
    /// Freezes every process of a container; returns when they have stopped.
    ///
    /// # Errors
    /// When its state forbids it, or a process does not stop in time.
    pub async fn pause(&self, who: &str) -> Result<(), Error> {
        self.find(who)?.ask(|reply| Command::Pause { reply }).await
    }

    /// Lets a paused container run on.
    ///
    /// # Errors
    /// When it is not paused.
    pub async fn unpause(&self, who: &str) -> Result<(), Error> {
        self.find(who)?.ask(|reply| Command::Unpause { reply }).await
    }

    /// Stops a container where it runs, and starts it; returns when it runs again.
    ///
    /// # Errors
    /// When it does not end, or cannot be started.
    pub async fn restart(
        &self,
        who: &str,
        signal: Option<Signal>,
        grace: Option<Duration>,
    ) -> Result<(), Error> {
        let container = self.find(who)?;
        let (signal, grace) = how_to_stop(&container, signal, grace);
        let budget = grace + 2 * KILL_BUDGET;
        let restarted = container.ask(|reply| Command::Restart { signal, grace, reply });
        timeout(budget, restarted).await.unwrap_or_else(|_| {
            Err(Error::TimedOut {
                name: container.name(),
                what: "restart",
                seconds: budget.as_secs(),
            })
        })
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// When the name is another's, is not valid, or is the one that it has.
    pub async fn rename(&self, who: &str, name: &str) -> Result<(), Error> {
        let container = self.find(who)?;
        container.permit(Action::Rename)?;
        let name = names::validate(name)?.to_owned();
        container.ask(|reply| Command::Rename { name, reply }).await
    }

    /// Changes limits and the restart policy, at once where it runs, and for good.
    ///
    /// # Errors
    /// When a value is not valid, or the kernel refuses one: nothing is changed then.
    pub async fn update(&self, who: &str, changes: Changes) -> Result<(), Error> {
        let changes = Box::new(changes);
        self.find(who)?.ask(|reply| Command::Update { changes, reply }).await
    }

    /// Starts what its restart policy brings back when the machine boots. To be called once, when
    /// everything that containers need is there.
    pub fn resume(&self) {
        for container in std::mem::take(&mut *self.shared.at_boot.lock()) {
            tokio::spawn(start_at_boot(container));
        }
    }
}

async fn start_at_boot(container: Arc<Container>) {
    let start = |reply| Command::Start { size: None, hears: None, reply };
    if let Err(error) = container.ask(start).await {
        tracing::warn!(%error, name = container.name(), "a container was not started at boot");
    }
}
