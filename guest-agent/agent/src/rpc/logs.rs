//! Logs between the wire and `containers`.

use std::path::Path;

use linkspan_containers::{
    io::Channel,
    log::{Batch, LogConfig},
};
use linkspan_proto::v1 as wire;

use super::convert::nanos;

pub(super) fn config(log: wire::LogConfig) -> LogConfig {
    LogConfig { driver: log.driver, options: log.options.into_iter().collect() }
}

pub(super) fn config_to_wire(log: &LogConfig) -> wire::LogConfig {
    wire::LogConfig {
        driver: log.driver().to_owned(),
        options: log.options.clone().into_iter().collect(),
    }
}

pub(super) fn path(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

/// Records as they travel; `details`: with what stands beside them.
pub(super) fn batch(batch: Batch, details: bool) -> wire::ContainerLogsResponse {
    let records = batch.records.into_iter().map(|record| wire::LogRecord {
        unix_nanos: nanos(record.time),
        stream: match record.channel {
            Channel::Stdout => wire::LogStream::Stdout,
            Channel::Stderr => wire::LogStream::Stderr,
        }
        .into(),
        line: record.line,
        attributes: match record.attributes {
            Some(attributes) if details => attributes.as_ref().clone().into_iter().collect(),
            _ => Default::default(),
        },
    });
    wire::ContainerLogsResponse { records: records.collect(), lost_files: batch.lost_files }
}
