//! The agents' logs in the daemon's own, so that one request can be followed through both: each
//! record names the request that it belongs to.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use linkspan_agent_client::AgentChannel;
use linkspan_machine::{Machine, state::State};
use linkspan_proto::v1::{AgentLogRecord, AgentLogsRequest};
use linkspan_state::MachineName;
use tonic::Status;

use crate::companion::Companion;

/// More than an agent keeps.
const BACKLOG: u32 = 1 << 16;

/// Copies the log of one machine's agent, boot after boot.
pub(crate) struct AgentLog {
    machine: MachineName,
    /// The time of the last record that was copied, nanoseconds since the Unix epoch.
    after: i64,
}

impl AgentLog {
    pub(crate) fn of(machine: &Machine) -> Self {
        // What a VM logged under an earlier daemon is in that one's log.
        let state = machine.snapshot().state;
        let adopting = matches!(&state, State::Starting(starting) if starting.adopting);
        Self { machine: machine.name().clone(), after: if adopting { now() } else { 0 } }
    }
}

#[async_trait]
impl Companion for AgentLog {
    fn name(&self) -> &'static str {
        "log"
    }

    async fn accompany(&mut self, agent: &AgentChannel) -> Result<(), Status> {
        let request = AgentLogsRequest { backlog: BACKLOG, follow: true };
        let mut records = agent.agent().logs(request).await?.into_inner();
        while let Some(record) = records.message().await? {
            // Otherwise it came before the connection was lost.
            if record.unix_nanos > self.after {
                self.after = record.unix_nanos;
                write(&self.machine, &record);
            }
        }
        Ok(())
    }

    async fn part(&mut self) {
        // The next boot's clock owes nothing to this one's.
        self.after = 0;
    }
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
