//! QEMU's monitor: JSON lines over a unix socket. Only the few commands and events that this
//! driver needs; everything else that QEMU says is skipped.
//!
//! Source: QEMU's `docs/interop/qmp-spec.rst` and `qapi/run-state.json`.

use std::{io, path::Path, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// QEMU answers at once unless it hangs.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest line that is read; QEMU's are under 10 KiB here.
const LINE: u64 = 1 << 20;

/// A connection to one QEMU. QEMU serves one at a time.
#[derive(Debug)]
pub(crate) struct Qmp {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    line: Vec<u8>,
}

/// What QEMU tells on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The VM ends: QEMU's reason (`guest-shutdown`, `guest-reset`, `guest-panic`,
    /// `host-qmp-quit`, ...).
    Shutdown { reason: String },
    /// The guest's kernel told its panic.
    GuestPanicked,
    /// The data disk failed: the operation and the host's words. `halts`: the VM stands still
    /// until it is told to go on, and then tries again.
    DiskError { operation: String, reason: String, halts: bool },
}

#[derive(Debug, Deserialize)]
struct Message {
    event: Option<String>,
    #[serde(default)]
    data: Value,
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<QmpError>,
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct QmpError {
    desc: String,
}

impl Qmp {
    /// Connects and shakes hands.
    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let mut qmp = Self { reader: BufReader::new(reader), writer, line: Vec::new() };
        let handshake = async {
            let greeting = qmp.message().await?;
            if greeting.greeting.is_none() {
                return Err(foreign("no QMP greeting"));
            }
            qmp.execute("qmp_capabilities").await
        };
        within(handshake).await?;
        Ok(qmp)
    }

    /// The VM's state: `running`, `paused`, `internal-error`, ...
    pub(crate) async fn status(&mut self) -> io::Result<String> {
        let answer = within(self.execute("query-status")).await?;
        let status = answer.get("status").and_then(Value::as_str);
        status.map(str::to_owned).ok_or_else(|| foreign("query-status without status"))
    }

    /// Lets a VM that stands still go on. That it does is not waited for: the events tell.
    pub(crate) async fn go_on(&mut self) -> io::Result<()> {
        self.writer.write_all(b"{\"execute\":\"cont\"}\n").await
    }

    /// Ends QEMU. It may hang up before it has answered.
    pub(crate) async fn quit(&mut self) -> io::Result<()> {
        self.writer.write_all(b"{\"execute\":\"quit\"}\n").await
    }

    /// The next event. Can be dropped at any moment without losing one.
    ///
    /// # Errors
    /// `UnexpectedEof` when QEMU has gone.
    pub(crate) async fn event(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = known_event(self.message().await?) {
                return Ok(event);
            }
        }
    }

    async fn execute(&mut self, command: &str) -> io::Result<Value> {
        let line = format!("{}\n", json!({ "execute": command }));
        self.writer.write_all(line.as_bytes()).await?;
        loop {
            // An event before the answer is lost: commands are sent before events matter.
            let message = self.message().await?;
            if let Some(error) = message.error {
                return Err(io::Error::other(format!("QMP {command}: {}", error.desc)));
            }
            if let Some(answer) = message.answer {
                return Ok(answer);
            }
        }
    }

    async fn message(&mut self) -> io::Result<Message> {
        // `line` keeps what was read when this future is dropped between two reads.
        while self.line.last() != Some(&b'\n') {
            let room = LINE.saturating_sub(self.line.len() as u64);
            if room == 0 {
                return Err(foreign("an endless line"));
            }
            let mut limited = (&mut self.reader).take(room);
            if limited.read_until(b'\n', &mut self.line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let message = serde_json::from_slice(&self.line);
        self.line.clear();
        message.map_err(|error| foreign(&error.to_string()))
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU's monitor does not answer")),
    }
}

fn foreign(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not QEMU's monitor: {what}"))
}

fn known_event(message: Message) -> Option<Event> {
    let text = |key: &str| message.data.get(key).and_then(Value::as_str).unwrap_or("unknown");
    match message.event.as_deref()? {
        "SHUTDOWN" => Some(Event::Shutdown { reason: text("reason").to_owned() }),
        "GUEST_PANICKED" => Some(Event::GuestPanicked),
        "BLOCK_IO_ERROR" => Some(Event::DiskError {
            operation: text("operation").to_owned(),
            reason: text("reason").to_owned(),
            halts: text("action") == "stop",
        }),
        other => {
            tracing::debug!(event = other, "QEMU");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A monitor that says `lines`, one after each command.
    async fn monitor(folder: &Path, lines: &'static [&'static str]) -> io::Result<Qmp> {
        let path = folder.join("qmp.sock");
        let listener = UnixListener::bind(&path)?;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accept");
            let (reader, mut writer) = stream.into_split();
            let mut commands = BufReader::new(reader).lines();
            for (number, line) in lines.iter().enumerate() {
                if number > 0 {
                    commands.next_line().await.expect("a command");
                }
                writer.write_all(line.as_bytes()).await.expect("write");
            }
        });
        Qmp::connect(&path).await
    }

    const HELLO: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";

    #[tokio::test]
    async fn events_that_are_known_arrive_in_order_and_others_are_skipped() {
        let folder = tempfile::tempdir().expect("folder");
        let lines: &[&str] = &[
            HELLO,
            "{\"timestamp\": {}, \"event\": \"RESUME\"}\r\n{\"return\": {}}\r\n",
            "{\"return\": {\"status\": \"running\", \"running\": true}}\r\n\
             {\"event\": \"RTC_CHANGE\", \"data\": {}}\r\n\
             {\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"poweroff\"}}\r\n\
             {\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-panic\"}}\r\n",
        ];
        let mut qmp = monitor(folder.path(), lines).await.expect("handshake");
        assert_eq!(qmp.status().await.expect("answered"), "running");
        assert_eq!(qmp.event().await.expect("first"), Event::GuestPanicked);
        let shutdown = Event::Shutdown { reason: "guest-panic".into() };
        assert_eq!(qmp.event().await.expect("second"), shutdown);
        let end = qmp.event().await.expect_err("the monitor has gone");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_disk_without_room_halts_and_another_failure_is_the_guests() {
        let folder = tempfile::tempdir().expect("folder");
        let lines: &[&str] = &[
            HELLO,
            "{\"return\": {}}\r\n\
             {\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"operation\": \"write\", \
             \"action\": \"stop\", \"nospace\": true, \"reason\": \"No space left\"}}\r\n\
             {\"event\": \"STOP\", \"data\": {}}\r\n",
            "{\"return\": {}}\r\n{\"event\": \"RESUME\", \"data\": {}}\r\n\
             {\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"operation\": \"read\", \
             \"action\": \"report\", \"nospace\": false, \"reason\": \"broken\"}}\r\n",
        ];
        let mut qmp = monitor(folder.path(), lines).await.expect("handshake");
        let error = |operation: &str, reason: &str, halts| Event::DiskError {
            operation: operation.into(),
            reason: reason.into(),
            halts,
        };
        assert_eq!(qmp.event().await.expect("first"), error("write", "No space left", true));
        qmp.go_on().await.expect("it listens");
        assert_eq!(qmp.event().await.expect("second"), error("read", "broken", false));
    }

    #[tokio::test]
    async fn an_error_and_a_foreign_peer_say_what_they_are() {
        let folder = tempfile::tempdir().expect("folder");
        let refused: &[&str] =
            &[HELLO, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}}\r\n"];
        let error = monitor(folder.path(), refused).await.expect_err("refused");
        assert!(error.to_string().contains("not now"), "{error}");
        let folder = tempfile::tempdir().expect("folder");
        let error = monitor(folder.path(), &["HTTP/1.1 200 OK\r\n"]).await.expect_err("foreign");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
