//! The agent's log: to the serial console, and to whoever listens on `AgentService.Logs`.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use linkspan_proto::v1::AgentLogRecord;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::boot::timeline::since_kernel_us;

/// Records kept for those who come later.
const KEPT: usize = 2048;

/// The recent log, and the way to the coming one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    recent: VecDeque<AgentLogRecord>,
    live: broadcast::Sender<AgentLogRecord>,
}

impl Default for Journal {
    fn default() -> Self {
        let live = broadcast::Sender::new(256);
        Self(Arc::new(Mutex::new(Inner { recent: VecDeque::new(), live })))
    }
}

impl Journal {
    /// The last `backlog` records and everything from then on, without a gap or a repetition.
    #[must_use]
    pub fn listen(
        &self,
        backlog: usize,
    ) -> (Vec<AgentLogRecord>, broadcast::Receiver<AgentLogRecord>) {
        let inner = self.0.lock();
        let skip = inner.recent.len().saturating_sub(backlog);
        (inner.recent.iter().skip(skip).cloned().collect(), inner.live.subscribe())
    }

    fn record(&self, record: AgentLogRecord) {
        let mut inner = self.0.lock();
        if inner.recent.len() == KEPT {
            inner.recent.pop_front();
        }
        inner.recent.push_back(record.clone());
        // Nobody listens most of the time.
        let _ = inner.live.send(record);
    }
}

/// What a listener that was too slow reads instead of the `missed` records.
#[must_use]
pub fn gap(missed: u64) -> AgentLogRecord {
    AgentLogRecord {
        unix_nanos: now(),
        level: "warn".into(),
        target: module_path!().into(),
        message: format!("{missed} records were missed by a slow listener"),
    }
}

/// Nanoseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Sends every record to the journal and, when there is one, the console.
struct Output {
    journal: Journal,
    console: Option<File>,
}

/// What a span was opened with, in words.
struct SpanFields(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Output {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Message::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.finish()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        // The request that this belongs to: the daemon's log has the same id.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                message.fields.push_str(fields);
            }
        }
        let meta = event.metadata();
        let text = message.finish();
        if let Some(mut console) = self.console.as_ref() {
            let now = since_kernel_us();
            // One write a line, so that the kernel's own messages do not come in between. A
            // console that cannot be written to has nobody who could be told.
            let line = format!(
                "[{:5}.{:06}] linkspan-agent: {}: {text}\r\n",
                now / 1_000_000,
                now % 1_000_000,
                meta.level().as_str().to_lowercase()
            );
            let _ = console.write_all(line.as_bytes());
        }
        self.journal.record(AgentLogRecord {
            unix_nanos: now(),
            level: meta.level().as_str().to_lowercase(),
            target: meta.target().into(),
            message: text,
        });
    }
}

/// The message, then the fields as `name=value`.
#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Message {
    fn finish(mut self) -> String {
        self.text.push_str(&self.fields);
        self.text
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.text, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = if field.name() == "message" {
            write!(self.text, "{value}")
        } else {
            write!(self.fields, " {}={value}", field.name())
        };
    }
}

/// Starts logging. `filter` as `linkspan.log=` has it; one that cannot be understood counts as
/// `info`. The console is opened here, so /dev must be mounted for it to be heard.
#[must_use]
pub fn start(filter: &str) -> Journal {
    let journal = Journal::default();
    let console = OpenOptions::new().write(true).open("/dev/console").ok();
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let output = Output { journal: journal.clone(), console };
    // Only a second subscriber in one process would be refused, and there is one call.
    let _ = Registry::default().with(output.with_filter(filter)).try_init();
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(panic = %panic, "a task of the agent panicked; the others go on");
    }));
    journal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_gets_the_backlog_it_asked_for_and_all_that_follows() {
        let journal = Journal::default();
        let record =
            |message: &str| AgentLogRecord { message: message.into(), ..AgentLogRecord::default() };
        for message in ["a", "b", "c"] {
            journal.record(record(message));
        }
        let (recent, mut live) = journal.listen(2);
        journal.record(record("d"));
        let names: Vec<_> = recent.into_iter().map(|record| record.message).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(live.try_recv().expect("it was sent").message, "d");
        assert!(live.try_recv().is_err());
    }

    #[test]
    fn a_record_names_the_request_that_it_belongs_to() {
        let journal = Journal::default();
        let output = Output { journal: journal.clone(), console: None };
        tracing::subscriber::with_default(Registry::default().with(output), || {
            let _span = tracing::info_span!("rpc", request = "r-7").entered();
            tracing::info!(container = "web", "started");
        });
        let (recent, _) = journal.listen(1);
        assert_eq!(recent[0].message, "started container=web request=r-7");
    }
}
