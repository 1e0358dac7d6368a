//! A container's log: Docker's json-file, one JSON object a line with `log`, `stream`, `time`.
//!
//! JSON is text: bytes that are not UTF-8 become U+FFFD in the log, as with Docker. Attached
//! clients get the bytes as they were.
//!
//! Reading is synchronous; [`crate::Containers::logs`] brings it to async callers.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::io::{Channel, append, read_full};

/// A line that grows longer than this is written in parts, the same as Docker's.
const LONGEST: usize = 16 << 10;

/// How much is read at a time when looking for the last lines.
const BLOCK: u64 = 64 << 10;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was written.
    pub time: Timestamp,
    /// Where it came from.
    pub channel: Channel,
    /// With its line end, when it had one.
    pub line: Bytes,
}

#[derive(Serialize)]
struct LineOut<'a> {
    log: &'a str,
    stream: &'static str,
    time: &'a str,
}

#[derive(Deserialize)]
struct LineIn {
    log: String,
    stream: String,
    time: Timestamp,
}

/// Writes a log. One for each run of a container; appends.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    /// Bytes in the file.
    length: u64,
    /// What has come without a line end yet: standard output's and standard error's.
    partial: [BytesMut; 2],
}

impl Writer {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, partial: Default::default() })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What has been given but is not in the file, because its line has not ended.
    pub(crate) fn partial(&self, channel: Channel) -> &[u8] {
        &self.partial[channel as usize]
    }

    /// Writes the lines that `bytes` completes.
    pub(crate) fn write(&mut self, channel: Channel, mut bytes: &[u8]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(bytes.len() + 128);
        let time = Timestamp::now().to_string();
        let mut result = Ok(());
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let partial = &mut self.partial[channel as usize];
            if partial.is_empty() && line.len() <= LONGEST {
                encode(&mut lines, channel, &time, line);
            } else {
                partial.extend_from_slice(line);
                encode_long(&mut lines, channel, &time, partial, false);
            }
        }
        let partial = &mut self.partial[channel as usize];
        partial.extend_from_slice(bytes);
        if partial.len() >= LONGEST {
            encode_long(&mut lines, channel, &time, partial, true);
        }
        if !lines.is_empty() {
            result = append(&self.file, &lines);
            self.length += lines.len() as u64;
        }
        result
    }

    /// Writes what has no line end: nothing more comes on this channel.
    pub(crate) fn finish(&mut self, channel: Channel) -> io::Result<()> {
        let partial = &mut self.partial[channel as usize];
        if partial.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(partial.len() + 128);
        encode_long(&mut lines, channel, &Timestamp::now().to_string(), partial, false);
        self.length += lines.len() as u64;
        append(&self.file, &lines)
    }
}

/// Encodes and empties `partial` in parts of [`LONGEST`]; with `keep_rest`, a last part that is
/// shorter stays.
fn encode_long(
    out: &mut Vec<u8>,
    channel: Channel,
    time: &str,
    partial: &mut BytesMut,
    keep_rest: bool,
) {
    while !partial.is_empty() && (!keep_rest || partial.len() >= LONGEST) {
        let part = partial.split_to(partial.len().min(LONGEST));
        encode(out, channel, time, &part);
    }
}

fn encode(out: &mut Vec<u8>, channel: Channel, time: &str, line: &[u8]) {
    let stream = match channel {
        Channel::Stdout => "stdout",
        Channel::Stderr => "stderr",
    };
    let line = LineOut { log: &String::from_utf8_lossy(line), stream, time };
    // Strings always encode, and a Vec always takes them.
    if serde_json::to_writer(&mut *out, &line).is_ok() {
        out.push(b'\n');
    }
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
    /// Only the last N of the file (then filtered); None: all.
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

/// Reads a log from some point on.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    select: Select,
    /// Bytes consumed: always at the beginning of a line.
    position: u64,
    over: bool,
}

impl Reader {
    /// Opens a log at the place where `select` begins. A log that does not exist is empty.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(path: &Path, select: Select) -> io::Result<Self> {
        // A container that never ran has no log file. Creating it here lets a follower wait on it.
        let file = File::options().read(true).append(true).create(true).open(path)?;
        let mut position = 0;
        if let Some(lines) = select.tail {
            position = tail_start(&file, lines)?;
        }
        let mut file = BufReader::with_capacity(BLOCK as usize, file);
        file.seek(SeekFrom::Start(position))?;
        Ok(Self { file, select, position, over: false })
    }

    /// The next records up to byte `end` of the file, at most `count`. Empty: none there (yet).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next(&mut self, end: u64, count: usize) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut line = Vec::new();
        while records.len() < count && self.position < end && !self.over {
            line.clear();
            let read = self.file.by_ref().take(end - self.position).read_until(b'\n', &mut line)?;
            if read == 0 || !line.ends_with(b"\n") {
                break;
            }
            self.position += read as u64;
            let Some(record) = decode(&line) else { continue };
            if self.select.until.is_some_and(|until| record.time > until) {
                self.over = true;
            } else if self.select.takes(&record) {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Whether nothing can follow: `until` has been passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over || self.select.until.is_some_and(|until| Timestamp::now() > until)
    }

    /// How far the file has been read, in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// A line that a crash cut off, or that is not ours, is skipped.
fn decode(line: &[u8]) -> Option<Record> {
    let line: LineIn = serde_json::from_slice(line).ok()?;
    let channel = match line.stream.as_str() {
        "stderr" => Channel::Stderr,
        _ => Channel::Stdout,
    };
    Some(Record { time: line.time, channel, line: line.log.into_bytes().into() })
}

/// Where the last `lines` lines begin. Reads from the end: a long log is not read through.
fn tail_start(file: &File, lines: u64) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut block = vec![0; BLOCK as usize];
    let length = end;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let block = &mut block[..(end - start) as usize];
        let mut at = file;
        at.seek(SeekFrom::Start(start))?;
        let read = read_full(file, block)?;
        for index in (0..read).rev() {
            let place = start + index as u64;
            // The line end of the last line does not begin another one.
            if block[index] == b'\n' && place + 1 != length {
                found += 1;
                if found == lines {
                    return Ok(place + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(path: &Path, select: Select) -> Vec<Record> {
        Reader::open(path, select).unwrap().next(u64::MAX, usize::MAX).unwrap()
    }

    fn text(records: &[Record], channel: Channel) -> String {
        let bytes: Vec<u8> = records
            .iter()
            .filter(|record| record.channel == channel)
            .flat_map(|record| record.line.to_vec())
            .collect();
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        // Making up long strings is slow; the boundaries are met in a few cases already.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn whatever_was_written_is_read_back_in_order(
            chunks in proptest::collection::vec((any::<bool>(), "[a-z\n\"\\\\é]{0,9000}"), 0..12)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let mut writer = Writer::open(&path).unwrap();
            let mut expected = [String::new(), String::new()];
            for (error, chunk) in &chunks {
                let channel = if *error { Channel::Stderr } else { Channel::Stdout };
                expected[channel as usize].push_str(chunk);
                writer.write(channel, chunk.as_bytes()).unwrap();
            }
            for channel in [Channel::Stdout, Channel::Stderr] {
                writer.finish(channel).unwrap();
            }
            prop_assert_eq!(writer.length(), path.metadata().unwrap().len());
            let records = read(&path, Select::ALL);
            for channel in [Channel::Stdout, Channel::Stderr] {
                // A part boundary may fall into a character; those become U+FFFD.
                let got = text(&records, channel);
                if !got.contains('\u{fffd}') {
                    prop_assert_eq!(&got, &expected[channel as usize]);
                }
            }
        }

        #[test]
        fn tail_is_the_end_of_everything(count in 0_u64..60, lines in 0_usize..50, wide in 1_usize..9000) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let mut writer = Writer::open(&path).unwrap();
            for line in 0..lines {
                writer.write(Channel::Stdout, format!("{line:0wide$}\n").as_bytes()).unwrap();
            }
            let all = read(&path, Select::ALL);
            let tail = read(&path, Select { tail: Some(count), ..Select::ALL });
            let skip = all.len().saturating_sub(count as usize);
            prop_assert_eq!(&all[skip..], &tail[..]);
        }
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        Writer::open(&path).unwrap().write(Channel::Stdout, b"whole\n").unwrap();
        let file = File::options().append(true).open(&path).unwrap();
        append(&file, b"{\"log\":\"half").unwrap();
        assert_eq!(text(&read(&path, Select::ALL), Channel::Stdout), "whole\n");
    }

    #[test]
    fn since_and_until_bound_the_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut lines = Vec::new();
        for second in 0..10 {
            let time = Timestamp::from_second(1000 + second).unwrap().to_string();
            encode(&mut lines, Channel::Stdout, &time, format!("{second}").as_bytes());
        }
        std::fs::write(&path, lines).unwrap();
        let at = |second| Timestamp::from_second(second).ok();
        let select = Select { since: at(1003), until: at(1005), ..Select::ALL };
        assert_eq!(text(&read(&path, select), Channel::Stdout), "345");
    }
}
