//! `logs`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::v1::{ContainerLogsRequest, LogRecord, LogStream};

use crate::args::time::moment;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::human;
use crate::terminal::stdout::{Output, Target};

/// Print what a container has written
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what it writes from now on
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long, value_name = "N", default_value = "all", value_parser = lines,
        allow_negative_numbers = true)]
    tail: Lines,
    /// Only since a time (`2026-01-31T12:00:00Z`) or a span ago (`10m`)
    #[arg(long, value_name = "TIME", value_parser = moment_from_now)]
    since: Option<i64>,
    /// Only until a time or a span ago
    #[arg(long, value_name = "TIME", value_parser = moment_from_now)]
    until: Option<i64>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// Show what the log's options `labels`, `env` and `tag` put beside each line
    #[arg(long)]
    details: bool,
    /// Its name or id
    container: String,
}

/// How many lines; none: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines(Option<u64>);

fn lines(text: &str) -> Result<Lines, String> {
    if text == "all" {
        return Ok(Lines(None));
    }
    let number: i64 = text.parse().map_err(|_| "give a number or `all`")?;
    // As in Docker, a negative number is all.
    Ok(Lines(u64::try_from(number).ok()))
}

fn moment_from_now(text: &str) -> Result<i64, String> {
    moment(text, Timestamp::now())
}

impl Logs {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = ContainerLogsRequest {
            container: self.container,
            follow: self.follow,
            stdout: true,
            stderr: true,
            since_unix_nanos: self.since.unwrap_or(0),
            until_unix_nanos: self.until.unwrap_or(0),
            tail: self.tail.0,
            details: self.details,
        };
        let prefix = Prefix { timestamps: self.timestamps, details: self.details };
        let mut answers = client.containers(context.machine()).logs(request).await?.into_inner();
        let output = Output::standard()?;
        loop {
            let answer = tokio::select! {
                () = output.failed() => break,
                answer = answers.message() => answer,
            };
            let Some(answer) = (match answer {
                Ok(answer) => answer,
                Err(status) => {
                    // What came before the failure is still to be seen.
                    output.finish().await?;
                    return Err(Error::from(status));
                }
            }) else {
                break;
            };
            if answer.lost_files > 0 {
                say!(
                    "linkspan: {} of the log rotated away before it was read",
                    human::count(answer.lost_files, "full file")
                );
            }
            for (target, chunk) in chunks(&answer.records, prefix) {
                if !output.write(target, chunk.into()).await {
                    break;
                }
            }
        }
        output.finish().await?;
        Ok(0)
    }
}

/// What stands before each line.
#[derive(Debug, Clone, Copy, Default)]
struct Prefix {
    timestamps: bool,
    details: bool,
}

/// Records in their order, neighbours of the same stream together.
fn chunks(records: &[LogRecord], prefix: Prefix) -> Vec<(Target, Vec<u8>)> {
    let mut out: Vec<(Target, Vec<u8>)> = Vec::new();
    for record in records {
        let target = match record.stream() {
            LogStream::Stderr => Target::Stderr,
            LogStream::Stdout | LogStream::Unspecified => Target::Stdout,
        };
        if out.last().is_none_or(|(last, _)| *last != target) {
            out.push((target, Vec::new()));
        }
        if let Some((_, chunk)) = out.last_mut() {
            if prefix.timestamps {
                chunk.extend_from_slice(human::rfc3339_nanos(record.unix_nanos).as_bytes());
                chunk.push(b' ');
            }
            if prefix.details {
                chunk.extend_from_slice(details(record).as_bytes());
                chunk.push(b' ');
            }
            chunk.extend_from_slice(&record.line);
        }
    }
    out
}

/// `key=value` by key, with commas between, each as a form would encode it: Docker's `--details`.
fn details(record: &LogRecord) -> String {
    let sorted: std::collections::BTreeMap<_, _> = record.attributes.iter().collect();
    let pairs: Vec<String> =
        sorted.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
    pairs.join(",")
}

/// application/x-www-form-urlencoded, as Go's url.QueryEscape.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            b' ' => out.push('+'),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_their_order_and_their_stream() {
        let record = |stream: LogStream, line: &[u8]| LogRecord {
            unix_nanos: 1_500_000_000,
            stream: stream.into(),
            line: line.to_vec().into(),
            attributes: Default::default(),
        };
        let records = [
            record(LogStream::Stdout, b"a\n"),
            record(LogStream::Stdout, b"\xff\n"),
            record(LogStream::Stderr, b"e\n"),
            record(LogStream::Stdout, b"no end"),
        ];
        assert_eq!(
            chunks(&records, Prefix::default()),
            [
                (Target::Stdout, b"a\n\xff\n".to_vec()),
                (Target::Stderr, b"e\n".to_vec()),
                (Target::Stdout, b"no end".to_vec()),
            ]
        );
        assert_eq!(
            chunks(&records[..1], Prefix { timestamps: true, details: false }),
            [(Target::Stdout, b"1970-01-01T00:00:01.500000000Z a\n".to_vec())]
        );
        let mut tagged = records[..1].to_vec();
        tagged[0].attributes = [("tag", "a b/é"), ("one", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        assert_eq!(
            chunks(&tagged, Prefix { timestamps: false, details: true }),
            [(Target::Stdout, b"one=1,tag=a+b%2F%C3%A9 a\n".to_vec())]
        );
        assert_eq!(lines("all"), Ok(Lines(None)));
        assert_eq!(lines("3"), Ok(Lines(Some(3))));
        assert_eq!(lines("-1"), Ok(Lines(None)));
        assert!(lines("x").is_err());
    }
}
