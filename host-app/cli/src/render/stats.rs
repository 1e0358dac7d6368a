//! `stats`.

use linkspan_proto::v1::{ContainerStats, ContainerUsage, InterfaceUsage};
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::human;
use crate::error::Error;

/// Docker's columns.
const COLUMNS: &str = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t\
                       {{.BlockIO}}\t{{.PIDs}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// What is not known.
const NONE: &str = "--";

/// Lays samples out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(
    format: &Format,
    samples: &[ContainerStats],
    whole: bool,
) -> Result<String, Error> {
    let rows: Vec<Value> = samples.iter().map(|sample| row(sample, whole)).collect();
    Listing { columns: COLUMNS, headings: HEADINGS, methods: &|_, _, _| None }.render(format, &rows)
}

fn row(sample: &ContainerStats, whole: bool) -> Value {
    let id = human::short_id(&sample.id, whole);
    let both = |one: String, other: String| format!("{one} / {other}");
    let usage = sample.usage.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.into());
    json!({
        "Container": id,
        "ID": id,
        "Name": sample.name,
        "CPUPerc": or_none(usage.map(|_| format!("{:.2}%", sample.cpu_percent))),
        "MemUsage": or_none(usage.map(|usage| both(
            human::binary_size(usage.memory_bytes),
            human::binary_size(usage.memory_limit_bytes),
        ))),
        "MemPerc": or_none(usage.map(memory_percent)),
        "NetIO": or_none(usage.map(|usage| {
            let sum = |count: fn(&InterfaceUsage) -> u64| usage.interfaces.iter().map(count).sum();
            both(human::size(sum(|one| one.received_bytes)), human::size(sum(|one| one.sent_bytes)))
        })),
        "BlockIO": or_none(usage.map(|usage| both(
            human::size(usage.block_read_bytes),
            human::size(usage.block_written_bytes),
        ))),
        "PIDs": or_none(usage.map(|usage| usage.pids.to_string())),
    })
}

#[allow(clippy::cast_precision_loss)]
fn memory_percent(usage: &ContainerUsage) -> String {
    let limit = usage.memory_limit_bytes.max(1) as f64;
    format!("{:.2}%", usage.memory_bytes as f64 / limit * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_look_as_dockers() {
        let runs = ContainerStats {
            id: "0123456789abcdef".into(),
            name: "web".into(),
            usage: Some(ContainerUsage {
                memory_bytes: 3 << 20,
                memory_limit_bytes: 64 << 20,
                pids: 2,
                block_read_bytes: 1_240_000,
                interfaces: vec![
                    InterfaceUsage {
                        received_bytes: 1500,
                        sent_bytes: 70,
                        ..Default::default()
                    };
                    2
                ],
                ..ContainerUsage::default()
            }),
            cpu_percent: 12.345,
            ..ContainerStats::default()
        };
        let idle = ContainerStats { name: "idle".into(), usage: None, ..runs.clone() };
        assert_eq!(
            list(&Format::Table, &[runs, idle], false).expect("rendered"),
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O      BLOCK I/O     PIDS\n\
             0123456789ab   web       12.35%    3MiB / 64MiB        4.69%     3kB / 140B   1.24MB / 0B   2\n\
             0123456789ab   idle      --        --                  --        --           --            --\n"
        );
    }
}
