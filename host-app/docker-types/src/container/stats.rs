//! `GET /containers/{id}/stats`.

use std::collections::BTreeMap;

use linkspan_proto::v1::{ContainerStats, ContainerUsage, InterfaceUsage};
use serde::Serialize;

use crate::{is_zero, time};

/// One sample and the one before it (`container.StatsResponse`).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Stats {
    pub name: String,
    pub id: String,
    pub os_type: &'static str,
    pub read: String,
    pub preread: String,
    pub pids_stats: Pids,
    pub blkio_stats: Blkio,
    /// Of Windows.
    pub num_procs: u32,
    /// Of Windows.
    pub storage_stats: crate::Empty,
    pub cpu_stats: Cpu,
    pub precpu_stats: Cpu,
    pub memory_stats: Memory,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, Network>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// With cgroup v2 Docker fills in the first only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Blkio {
    pub io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    pub io_queue_recursive: Option<Vec<BlkioEntry>>,
    pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
    pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    pub io_merged_recursive: Option<Vec<BlkioEntry>>,
    pub io_time_recursive: Option<Vec<BlkioEntry>>,
    pub sectors_recursive: Option<Vec<BlkioEntry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct BlkioEntry {
    /// 0:0 stands for all disks of the machine together.
    pub major: u64,
    pub minor: u64,
    pub op: &'static str,
    pub value: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Cpu {
    pub cpu_usage: CpuUsage,
    #[serde(skip_serializing_if = "is_zero")]
    pub system_cpu_usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub online_cpus: u32,
    pub throttling_data: Throttling,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct CpuUsage {
    pub total_usage: u64,
    /// Not told apart: 0.
    pub usage_in_kernelmode: u64,
    /// Not told apart: all of it.
    pub usage_in_usermode: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// Clients take `inactive_file` of the `stats` off the usage; here it has been taken off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stats: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Network {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl Stats {
    /// `before`: the sample before this one; none in the first and with `one-shot`. A container
    /// that does not run has no usage, and Go's zero time.
    #[must_use]
    pub fn new(sample: &ContainerStats, before: Option<&ContainerStats>) -> Self {
        let read = |sample: Option<&ContainerStats>| {
            let ran = sample.filter(|sample| sample.usage.is_some());
            time::rfc3339(ran.map_or(0, |sample| sample.unix_nanos))
        };
        let now = sample.usage.clone().unwrap_or_default();
        let was = before.and_then(|before| before.usage.as_ref());
        Self {
            name: format!("/{}", sample.name),
            id: sample.id.clone(),
            os_type: "linux",
            read: read(Some(sample)),
            preread: read(before),
            pids_stats: Pids {
                current: now.pids,
                // Docker's word for no limit is the largest number.
                limit: if now.pids > 0 && now.pids_limit == 0 { u64::MAX } else { now.pids_limit },
            },
            blkio_stats: blkio(sample.usage.as_ref()),
            num_procs: 0,
            storage_stats: crate::Empty {},
            cpu_stats: cpu(&now),
            precpu_stats: was.map(cpu).unwrap_or_default(),
            memory_stats: Memory {
                usage: now.memory_bytes,
                stats: BTreeMap::new(),
                limit: now.memory_limit_bytes,
            },
            networks: now.interfaces.iter().map(interface).collect(),
        }
    }
}

fn cpu(usage: &ContainerUsage) -> Cpu {
    Cpu {
        cpu_usage: CpuUsage {
            total_usage: usage.cpu_nanos,
            usage_in_kernelmode: 0,
            usage_in_usermode: usage.cpu_nanos,
        },
        system_cpu_usage: usage.system_cpu_nanos,
        online_cpus: usage.cpus,
        throttling_data: Throttling::default(),
    }
}

fn blkio(usage: Option<&ContainerUsage>) -> Blkio {
    let entry = |op, value| BlkioEntry { major: 0, minor: 0, op, value };
    let moved = usage.filter(|usage| usage.block_read_bytes > 0 || usage.block_written_bytes > 0);
    Blkio {
        io_service_bytes_recursive: moved.map(|usage| {
            vec![entry("read", usage.block_read_bytes), entry("write", usage.block_written_bytes)]
        }),
        ..Blkio::default()
    }
}

fn interface(usage: &InterfaceUsage) -> (String, Network) {
    let network = Network {
        rx_bytes: usage.received_bytes,
        rx_packets: usage.received_packets,
        rx_errors: usage.received_errors,
        rx_dropped: usage.received_dropped,
        tx_bytes: usage.sent_bytes,
        tx_packets: usage.sent_packets,
        tx_errors: usage.sent_errors,
        tx_dropped: usage.sent_dropped,
    };
    (usage.name.clone(), network)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(seconds: i64) -> ContainerStats {
        ContainerStats {
            id: "abc".into(),
            name: "web".into(),
            unix_nanos: seconds * 1_000_000_000,
            usage: Some(ContainerUsage {
                cpu_nanos: 5,
                system_cpu_nanos: 10,
                cpus: 2,
                memory_bytes: 7,
                memory_limit_bytes: 9,
                pids: 1,
                block_read_bytes: 3,
                interfaces: vec![InterfaceUsage { name: "eth0".into(), ..Default::default() }],
                ..ContainerUsage::default()
            }),
            cpu_percent: 0.0,
        }
    }

    #[test]
    fn a_sample_has_the_one_before_it() {
        let shown = serde_json::to_value(Stats::new(&sample(2), Some(&sample(1)))).unwrap();
        assert_eq!(
            (&shown["read"], &shown["preread"]),
            (&json!("1970-01-01T00:00:02Z"), &json!("1970-01-01T00:00:01Z"))
        );
        assert_eq!(shown["precpu_stats"], shown["cpu_stats"]);
        assert_eq!(shown["cpu_stats"]["system_cpu_usage"], 10);
        assert_eq!(shown["memory_stats"], json!({"usage": 7, "limit": 9}));
        assert_eq!(shown["pids_stats"], json!({"current": 1, "limit": u64::MAX}));
        assert_eq!(shown["networks"]["eth0"]["rx_bytes"], 0);
        let first = serde_json::to_value(Stats::new(&sample(2), None)).unwrap();
        assert_eq!(first["preread"], time::ZERO);
        assert_eq!(first["precpu_stats"].get("system_cpu_usage"), None);
        assert_eq!(
            first["blkio_stats"]["io_service_bytes_recursive"][0],
            json!({"major": 0, "minor": 0, "op": "read", "value": 3})
        );
    }

    #[test]
    fn what_does_not_run_has_dockers_empty_sample() {
        let idle = ContainerStats { usage: None, ..sample(2) };
        let shown = serde_json::to_value(Stats::new(&idle, None)).unwrap();
        assert_eq!(shown["read"], time::ZERO);
        assert_eq!((&shown["memory_stats"], &shown["pids_stats"]), (&json!({}), &json!({})));
        assert_eq!(shown["blkio_stats"]["io_service_bytes_recursive"], json!(null));
        assert_eq!(shown.get("networks"), None);
    }
}
