//! What the daemon does beside each boot of a machine, from its Hello to its end: the agent
//! pushes, so each of them is one call that is kept open, and made again when the way to the
//! agent breaks.

use std::{sync::Weak, time::Duration};

use async_trait::async_trait;
use linkspan_agent_client::AgentChannel;
use linkspan_machine::{Machine, state::Snapshot};
use tonic::Status;

use crate::fleet::Fleet;

/// Between two attempts on a machine that runs and whose connection breaks.
const PAUSE: Duration = Duration::from_secs(1);

/// Something to do beside a machine.
#[async_trait]
pub(crate) trait Companion: Send + 'static {
    /// For messages.
    fn name(&self) -> &'static str;

    /// Works with an agent until the call ends. May be dropped at any await.
    async fn accompany(&mut self, agent: &AgentChannel) -> Result<(), Status>;

    /// The boot is over.
    async fn part(&mut self);
}

/// Runs a companion beside every boot of `machine`, until the machine or the fleet is gone.
pub(crate) fn run(fleet: Weak<Fleet>, machine: &Machine, mut companion: impl Companion) {
    let name = machine.name().clone();
    let mut states = machine.subscribe();
    let mut watched = states.clone();
    tokio::spawn(async move {
        loop {
            let boot = match states.wait_for(|now| now.removed || boot_of(now).is_some()).await {
                Ok(now) if !now.removed => boot_of(&now),
                _ => return,
            };
            let beside = async {
                loop {
                    let Some(fleet) = fleet.upgrade() else { return };
                    let agent = fleet.running_agent(&name);
                    drop(fleet);
                    if let Some(agent) = agent
                        && let Err(status) = companion.accompany(&agent).await
                    {
                        let (what, error) = (companion.name(), status.message());
                        tracing::debug!(machine = %name, what, error, "a call to the agent broke off");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let over = watched.wait_for(|now| now.removed || boot_of(now) != boot);
            tokio::select! {
                () = beside => {}
                _ = over => {}
            }
            companion.part().await;
        }
    });
}

fn boot_of(snapshot: &Snapshot) -> Option<String> {
    snapshot.state.running().map(|running| running.guest.boot_id.clone())
}
