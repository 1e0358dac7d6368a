//! A container's state in Docker's words.

use jiff::Timestamp;
use linkspan_proto::v1::{self as wire, ContainerDetail, ContainerState, ContainerSummary};
use serde::Serialize;

use crate::time;

/// `State` of an inspected container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct State {
    pub status: &'static str,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: u32,
    pub exit_code: i32,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Health {
    pub status: String,
    pub failing_streak: u32,
    pub log: Vec<HealthResult>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct HealthResult {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

impl From<&wire::Health> for Health {
    fn from(health: &wire::Health) -> Self {
        let result = |result: &wire::HealthResult| HealthResult {
            start: time::rfc3339(result.started_unix_nanos),
            end: time::rfc3339(result.finished_unix_nanos),
            exit_code: result.exit_code,
            output: result.output.clone(),
        };
        Self {
            status: health.status.clone(),
            failing_streak: health.failing_streak,
            log: health.log.iter().map(result).collect(),
        }
    }
}

impl From<&ContainerDetail> for State {
    fn from(detail: &ContainerDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        let is = |state| summary.state() == state;
        Self {
            status: word(summary.state()),
            // As in Docker, paused and restarting containers also count as running.
            running: is(ContainerState::Running)
                || is(ContainerState::Paused)
                || is(ContainerState::Restarting),
            paused: is(ContainerState::Paused),
            restarting: is(ContainerState::Restarting),
            oom_killed: detail.oom_killed,
            dead: is(ContainerState::Dead),
            pid: detail.pid,
            exit_code: summary.exit_code,
            error: detail.error.clone(),
            started_at: time::rfc3339(summary.started_unix_nanos),
            finished_at: time::rfc3339(summary.finished_unix_nanos),
            health: detail.health.as_ref().map(Health::from),
        }
    }
}

/// `running`, `exited`, ...
#[must_use]
pub fn word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Unspecified => "unknown",
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Paused => "paused",
        ContainerState::Restarting => "restarting",
        ContainerState::Exited => "exited",
        ContainerState::Removing => "removing",
        ContainerState::Dead => "dead",
    }
}

/// `Up 3 seconds (healthy)`, `Exited (137) 2 hours ago`, ...
#[must_use]
pub fn status(container: &ContainerSummary, now: Timestamp) -> String {
    let up = || time::duration(time::since(container.started_unix_nanos, now));
    let ended = || time::ago(container.finished_unix_nanos, now);
    match container.state() {
        ContainerState::Created => "Created".into(),
        ContainerState::Running => match container.health.as_str() {
            "" => format!("Up {}", up()),
            "starting" => format!("Up {} (health: starting)", up()),
            health => format!("Up {} ({health})", up()),
        },
        ContainerState::Paused => format!("Up {} (Paused)", up()),
        ContainerState::Restarting => format!("Restarting ({}) {}", container.exit_code, ended()),
        ContainerState::Exited => format!("Exited ({}) {}", container.exit_code, ended()),
        ContainerState::Removing => "Removal In Progress".into(),
        ContainerState::Dead => "Dead".into(),
        ContainerState::Unspecified => "Unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_part_of_the_status() {
        let now = Timestamp::from_second(1_767_225_600).unwrap();
        for (health, expected) in [
            ("", "Up 3 seconds"),
            ("starting", "Up 3 seconds (health: starting)"),
            ("unhealthy", "Up 3 seconds (unhealthy)"),
        ] {
            let one = ContainerSummary {
                state: ContainerState::Running.into(),
                started_unix_nanos: 1_767_225_597_000_000_000,
                health: health.into(),
                ..ContainerSummary::default()
            };
            assert_eq!(status(&one, now), expected);
        }
    }
}
