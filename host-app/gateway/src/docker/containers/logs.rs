//! `GET /containers/{name}/logs`.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use linkspan_docker_types::{stdio::Stream, time};
use linkspan_proto::v1::{ContainerLogsRequest, LogRecord, LogStream};

use super::{detail, no_such};
use crate::docker::{
    answer::{self, Absent as _, Outcome, Refusal, broken},
    call::Call,
    stdio::{framed, media_type},
};

/// What stands before a line.
#[derive(Clone, Copy)]
struct Before {
    timestamps: bool,
    details: bool,
}

pub(crate) async fn logs(call: Call) -> Outcome {
    let (stdout, stderr) = (call.flag("stdout"), call.flag("stderr"));
    if !stdout && !stderr {
        return Err(Refusal::bad("Bad parameters: you must choose at least one stream"));
    }
    let name = call.name("name");
    let agent = call.agent().await?;
    let tty = detail(&agent, &name, false).await?.config.unwrap_or_default().tty;
    let before = Before { timestamps: call.flag("timestamps"), details: call.flag("details") };
    let request = ContainerLogsRequest {
        container: name.clone(),
        follow: call.flag("follow"),
        stdout,
        stderr,
        // The epoch itself is no bound.
        since_unix_nanos: call.moment("since")?.unwrap_or(0),
        until_unix_nanos: call.moment("until")?.unwrap_or(0),
        // Anything but a number is all of it, as in Docker.
        tail: call.text("tail").parse().ok(),
        details: before.details,
    };
    let batches = agent.containers().logs(request).await.absent(|| no_such(&name))?;
    let chunks = batches.map(move |batch| {
        let batch = batch.map_err(|status| broken(&status))?;
        let mut out = BytesMut::new();
        if batch.lost_files > 0 {
            let told = format!(
                "linkspan: files of the log that were rotated away before they were read: {}\n",
                batch.lost_files
            );
            framed(tty, Stream::Stderr, told.into()).into_iter().for_each(|part| out.put(part));
        }
        for record in batch.records {
            let stream = match record.stream() {
                LogStream::Stderr => Stream::Stderr,
                _ => Stream::Stdout,
            };
            for part in framed(tty, stream, text(record, before)) {
                out.put(part);
            }
        }
        Ok(out.freeze())
    });
    Ok(answer::stream(media_type(tty, call.version), chunks).into())
}

fn text(record: LogRecord, before: Before) -> Bytes {
    if !before.timestamps && !before.details {
        return record.line;
    }
    let mut out = BytesMut::with_capacity(record.line.len() + 64);
    if before.timestamps {
        out.put(time::rfc3339_nanos(record.unix_nanos).as_bytes());
        out.put_u8(b' ');
    }
    if before.details {
        out.put(attributes(&record).as_bytes());
        out.put_u8(b' ');
    }
    out.put(record.line);
    out.freeze()
}

/// `KEY=VALUE,...`, as a query has them (moby's `daemon/server/httputils/write_log_stream.go`).
fn attributes(record: &LogRecord) -> String {
    let escape = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut pairs: Vec<_> = record.attributes.iter().collect();
    pairs.sort();
    let pairs = pairs.into_iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    pairs.collect::<Vec<_>>().join(",")
}
