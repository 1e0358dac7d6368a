//! Logs of containers: what is kept of their output, and how it is read again.
//!
//! A log is a few files ([`files`]): one that is written, and those that were rotated away from it.
//! Both drivers that keep something write one line a record ([`format`]); which driver, and how
//! much is kept, is the container's [`LogConfig`]. [`Writer`] appends and rotates; [`Reader`] reads
//! from some point on, across rotations. No reader ever holds the writer up.
//!
//! Reading and writing are synchronous; [`crate::output`] and [`crate::Containers::logs`] bring
//! them to async callers.

pub mod config;
pub(crate) mod files;
mod format;
mod reader;
mod tag;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;

use crate::io::Channel;

pub use config::LogConfig;
pub(crate) use files::LogFiles;
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// What the options `labels`, `env` and `tag` put beside each record.
pub type Attributes = BTreeMap<String, String>;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was written.
    pub time: Timestamp,
    /// Where it came from.
    pub channel: Channel,
    /// With its line end, when it had one.
    pub line: Bytes,
    /// Most logs have none.
    pub attributes: Option<Arc<Attributes>>,
}

/// Which records to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Select {
    /// Standard output's.
    pub stdout: bool,
    /// Standard error's.
    pub stderr: bool,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Not after this.
    pub until: Option<Timestamp>,
    /// Only the last N of the log (then filtered); None: all.
    pub tail: Option<u64>,
}

impl Select {
    /// Both outputs from the beginning.
    pub const ALL: Self = Self { stdout: true, stderr: true, since: None, until: None, tail: None };

    fn takes(&self, record: &Record) -> bool {
        let wanted = match record.channel {
            Channel::Stdout => self.stdout,
            Channel::Stderr => self.stderr,
        };
        wanted && self.since.is_none_or(|since| record.time >= since)
    }
}

/// A place in a log: a file by its number, and a byte of what it holds (unpacked).
///
/// The files of a log are numbered from the oldest on; a rotation begins the next number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(crate) file: u64,
    pub(crate) offset: u64,
}

/// Records that were read together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In their order.
    pub records: Vec<Record>,
    /// How many files were rotated away, before these records, without having been read: the reader
    /// was too slow.
    pub lost_files: u64,
}

/// Reads the files of a log that nobody writes: for tests, which put any bytes into them.
///
/// # Errors
/// When `config` is not valid or keeps nothing, or a file cannot be read.
#[cfg(feature = "fake")]
pub fn read_files(
    path: std::path::PathBuf,
    config: &LogConfig,
    select: Select,
) -> std::io::Result<Vec<Record>> {
    let settings = config.settings().map_err(std::io::Error::other)?;
    let settings = settings.ok_or(std::io::ErrorKind::Unsupported)?;
    let files = Arc::new(LogFiles::new(path, settings));
    let end = files.end();
    let mut reader = Reader::open(files, select, end)?;
    let mut records = Vec::new();
    loop {
        // Few at a time, so that a batch ends within a file too.
        let batch = reader.next(end, 3)?;
        if batch == Batch::default() {
            return Ok(records);
        }
        records.extend(batch.records);
    }
}
