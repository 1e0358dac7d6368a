//! What happened, told to whoever listens, in Docker's names: `create`, `start`, `die`, ...
//!
//! One broadcast with a bounded buffer: publishing never waits, and a listener that is too slow
//! is told how many events it has missed. A bounded history answers `--since`. Nothing is stored:
//! the history begins with the boot, as Docker's begins with its daemon.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::Error;

/// How many events are remembered, and how many a listener may be behind. Docker's are 256 and
/// 1024; each is a few hundred bytes.
const HISTORY: usize = 1024;
const BUFFER: usize = 1024;
/// How much is remembered at most: labels may be long.
const HISTORY_BYTES: usize = 4 << 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// To what kind of thing: `container`, `image`, `network`, `volume`.
    pub kind: &'static str,
    /// What: `start`, `die`, `exec_create: ls -l`, `health_status: healthy`, ...
    pub action: String,
    /// Whose id.
    pub id: String,
    /// Docker's attributes: `name`, `image`, `exitCode`, the labels, ...
    pub attributes: BTreeMap<String, String>,
}

/// Where events are published and heard. Clones share everything.
#[derive(Debug, Clone)]
pub struct Events {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    history: VecDeque<Arc<Event>>,
    /// Of what is in the history.
    bytes: usize,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        let live = broadcast::Sender::new(BUFFER);
        let inner = Inner { history: VecDeque::new(), bytes: 0, live };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl Event {
    /// What it takes, about.
    fn bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.len());
        self.action.len() + self.id.len() + attributes.sum::<usize>()
    }
}

impl Inner {
    fn remember(&mut self, event: &Arc<Event>) {
        self.bytes += event.bytes();
        self.history.push_back(Arc::clone(event));
        while self.history.len() > HISTORY || self.bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }
}

impl Events {
    /// Tells everybody. Never waits.
    pub fn publish(
        &self,
        kind: &'static str,
        action: impl Into<String>,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let mut inner = self.inner.lock();
        // Under the lock, so that the history is in the order of time.
        let time = Timestamp::now();
        let (action, id) = (action.into(), id.into());
        let event = Arc::new(Event { time, kind, action, id, attributes });
        inner.remember(&event);
        // An error means that nobody listens.
        let _ = inner.live.send(event);
    }

    /// Listens. With `since`, what is remembered from then on comes first; with `until`, the
    /// stream ends then.
    #[must_use]
    pub fn listen(
        &self,
        filters: EventFilters,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Listener {
        let inner = self.inner.lock();
        let wanted = |event: &&Arc<Event>| {
            since.is_some_and(|since| event.time >= since)
                && until.is_none_or(|until| event.time <= until)
        };
        let backlog = inner.history.iter().filter(wanted).cloned().collect();
        Listener { backlog, live: inner.live.subscribe(), filters, until }
    }
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event that its filters let through.
    Event(Arc<Event>),
    /// It was too slow: this many events are lost to it.
    Missed(u64),
}

/// One who listens.
#[derive(Debug)]
pub struct Listener {
    backlog: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    filters: EventFilters,
    until: Option<Timestamp>,
}

impl Listener {
    /// What comes next; None after `until`.
    pub async fn next(&mut self) -> Option<Heard> {
        while let Some(event) = self.backlog.pop_front() {
            if self.filters.matches(&event) {
                return Some(Heard::Event(event));
            }
        }
        loop {
            let received = match self.until {
                None => self.live.recv().await,
                Some(until) => {
                    let left = Timestamp::now().duration_until(until);
                    let left = Duration::try_from(left).unwrap_or_default();
                    // What waits to be heard comes even when the time is over.
                    tokio::time::timeout(left, self.live.recv()).await.ok()?
                }
            };
            match received {
                Ok(event) if self.until.is_some_and(|until| event.time > until) => return None,
                Ok(event) if self.filters.matches(&event) => return Some(Heard::Event(event)),
                Ok(_) => {}
                Err(RecvError::Lagged(count)) => return Some(Heard::Missed(count)),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// `events --filter`: values of one key are alternatives (labels must all match), different keys
/// must all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilters(Vec<(Key, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Container,
    Event,
    Image,
    Label,
    Network,
    Scope,
    Type,
    Volume,
}

const KEYS: [(&str, Key); 8] = [
    ("container", Key::Container),
    ("event", Key::Event),
    ("image", Key::Image),
    ("label", Key::Label),
    ("network", Key::Network),
    ("scope", Key::Scope),
    ("type", Key::Type),
    ("volume", Key::Volume),
];

impl EventFilters {
    /// Reads `KEY=VALUE`s.
    ///
    /// # Errors
    /// A key that is not known is refused by name.
    pub fn parse(filters: &[String]) -> Result<Self, Error> {
        let one = |text: &String| {
            let Some((key, value)) = text.split_once('=') else {
                return Err(Error::invalid("--filter", format!("`{text}` is not KEY=VALUE")));
            };
            let known = KEYS.iter().find(|(name, _)| *name == key);
            let Some((_, key)) = known else {
                return Err(Error::Unsupported {
                    option: format!("--filter {key}"),
                    why: "known are container, event, image, label, network, scope, type and \
                          volume"
                        .into(),
                });
            };
            Ok((*key, value.to_owned()))
        };
        filters.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    fn matches(&self, event: &Event) -> bool {
        self.0.iter().all(|(key, _)| {
            let mut same_key = self.0.iter().filter(|(other, _)| other == key);
            match key {
                Key::Label => same_key.all(|(_, value)| matches(*key, value, event)),
                _ => same_key.any(|(_, value)| matches(*key, value, event)),
            }
        })
    }
}

fn matches(key: Key, value: &str, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    // Docker's "fuzzy" match: the beginning of an id or a name.
    let named = |kind: &str| {
        event.kind == kind
            && (event.id.starts_with(value)
                || attribute("name").is_some_and(|name| name.starts_with(value)))
    };
    match key {
        Key::Container => named("container"),
        Key::Network => named("network"),
        Key::Volume => named("volume"),
        Key::Type => event.kind == value,
        // Everything here happens on one machine.
        Key::Scope => value == "local",
        // `exec_create` alone matches `exec_create: ls -l`.
        Key::Event => {
            event.action == value
                || event.action.split_once(':').is_some_and(|(name, _)| name == value)
        }
        Key::Image => {
            let image = attribute(if event.kind == "container" { "image" } else { "name" });
            let untagged = image.map(|name| match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => name,
            });
            image == Some(value)
                || untagged == Some(value)
                || (event.kind == "image" && event.id == value)
        }
        Key::Label => match value.split_once('=') {
            Some((label, value)) => attribute(label) == Some(value),
            None => attribute(value).is_some(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(events: &Events, action: &str, id: &str) {
        let attributes = [("name", "web"), ("image", "busybox:latest"), ("tier", "front")];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        events.publish("container", action, id, attributes.into());
    }

    fn filters(texts: &[&str]) -> EventFilters {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        EventFilters::parse(&texts).unwrap()
    }

    async fn actions(mut listener: Listener) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(heard) = listener.next().await {
            match heard {
                Heard::Event(event) => found.push(event.action.clone()),
                Heard::Missed(_) => found.push("missed".into()),
            }
        }
        found
    }

    #[tokio::test]
    async fn the_past_is_told_from_since_to_until() {
        let events = Events::default();
        publish(&events, "create", "a");
        let between = Timestamp::now();
        publish(&events, "start", "a");
        publish(&events, "die", "a");
        let now = Some(Timestamp::now());
        let told = actions(events.listen(filters(&[]), Some(between), now)).await;
        assert_eq!(told, ["start", "die"]);
        let told = actions(events.listen(filters(&[]), Some(Timestamp::UNIX_EPOCH), now)).await;
        assert_eq!(told, ["create", "start", "die"]);
    }

    #[tokio::test]
    async fn what_happened_before_the_end_is_told_whenever_it_is_asked_for() {
        let events = Events::default();
        let mut listener = events.listen(filters(&[]), None, Some(Timestamp::MAX));
        publish(&events, "start", "a");
        let until = Timestamp::now();
        listener.until = Some(until);
        while Timestamp::now() <= until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        publish(&events, "die", "a");
        assert_eq!(actions(listener).await, ["start"]);
    }

    #[tokio::test]
    async fn the_history_is_bounded_in_bytes() {
        let events = Events::default();
        for number in 0..100 {
            let label = ("label".to_owned(), "x".repeat(HISTORY_BYTES / 10));
            events.publish("container", number.to_string(), "a", [label].into());
        }
        let all = events.listen(filters(&[]), Some(Timestamp::MIN), Some(Timestamp::now()));
        let told = actions(all).await;
        assert!(told.len() < 11, "{}", told.len());
        assert_eq!(told.last().unwrap(), "99");
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_it_missed_and_holds_nobody_up() {
        let events = Events::default();
        let mut slow = events.listen(filters(&[]), None, None);
        for _ in 0..BUFFER + 5 {
            publish(&events, "start", "a");
        }
        assert_eq!(slow.next().await, Some(Heard::Missed(5)));
        assert!(matches!(slow.next().await, Some(Heard::Event(_))));
        assert_eq!(events.inner.lock().history.len(), HISTORY, "the history is bounded");
    }

    #[tokio::test]
    async fn each_filter_chooses_as_dockers_does() {
        let events = Events::default();
        publish(&events, "exec_create: ls", "abc");
        let now = Some(Timestamp::now());
        for (texts, expected) in [
            (&["event=exec_create"][..], true),
            (&["event=exec_create: ls"], true),
            (&["event=exec"], false),
            (&["event=die", "event=exec_create"], true),
            (&["container=web"], true),
            (&["container=ab"], true),
            (&["container=b"], false),
            (&["image=busybox"], true),
            (&["image=busybox:latest"], true),
            (&["image=busy"], false),
            (&["label=tier"], true),
            (&["label=tier=back"], false),
            (&["label=tier", "label=none"], false),
            (&["type=container"], true),
            (&["type=image"], false),
            (&["scope=local", "volume=web"], false),
        ] {
            let told = actions(events.listen(filters(texts), Some(Timestamp::MIN), now)).await;
            assert_eq!(!told.is_empty(), expected, "{texts:?}");
        }
        let error = EventFilters::parse(&["daemon=x".into()]).unwrap_err();
        assert!(error.to_string().starts_with("--filter daemon is not supported"), "{error}");
    }
}
