//! Connecting to a container: its own streams, its log.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    Containers, Error, Shared, Status,
    container::{Command, Container, Hears, blocking},
    io::Channel,
    log::{Batch, LogFiles, Position, Reader, Select},
    output::{Attached, Backlog, LogEnd},
    session::Event,
    signal::Signal,
    state::{Action, Kind},
};

/// How many log records travel together.
const BATCH: usize = 256;

/// What to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Standard input; without effect on a container that was created without one, as in Docker.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Start it once the streams are connected, so that no output is missed.
    pub start: bool,
    /// Replay what the log holds first.
    pub logs: bool,
    /// The terminal's rows and columns.
    pub size: Option<(u16, u16)>,
    /// Of one that has ended: its next run. One that was only created is waited for anyway.
    pub next_run: bool,
}

/// A client's side of a container's own streams.
pub struct Attachment {
    container: Arc<Container>,
    shared: Arc<Shared>,
    output: Attached,
    replay: Option<Replay>,
    progress: Progress,
    exits_before: u64,
    input: AttachedInput,
}

/// The input half of an [`Attachment`]. Dropping it is leaving.
pub struct AttachedInput {
    container: Arc<Container>,
    shared: Arc<Shared>,
    stdin: bool,
    /// Held by every clone: when the last is dropped, this client has left.
    leave: Arc<LeaveGuard>,
}

struct LeaveGuard {
    container: Arc<Container>,
    shared: Arc<Shared>,
    stdin: bool,
    exits_before: u64,
    next_run: bool,
}

impl LeaveGuard {
    /// Waits for the run that the client has attached to.
    async fn begun(&self) -> Status {
        let waits = |kind| kind == Kind::Created || self.next_run && kind == Kind::Exited;
        let begun = |s: &Status| s.exits > self.exits_before || !waits(s.state.kind());
        self.container.wait_until(begun).await
    }
}

impl Drop for LeaveGuard {
    fn drop(&mut self) {
        let container = &self.container;
        let left_early = {
            let status = container.status.borrow();
            status.exits == self.exits_before && status.state.process().is_some()
        };
        if left_early {
            self.shared.tell(container, "detach", []);
        }
        // `stdin_once`: the first client that leaves takes the input with it. A terminal stays.
        let config = &container.record().config;
        if self.stdin && config.stdin_once && !config.tty {
            container.hub.close_stdin();
        }
    }
}

struct Replay {
    reader: Option<Reader>,
    backlog: Backlog,
    pending: Vec<(Channel, Bytes)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    NotStarted,
    Streaming,
    Over,
}

/// Does nothing where there is no terminal.
fn resize(container: &Container, shared: &Shared, rows: u16, columns: u16) -> std::io::Result<()> {
    let Some(terminal) = container.hub.terminal() else { return Ok(()) };
    shared.launcher.resize(terminal.fd(), rows, columns)?;
    let size = [("height", rows.to_string()), ("width", columns.to_string())];
    shared.tell(container, "resize", size);
    Ok(())
}

/// Starts it and connects to that run. How many had ended before, and what is heard.
async fn start(
    container: &Container,
    options: AttachOptions,
) -> Result<(u64, (Attached, Backlog)), Error> {
    let AttachOptions { stdout, stderr, size, .. } = options;
    let hears = Some(Hears { stdout, stderr });
    let begun = container.ask(|reply| Command::Start { size, hears, reply }).await?;
    Ok((begun.exits, begun.heard.ok_or_else(|| Error::Gone(container.name()))?))
}

impl Containers {
    /// Connects to a container's own streams.
    ///
    /// # Errors
    /// When it does not run and is not to be started, or cannot be started.
    pub async fn attach(&self, who: &str, options: AttachOptions) -> Result<Attachment, Error> {
        let container = self.find(who)?;
        let ended = container.status.borrow().state.kind() == Kind::Exited;
        // Reading an ended container's log through attach is Docker's `attach --logs`.
        let only_log = ended && options.logs;
        let waits = ended && options.next_run;
        if !options.start && !only_log && !waits {
            container.permit(Action::Attach)?;
        }
        let (exits_before, (output, backlog)) = if options.start {
            start(&container, options).await?
        } else {
            self.join(&container, options)
        };
        let replay = if options.logs
            && let Some(files) = container.hub.log()
        {
            let select = Select { stdout: options.stdout, stderr: options.stderr, ..Select::ALL };
            let reader = open_log(files, select, backlog.end).await?;
            let mut pending = backlog.partial.clone();
            pending.retain(|(channel, bytes)| {
                let wanted = match channel {
                    Channel::Stdout => options.stdout,
                    Channel::Stderr => options.stderr,
                };
                wanted && !bytes.is_empty()
            });
            pending.reverse();
            Some(Replay { reader: Some(reader), backlog, pending })
        } else {
            None
        };
        let leave = Arc::new(LeaveGuard {
            container: Arc::clone(&container),
            shared: Arc::clone(&self.shared),
            stdin: options.stdin,
            exits_before,
            next_run: options.next_run,
        });
        let input = AttachedInput {
            container: Arc::clone(&container),
            shared: Arc::clone(&self.shared),
            stdin: options.stdin,
            leave,
        };
        let attachment = Attachment {
            container,
            shared: Arc::clone(&self.shared),
            output,
            replay,
            progress: Progress::NotStarted,
            exits_before,
            input,
        };
        if !options.start
            && let Some((rows, columns)) = options.size
        {
            // Before it runs there is no terminal; its first size comes with the start.
            if let Err(error) = attachment.input.resize(rows, columns) {
                tracing::debug!(%error, "the terminal was not resized on attaching");
            }
        }
        Ok(attachment)
    }

    /// Connects to the run that is there, or to the next.
    fn join(&self, container: &Container, options: AttachOptions) -> (u64, (Attached, Backlog)) {
        let exits = || container.status.borrow().exits;
        loop {
            let before = exits();
            let heard = container.hub.attach(options.stdout, options.stderr, false);
            // Otherwise it may be of a run that has begun meanwhile.
            if exits() == before {
                self.shared.tell(container, "attach", []);
                return (before, heard);
            }
        }
    }

    /// Changes the size of a container's terminal. Does nothing where there is none.
    ///
    /// # Errors
    /// When it does not run, or as ioctl(2).
    pub fn resize(&self, who: &str, rows: u16, columns: u16) -> Result<(), Error> {
        let container = self.find(who)?;
        let failed = |source| Error::Process { action: "resize", name: container.name(), source };
        if container.target.lock().is_none() {
            let why = "it is not running".into();
            return Err(Error::WrongState { action: "resize", name: container.name(), why });
        }
        resize(&container, &self.shared, rows, columns).map_err(failed)
    }

    /// Reads a container's log, and with `follow` waits for more until the container ends.
    ///
    /// # Errors
    /// [`Error::NoLog`] where none is kept; when it cannot be read.
    pub async fn logs(&self, who: &str, select: Select, follow: bool) -> Result<LogStream, Error> {
        let container = self.find(who)?;
        let files = Arc::clone(container.hub.log().ok_or(Error::NoLog)?);
        let log_end = container.hub.log_end();
        let end = log_end.borrow().at;
        let reader = open_log(&files, select, end).await?;
        Ok(LogStream { files, reader: Some(reader), log_end, follow })
    }
}

async fn open_log(files: &Arc<LogFiles>, select: Select, end: Position) -> Result<Reader, Error> {
    let opened = Arc::clone(files);
    let reader = blocking(move || Reader::open(opened, select, end)).await;
    reader.map_err(Error::file("read", files.path()))
}

async fn read_log(
    files: &LogFiles,
    mut reader: Reader,
    end: Position,
    count: usize,
) -> Result<(Reader, Batch), Error> {
    let (reader, batch) = blocking(move || {
        let batch = reader.next(end, count);
        (reader, batch)
    })
    .await;
    Ok((reader, batch.map_err(Error::file("read", files.path()))?))
}

impl Attachment {
    /// The input half; give it to the task that reads from the client.
    pub fn input(&self) -> AttachedInput {
        AttachedInput {
            container: Arc::clone(&self.container),
            shared: Arc::clone(&self.shared),
            stdin: self.input.stdin,
            leave: Arc::clone(&self.input.leave),
        }
    }

    /// What comes next; None after the last.
    ///
    /// # Errors
    /// [`Error::SlowReader`] when this client was given up; [`Error::Gone`] when the container
    /// was removed before it ever ran.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        match self.progress {
            Progress::NotStarted => Ok(Some(self.started().await)),
            Progress::Streaming => {
                if let Some(event) = self.replayed().await? {
                    return Ok(Some(event));
                }
                if let Some((channel, bytes)) = self.output.next().await? {
                    return Ok(Some(Event::Output(channel, bytes)));
                }
                self.progress = Progress::Over;
                self.exited().await.map(Some)
            }
            Progress::Over => Ok(None),
        }
    }

    async fn started(&mut self) -> Event {
        let status = self.input.leave.begun().await;
        self.progress = Progress::Streaming;
        if !self.container.hub.is_open() {
            // It does not run, or its output was complete before this client came: nothing but the
            // replay comes.
            self.output.finish();
        }
        Event::Started { pid: status.state.process().map_or(0, |(pid, _)| pid) }
    }

    async fn replayed(&mut self) -> Result<Option<Event>, Error> {
        let Some(replay) = &mut self.replay else { return Ok(None) };
        if let Some(reader) = replay.reader.take()
            && let Some(files) = self.container.hub.log()
        {
            let (reader, batch) = read_log(files, reader, replay.backlog.end, 1).await?;
            if let Some(record) = batch.records.into_iter().next() {
                replay.reader = Some(reader);
                return Ok(Some(Event::Output(record.channel, record.line)));
            }
        }
        if let Some((channel, bytes)) = replay.pending.pop() {
            return Ok(Some(Event::Output(channel, bytes)));
        }
        self.replay = None;
        Ok(None)
    }

    async fn exited(&self) -> Result<Event, Error> {
        let before = self.exits_before;
        // One that is removed at its end has ended once nothing of it is left: what comes after a
        // `run --rm` finds its volumes and networks free.
        let goes = self.container.record().config.auto_remove;
        let over = |s: &Status| {
            let kind = s.state.kind();
            let ended = s.exits > before || !kind.is_live();
            ended && (!goes || matches!(kind, Kind::Removed | Kind::Dead | Kind::Created))
        };
        match self.container.wait_until(over).await.last_exit {
            Some(exit) => Ok(Event::Exited {
                code: exit.code,
                oom_killed: exit.oom_killed,
                error: exit.error,
            }),
            None => Err(Error::Gone(self.container.name())),
        }
    }
}

impl AttachedInput {
    /// Writes to standard input; waits for the start of a container that has not started. False:
    /// nobody reads it.
    pub async fn write(&self, bytes: Bytes) -> bool {
        if !self.stdin {
            return false;
        }
        self.leave.begun().await;
        match self.container.hub.stdin() {
            Some(stdin) => stdin.send(bytes).await.is_ok(),
            None => false,
        }
    }

    /// End of file, where the container was created so that a client may give one.
    pub async fn close_stdin(&self) {
        let config = &self.container.record().config;
        if self.stdin && config.stdin_once && !config.tty {
            self.leave.begun().await;
            self.container.hub.close_stdin();
        }
    }

    /// Changes the terminal's size. Does nothing where there is none.
    ///
    /// # Errors
    /// As ioctl(TIOCSWINSZ).
    pub fn resize(&self, rows: u16, columns: u16) -> std::io::Result<()> {
        resize(&self.container, &self.shared, rows, columns)
    }

    /// Sends the first process a signal. Does nothing when it does not run.
    ///
    /// # Errors
    /// As kill(2).
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        let target = self.container.target.lock().clone();
        target.map_or(Ok(()), |target| self.shared.launcher.signal(&target, signal))
    }

    /// The container's status.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.container.status.clone()
    }
}

/// Records of a log, in batches.
pub struct LogStream {
    files: Arc<LogFiles>,
    reader: Option<Reader>,
    log_end: watch::Receiver<LogEnd>,
    follow: bool,
}

impl LogStream {
    /// The next records; None when there are no more. Waits without polling while following.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Batch>, Error> {
        loop {
            let Some(reader) = self.reader.take() else { return Ok(None) };
            let end = *self.log_end.borrow_and_update();
            let (reader, batch) = read_log(&self.files, reader, end.at, BATCH).await?;
            let over = reader.is_over() || reader.position() >= end.at && !end.open;
            if batch != Batch::default() {
                self.reader = Some(reader);
                return Ok(Some(batch));
            }
            if !self.follow || over || !self.more().await {
                return Ok(None);
            }
            self.reader = Some(reader);
        }
    }

    /// Waits until the log grows; false when it no longer can.
    async fn more(&mut self) -> bool {
        if !self.log_end.borrow().open && !self.log_end.has_changed().unwrap_or(false) {
            return false;
        }
        self.log_end.changed().await.is_ok()
    }
}
