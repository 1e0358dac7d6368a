//! The small answers about containers: `wait`, `top`, `changes`, `update`, `prune`, ids.

use linkspan_proto::v1 as wire;
use serde::{Deserialize, Serialize};

use super::check;
use super::host_config::HostConfig;
use super::read::{self, amount};
use super::refused;
use crate::error::{Malformed, Refused};
use crate::json;
use crate::some;
use crate::version::ApiVersion;

/// `{"Id": ...}`: of `exec` and `commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Id {
    pub id: String,
}

/// `POST /containers/{id}/wait`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct WaitAnswer {
    pub status_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct WaitError {
    pub message: String,
}

impl From<wire::WaitContainerResponse> for WaitAnswer {
    fn from(answer: wire::WaitContainerResponse) -> Self {
        let error = (!answer.error.is_empty()).then_some(WaitError { message: answer.error });
        Self { status_code: answer.exit_code, error }
    }
}

/// `condition` of a query; before 1.30 there was none.
///
/// # Errors
/// In Docker's words.
pub fn condition(text: &str, version: ApiVersion) -> Result<wire::WaitCondition, Refused> {
    match text {
        _ if version.before(30) => Ok(wire::WaitCondition::NotRunning),
        "" | "not-running" => Ok(wire::WaitCondition::NotRunning),
        "next-exit" => Ok(wire::WaitCondition::NextExit),
        "removed" => Ok(wire::WaitCondition::Removed),
        other => Err(Refused::Invalid(format!("invalid condition: {other:?}"))),
    }
}

/// `GET /containers/{id}/top`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Top {
    pub titles: Vec<String>,
    pub processes: Vec<Vec<String>>,
}

impl From<wire::TopContainerResponse> for Top {
    fn from(answer: wire::TopContainerResponse) -> Self {
        let processes = answer.processes.into_iter().map(|row| row.values).collect();
        Self { titles: answer.titles, processes }
    }
}

/// One of `GET /containers/{id}/changes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Change {
    pub path: String,
    pub kind: u8,
}

/// All of them: null when there are none.
#[must_use]
pub fn changes(answer: wire::ListChangesResponse) -> Option<Vec<Change>> {
    let change = |change: &wire::Change| Change {
        path: change.path.clone(),
        kind: match change.kind() {
            wire::ChangeKind::Modified | wire::ChangeKind::Unspecified => 0,
            wire::ChangeKind::Added => 1,
            wire::ChangeKind::Deleted => 2,
        },
    };
    some(&answer.changes.iter().map(change).collect::<Vec<_>>())
}

/// `POST /containers/{id}/update`: what of it changes. 0 and empty: it stays.
///
/// # Errors
/// A body that cannot be read, or what cannot be changed.
pub fn update(
    container: &str,
    body: &[u8],
    version: ApiVersion,
) -> Result<wire::UpdateContainerRequest, Refused> {
    // `container.UpdateConfig` is a part of `HostConfig`; what else a body has means nothing, as
    // with Docker Engine.
    let body: HostConfig = json::read(body)?;
    const DISKS: &str = "limits of single disks can be given when a container is made only";
    const FIXED: &str = "it can be given when a container is made only";
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|all| !all.is_empty());
    read::refuse(&[
        (!body.cgroup_parent.is_empty(), "CgroupParent", refused::CGROUP),
        (!body.blkio_weight_device.is_empty(), "BlkioWeightDevice", DISKS),
        (!body.blkio_device_read_bps.is_empty(), "BlkioDeviceReadBps", DISKS),
        (!body.blkio_device_write_bps.is_empty(), "BlkioDeviceWriteBps", DISKS),
        (!body.blkio_device_read_iops.is_empty(), "BlkioDeviceReadIOps", DISKS),
        (!body.blkio_device_write_iops.is_empty(), "BlkioDeviceWriteIOps", DISKS),
        (body.cpu_realtime_period != 0, "CpuRealtimePeriod", refused::REAL_TIME),
        (body.cpu_realtime_runtime != 0, "CpuRealtimeRuntime", refused::REAL_TIME),
        (!body.devices.is_empty(), "Devices", FIXED),
        (given(&body.device_cgroup_rules), "DeviceCgroupRules", FIXED),
        (
            body.device_requests.as_ref().is_some_and(|all| !all.is_empty()),
            "DeviceRequests",
            refused::DEVICE_REQUESTS,
        ),
        (
            body.memory_swappiness.is_some_and(|value| value != -1),
            "MemorySwappiness",
            refused::SWAPPINESS,
        ),
        (body.oom_kill_disable == Some(true), "OomKillDisable", refused::OOM_KILL_DISABLE),
        (body.init.is_some(), "Init", FIXED),
        (!body.ulimits.is_empty(), "Ulimits", FIXED),
        (body.cpu_count != 0, "CpuCount", refused::WINDOWS),
        (body.cpu_percent != 0, "CpuPercent", refused::WINDOWS),
        (body.io_maximum_iops != 0, "IOMaximumIOps", refused::WINDOWS),
        (body.io_maximum_bandwidth != 0, "IOMaximumBandwidth", refused::WINDOWS),
    ])?;
    check::memory(body.memory, body.memory_swap, body.memory_reservation)?;
    let number = |field: &str, value: i64| match value {
        0 => Ok(None),
        value => amount(field, value).map(Some),
    };
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(wire::UpdateContainerRequest {
        container: container.to_owned(),
        memory_bytes: number("Memory", body.memory)?,
        memory_swap_bytes: (body.memory_swap != 0).then_some(body.memory_swap),
        memory_reservation_bytes: number("MemoryReservation", body.memory_reservation)?,
        nano_cpus: number("NanoCpus", body.nano_cpus)?,
        cpu_shares: number("CpuShares", body.cpu_shares)?,
        cpuset_cpus: text(&body.cpuset_cpus),
        cpuset_mems: text(&body.cpuset_mems),
        // Anything below 1 is no limit; it could not be changed before 1.40.
        pids_limit: body.pids_limit.filter(|_| !version.before(40)).map(|limit| limit.max(0)),
        restart_policy: read::restart(&body.restart_policy, false)?,
        cpu_period_us: number("CpuPeriod", body.cpu_period)?,
        cpu_quota_us: (body.cpu_quota != 0).then_some(body.cpu_quota),
        blkio_weight: (body.blkio_weight != 0).then_some(body.blkio_weight.into()),
    })
}

/// The answer of `update`: null when there is nothing to warn of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct UpdateAnswer {
    pub warnings: Option<Vec<String>>,
}

impl From<wire::UpdateContainerResponse> for UpdateAnswer {
    fn from(answer: wire::UpdateContainerResponse) -> Self {
        Self { warnings: some(&answer.warnings) }
    }
}

/// `POST /containers/prune`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pruned {
    pub containers_deleted: Option<Vec<String>>,
    pub space_reclaimed: u64,
}

impl From<wire::PruneContainersResponse> for Pruned {
    fn from(answer: wire::PruneContainersResponse) -> Self {
        Self { containers_deleted: some(&answer.ids), space_reclaimed: answer.reclaimed_bytes }
    }
}

/// The size of a terminal in a query: `h` and `w`.
///
/// # Errors
/// In Docker's words, when one is no number.
pub fn terminal_size(h: &str, w: &str) -> Result<wire::TerminalSize, Malformed> {
    let number = |name: &'static str, text: &str| {
        text.parse().map_err(|_| Malformed::Json(format!("invalid resize {name} {text:?}")))
    };
    Ok(wire::TerminalSize { rows: number("height", h)?, columns: number("width", w)? })
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    const LATEST: ApiVersion = ApiVersion::MAX;

    #[test]
    fn small_answers_have_dockers_shape() {
        let wait = |error: &str| {
            let answer = wire::WaitContainerResponse {
                exit_code: 3,
                error: error.into(),
                ..wire::WaitContainerResponse::default()
            };
            to_value(WaitAnswer::from(answer)).unwrap()
        };
        assert_eq!(wait(""), json!({"StatusCode": 3}));
        assert_eq!(wait("x"), json!({"StatusCode": 3, "Error": {"Message": "x"}}));
        assert_eq!(
            to_value(UpdateAnswer::from(wire::UpdateContainerResponse::default())).unwrap(),
            json!({"Warnings": null})
        );
        assert_eq!(
            to_value(Pruned::from(wire::PruneContainersResponse::default())).unwrap(),
            json!({"ContainersDeleted": null, "SpaceReclaimed": 0})
        );
        assert_eq!(to_value(changes(Default::default())).unwrap(), json!(null));
        let change = wire::Change { path: "/a".into(), kind: wire::ChangeKind::Deleted.into() };
        let all = changes(wire::ListChangesResponse { changes: vec![change] });
        assert_eq!(to_value(all).unwrap(), json!([{"Path": "/a", "Kind": 2}]));
    }

    #[test]
    fn conditions_are_checked_since_they_are_there() {
        assert_eq!(condition("removed", LATEST), Ok(wire::WaitCondition::Removed));
        assert_eq!(condition("removed", ApiVersion::v1(29)), Ok(wire::WaitCondition::NotRunning));
        assert_eq!(condition("x", LATEST).unwrap_err().to_string(), "invalid condition: \"x\"");
    }

    #[test]
    fn an_update_changes_what_it_names_and_nothing_else() {
        let read =
            |body: serde_json::Value, version| update("web", body.to_string().as_bytes(), version);
        let nothing =
            wire::UpdateContainerRequest { container: "web".into(), ..Default::default() };
        let empty = json!({"Memory": 0, "CpusetCpus": "", "RestartPolicy": {"Name": ""},
            "Devices": null, "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": null});
        assert_eq!(read(empty, LATEST), Ok(nothing.clone()));
        let some = read(
            json!({"Memory": 7 << 20, "CpuQuota": -1, "PidsLimit": -1,
            "RestartPolicy": {"Name": "always"}}),
            LATEST,
        )
        .unwrap();
        assert_eq!(
            (some.memory_bytes, some.cpu_quota_us, some.pids_limit),
            (Some(7 << 20), Some(-1), Some(0))
        );
        assert_eq!(some.restart_policy.unwrap().name, "always");
        assert_eq!(read(json!({"PidsLimit": 5}), ApiVersion::v1(39)), Ok(nothing));
        for (body, why) in [
            (json!({"Memory": -1}), "invalid Memory: -1 is negative"),
            (json!({"Ulimits": [{"Name": "core"}]}), "Ulimits is not supported"),
            (json!({"BlkioDeviceReadBps": [{}]}), "BlkioDeviceReadBps is not supported"),
        ] {
            assert!(read(body, LATEST).unwrap_err().to_string().starts_with(why), "{why}");
        }
    }
}
