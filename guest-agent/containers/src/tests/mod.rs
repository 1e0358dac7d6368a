//! The life of containers, with scripted processes. Here is what the tests share; they are in
//! modules by subject.

mod again;
mod change;
mod commit;
mod ends;
mod events;
mod exec;
mod files;
mod health;
mod mounts;
mod network;
mod pause;
mod ports;
mod records;
mod streams;
mod walks;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    AttachOptions, Attachment, Containers, Error, Setup, WaitCondition,
    config::{Config, ExecConfig},
    error::LaunchKind,
    fake::{FakeImages, FakeLauncher, FakeNetworks, FakePorts},
    filter::Filters,
    io::Channel,
    limits::Capacity,
    log::Select,
    session::{Event, Session},
    signal::Signal,
    state::Kind,
    volumes::Volumes,
};

/// Long enough for a busy machine; only reached by a failure.
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    folder: tempfile::TempDir,
    volumes: tempfile::TempDir,
    launcher: FakeLauncher,
    images: FakeImages,
    networks: FakeNetworks,
    ports: FakePorts,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            volumes: tempfile::tempdir().unwrap(),
            launcher: FakeLauncher::default(),
            images: FakeImages::with_busybox(),
            networks: FakeNetworks::default(),
            ports: FakePorts::default(),
        }
    }

    /// What a boot does; a second call is the next boot.
    fn open(&self) -> Containers {
        Containers::open(self.setup()).unwrap()
    }

    fn setup(&self) -> Setup {
        Setup {
            root: self.root().into(),
            volumes: Arc::new(Volumes::open(self.volumes.path().into()).unwrap()),
            launcher: Arc::new(self.launcher.clone()),
            images: Arc::new(self.images.clone()),
            networks: Arc::new(self.networks.clone()),
            ports: Arc::new(self.ports.clone()),
            capacity: Capacity { cpus: 2, memory_nodes: 1 },
            user_namespace: None,
            on_removed: None,
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn folders(&self) -> usize {
        std::fs::read_dir(self.root()).unwrap().count()
    }
}

fn config(command: &[&str]) -> Config {
    Config {
        image: "busybox".into(),
        command: command.iter().map(ToString::to_string).collect(),
        ..Config::default()
    }
}

fn interactive(command: &[&str]) -> Config {
    Config { open_stdin: true, stdin_once: true, ..config(command) }
}

const ALL: AttachOptions = AttachOptions {
    stdin: true,
    stdout: true,
    stderr: true,
    start: true,
    logs: false,
    size: None,
    next_run: false,
};

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Heard {
    fn take(&mut self, event: Event) {
        match event {
            Event::Started { .. } => {}
            Event::Output(Channel::Stdout, bytes) => {
                self.stdout += std::str::from_utf8(&bytes).unwrap()
            }
            Event::Output(Channel::Stderr, bytes) => {
                self.stderr += std::str::from_utf8(&bytes).unwrap()
            }
            Event::Exited { code, .. } => self.code = Some(code),
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn hear(attachment: &mut Attachment) -> Heard {
    let mut heard = Heard::default();
    while let Some(event) = within(attachment.next()).await.unwrap() {
        heard.take(event);
    }
    heard
}

async fn hear_session(session: &mut Session) -> Heard {
    let mut heard = Heard::default();
    while let Some(event) = within(session.events.recv()).await {
        heard.take(event);
    }
    heard
}

/// As `run` does it: create, attach, start.
async fn run(containers: &Containers, config: Config) -> Heard {
    let made = containers.create("", config).await.unwrap();
    let mut attachment = containers.attach(made.id.as_str(), ALL).await.unwrap();
    hear(&mut attachment).await
}

async fn started(containers: &Containers, name: &str, config: Config) {
    containers.create(name, config).await.unwrap();
    containers.start(name).await.unwrap();
}

/// Waits until the log contains `text`: what the process does first is done then.
async fn logged(containers: &Containers, name: &str, text: &str) {
    let mut log = containers.logs(name, Select::ALL, true).await.unwrap();
    while let Some(batch) = within(log.next()).await.unwrap() {
        if batch.records.iter().any(|record| record.line.starts_with(text.as_bytes())) {
            return;
        }
    }
    panic!("`{text}` was never logged");
}

async fn log_text(containers: &Containers, name: &str, select: Select) -> String {
    let mut log = containers.logs(name, select, false).await.unwrap();
    let mut text = String::new();
    while let Some(batch) = within(log.next()).await.unwrap() {
        for record in batch.records {
            text += std::str::from_utf8(&record.line).unwrap();
        }
    }
    text
}

fn kind(containers: &Containers, name: &str) -> Kind {
    containers.inspect(name).unwrap().status.state.kind()
}

/// Polls once; None: it is not ready.
async fn poll_once<T>(future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    let mut future = Some(future);
    std::future::poll_fn(|context| {
        let once = future.take().map(|future| future.poll(context));
        std::task::Poll::Ready(match once {
            Some(std::task::Poll::Ready(value)) => Some(value),
            _ => None,
        })
    })
    .await
}
