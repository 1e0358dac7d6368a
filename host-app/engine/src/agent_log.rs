//! The agents' logs in the daemon's own, so that one request can be followed through both: each
//! record names the request that it belongs to. The guest pushes; nothing is polled.

use std::{
    sync::Weak,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use linkspan_agent_client::AgentChannel;
use linkspan_machine::{
    Machine,
    state::{Snapshot, State},
};
use linkspan_proto::v1::{AgentLogRecord, AgentLogsRequest};
use linkspan_state::MachineName;
use tokio::sync::watch;
use tonic::Status;

use crate::fleet::Fleet;

/// More than an agent keeps.
const BACKLOG: u32 = 1 << 16;
/// Between two attempts on a machine that runs and whose connection breaks.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the log of `machine`'s agent, boot after boot, until the machine or the fleet is gone.
pub(crate) fn follow(fleet: Weak<Fleet>, machine: &Machine) {
    let snapshot = machine.snapshot();
    // What a VM logged under an earlier daemon is in that one's log.
    let adopting = matches!(&snapshot.state, State::Starting(starting) if starting.adopting);
    let after = if adopting { now() } else { 0 };
    tokio::spawn(follow_boots(fleet, snapshot.name, machine.subscribe(), after));
}

async fn follow_boots(
    fleet: Weak<Fleet>,
    name: MachineName,
    mut states: watch::Receiver<Snapshot>,
    mut after: i64,
) {
    let mut watched = states.clone();
    loop {
        let boot = match states.wait_for(|now| now.removed || boot_of(now).is_some()).await {
            Ok(now) if !now.removed => boot_of(&now),
            _ => return,
        };
        let Some(fleet) = fleet.upgrade() else { return };
        let channel = fleet.running_agent(&name);
        drop(fleet);
        let ended = watched.wait_for(|now| now.removed || boot_of(now) != boot);
        tokio::select! {
            () = follow_boot(channel, &name, &mut after) => {}
            // The next boot's clock owes nothing to this one's.
            _ = ended => after = 0,
        }
    }
}

fn boot_of(snapshot: &Snapshot) -> Option<String> {
    snapshot.state.running().map(|running| running.guest.boot_id.clone())
}

/// Ends when the connection does, after a pause.
async fn follow_boot(channel: Option<AgentChannel>, name: &MachineName, after: &mut i64) {
    if let Some(channel) = channel
        && let Err(status) = copy(&channel, name, after).await
    {
        tracing::debug!(machine = %name, error = status.message(), "the agent's log broke off");
    }
    tokio::time::sleep(PAUSE).await;
}

async fn copy(channel: &AgentChannel, name: &MachineName, after: &mut i64) -> Result<(), Status> {
    let request = AgentLogsRequest { backlog: BACKLOG, follow: true };
    let mut records = channel.agent().logs(request).await?.into_inner();
    while let Some(record) = records.message().await? {
        // Seen before the connection was lost.
        if record.unix_nanos > *after {
            *after = record.unix_nanos;
            write(name, &record);
        }
    }
    Ok(())
}

fn write(machine: &MachineName, record: &AgentLogRecord) {
    let AgentLogRecord { level, target: from, message, .. } = record;
    // The level of an event is part of its static description.
    match level.as_str() {
        "error" => tracing::error!(target: "agent", %machine, %from, "{message}"),
        "warn" => tracing::warn!(target: "agent", %machine, %from, "{message}"),
        "info" => tracing::info!(target: "agent", %machine, %from, "{message}"),
        "debug" => tracing::debug!(target: "agent", %machine, %from, "{message}"),
        _ => tracing::trace!(target: "agent", %machine, %from, "{message}"),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
