//! How a record is written: one line, whichever driver.
//!
//! `json-file` has Docker's lines: an object with `log`, `stream`, `attrs` and `time`. JSON is
//! text: bytes that are not UTF-8 become U+FFFD, as with Docker.
//!
//! `local` has the lines of Kubernetes' CRI logs: `TIME STREAM FLAG TEXT`, the flag `F` when the
//! line was whole and `P` when it had no end (yet). Bytes stay as they were.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Attributes, Record};
use crate::io::Channel;

/// A driver's form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Local,
}

#[derive(Serialize)]
struct JsonOut<'a> {
    log: &'a str,
    stream: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attrs: Option<&'a Attributes>,
    time: &'a str,
}

#[derive(Deserialize)]
struct JsonIn {
    log: String,
    stream: String,
    #[serde(default)]
    attrs: Option<Attributes>,
    time: Timestamp,
}

impl Format {
    /// Appends a record's line.
    pub(super) fn encode(
        self,
        out: &mut Vec<u8>,
        channel: Channel,
        time: &str,
        line: &[u8],
        attributes: Option<&Attributes>,
    ) {
        let stream = match channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        };
        match self {
            Self::Json => {
                let log = &String::from_utf8_lossy(line);
                let line = JsonOut { log, stream, attrs: attributes, time };
                // Strings always encode, and a Vec always takes them.
                if serde_json::to_writer(&mut *out, &line).is_ok() {
                    out.push(b'\n');
                }
            }
            Self::Local => {
                let (flag, text) = match line.strip_suffix(b"\n") {
                    Some(text) => (" F ", text),
                    None => (" P ", line),
                };
                for part in [time.as_bytes(), b" ", stream.as_bytes(), flag.as_bytes(), text] {
                    out.extend_from_slice(part);
                }
                out.push(b'\n');
            }
        }
    }

    /// A line with its end. None: a crash cut it off, or it is not ours.
    pub(super) fn decode(self, line: &[u8]) -> Option<Record> {
        match self {
            Self::Json => {
                let line: JsonIn = serde_json::from_slice(line).ok()?;
                Some(Record {
                    time: line.time,
                    channel: channel(line.stream.as_bytes()),
                    line: line.log.into_bytes().into(),
                    attributes: line.attrs.map(Arc::new),
                })
            }
            Self::Local => {
                let mut parts = line.splitn(4, |byte| *byte == b' ');
                let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
                let channel = channel(parts.next()?);
                let flag = parts.next()?;
                let text = parts.next()?;
                let text = match flag {
                    b"F" => text,
                    _ => text.strip_suffix(b"\n").unwrap_or(text),
                };
                Some(Record { time, channel, line: text.to_vec().into(), attributes: None })
            }
        }
    }
}

fn channel(stream: &[u8]) -> Channel {
    match stream {
        b"stderr" => Channel::Stderr,
        _ => Channel::Stdout,
    }
}
