//! The standard streams of one container: one writer of the log, any number of attached clients.
//!
//! The log comes first. A client that does not read holds its container up, as a pipe would: no
//! byte of a normal `run` is lost. One that has not read for [`PATIENCE`] with a full queue is
//! given up, and the container goes on without it.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use crate::{
    Error,
    io::{Channel, Output, Terminal},
    log,
};

/// How long a client may leave its queue full.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is queued for one client at most, in bytes (in the semaphore's units of [`UNIT`]).
const QUEUE: usize = 1 << 20;
const UNIT: usize = 1 << 10;

/// How far the log has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogEnd {
    /// Bytes in the file.
    pub(crate) length: u64,
    /// Whether more may come without another start.
    pub(crate) open: bool,
}

/// The streams of one container over all its runs.
#[derive(Debug)]
pub(crate) struct Hub {
    shared: Mutex<Shared>,
    log_end: watch::Sender<LogEnd>,
    /// Standard input of the current run.
    stdin: Mutex<Option<mpsc::Sender<Bytes>>>,
    terminal: Mutex<Option<Terminal>>,
}

#[derive(Debug, Default)]
struct Shared {
    log: Option<log::Writer>,
    clients: Vec<Arc<Client>>,
}

#[derive(Debug)]
struct Client {
    stdout: bool,
    stderr: bool,
    queue: mpsc::UnboundedSender<(Channel, Bytes)>,
    /// Room in the queue. Apart from the queue, so that what is left in a pipe when its process
    /// has ended (at most the pipe's size) can be queued without waiting.
    room: Arc<Semaphore>,
    too_slow: Arc<AtomicBool>,
}

/// What an attached client reads.
#[derive(Debug)]
pub(crate) struct Attached {
    queue: mpsc::UnboundedReceiver<(Channel, Bytes)>,
    room: Arc<Semaphore>,
    too_slow: Arc<AtomicBool>,
}

impl Attached {
    /// Nothing more is wanted: reads to the end of what is queued.
    pub(crate) fn finish(&mut self) {
        self.queue.close();
    }

    /// The next chunk; None when the run is over and everything has been read.
    ///
    /// # Errors
    /// [`Error::SlowReader`] when this client was given up.
    pub(crate) async fn next(&mut self) -> Result<Option<(Channel, Bytes)>, Error> {
        match self.queue.recv().await {
            Some((channel, bytes)) => {
                self.room.add_permits(units(bytes.len()));
                Ok(Some((channel, bytes)))
            }
            None if self.too_slow.load(Ordering::Acquire) => {
                Err(Error::SlowReader(PATIENCE.as_secs()))
            }
            None => Ok(None),
        }
    }
}

/// What the log holds at the moment of attaching, so that replay and live output meet exactly.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    /// Bytes of the log file to replay.
    pub(crate) length: u64,
    /// Output whose line has not ended and that is therefore not in the file.
    pub(crate) partial: Vec<(Channel, Bytes)>,
}

impl Hub {
    pub(crate) fn new(log: &Path) -> Self {
        // No file yet: nothing was logged.
        let length = log.metadata().map_or(0, |metadata| metadata.len());
        Self {
            shared: Mutex::default(),
            log_end: watch::Sender::new(LogEnd { length, open: false }),
            stdin: Mutex::default(),
            terminal: Mutex::default(),
        }
    }

    /// A run begins: opens the log.
    pub(crate) fn open(&self, log: &Path) -> io::Result<()> {
        let writer = log::Writer::open(log)?;
        self.log_end.send_replace(LogEnd { length: writer.length(), open: true });
        self.shared.lock().log = Some(writer);
        Ok(())
    }

    /// The process runs: connects its input and terminal.
    pub(crate) fn connect(&self, stdin: Option<mpsc::Sender<Bytes>>, terminal: Option<Terminal>) {
        *self.stdin.lock() = stdin;
        *self.terminal.lock() = terminal;
    }

    /// The run is over and its output complete: every client reads to its end.
    pub(crate) fn close(&self) {
        self.connect(None, None);
        let mut shared = self.shared.lock();
        shared.clients.clear();
        shared.log = None;
        self.log_end.send_modify(|end| end.open = false);
    }

    pub(crate) fn attach(&self, stdout: bool, stderr: bool) -> (Attached, Backlog) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(QUEUE / UNIT));
        let too_slow = Arc::new(AtomicBool::new(false));
        let client = Client {
            stdout,
            stderr,
            queue,
            room: Arc::clone(&room),
            too_slow: Arc::clone(&too_slow),
        };
        let mut shared = self.shared.lock();
        shared.clients.push(Arc::new(client));
        let partial = |channel| {
            let bytes = shared.log.as_ref().map_or(&[][..], |log| log.partial(channel));
            (channel, Bytes::copy_from_slice(bytes))
        };
        let backlog = Backlog {
            length: self.log_end.borrow().length,
            partial: [Channel::Stdout, Channel::Stderr].map(partial).into(),
        };
        (Attached { queue: receiver, room, too_slow }, backlog)
    }

    pub(crate) fn log_end(&self) -> watch::Receiver<LogEnd> {
        self.log_end.subscribe()
    }

    pub(crate) fn stdin(&self) -> Option<mpsc::Sender<Bytes>> {
        self.stdin.lock().clone()
    }

    pub(crate) fn close_stdin(&self) {
        self.stdin.lock().take();
    }

    pub(crate) fn terminal(&self) -> Option<Terminal> {
        self.terminal.lock().clone()
    }

    /// Writes the log and returns who else is to get `bytes`: one lock over both, so that a client
    /// that attaches now finds them either in the log or in its queue.
    fn record(&self, channel: Channel, bytes: &[u8]) -> (io::Result<()>, Vec<Arc<Client>>) {
        let mut shared = self.shared.lock();
        let mut written = Ok(());
        if let Some(log) = &mut shared.log {
            written = log.write(channel, bytes);
            let length = log.length();
            self.log_end.send_modify(|end| end.length = length);
        }
        let wants = |client: &&Arc<Client>| match channel {
            Channel::Stdout => client.stdout,
            Channel::Stderr => client.stderr,
        };
        (written, shared.clients.iter().filter(wants).cloned().collect())
    }

    fn finish(&self, channel: Channel) -> io::Result<()> {
        let mut shared = self.shared.lock();
        let Some(log) = &mut shared.log else { return Ok(()) };
        let result = log.finish(channel);
        let length = log.length();
        self.log_end.send_modify(|end| end.length = length);
        result
    }

    fn drop_client(&self, client: &Arc<Client>) {
        self.shared.lock().clients.retain(|other| !Arc::ptr_eq(other, client));
    }

    /// Moves one output of a run to the log and the clients, until it is complete.
    pub(crate) async fn pump(
        self: Arc<Self>,
        channel: Channel,
        output: Output,
        ended: watch::Receiver<bool>,
    ) {
        let log_failed = Arc::new(AtomicBool::new(false));
        let result = output
            .pump(ended.clone(), |bytes| {
                self.clone().deliver(channel, bytes, ended.clone(), Arc::clone(&log_failed))
            })
            .await;
        if let Err(error) = result {
            tracing::warn!(%error, ?channel, "a container's output could not be read further");
        }
        let finished = tokio::task::spawn_blocking(move || self.finish(channel)).await;
        if let Ok(Err(error)) = finished {
            tracing::warn!(%error, ?channel, "the last line of a container's log was not written");
        }
    }

    async fn deliver(
        self: Arc<Self>,
        channel: Channel,
        bytes: Bytes,
        ended: watch::Receiver<bool>,
        log_failed: Arc<AtomicBool>,
    ) -> bool {
        let (hub, copy) = (Arc::clone(&self), bytes.clone());
        let recorded = tokio::task::spawn_blocking(move || hub.record(channel, &copy)).await;
        // An error only when the runtime shuts down.
        let Ok((written, clients)) = recorded else { return false };
        // A full disk must not stop the container; said once for a run.
        if let Err(error) = written
            && !log_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "a container's log cannot be written");
        }
        for client in clients {
            if !client.send(channel, bytes.clone(), ended.clone()).await {
                self.drop_client(&client);
            }
        }
        true
    }
}

impl Client {
    /// False: this client is gone, or is given up.
    async fn send(&self, channel: Channel, bytes: Bytes, mut ended: watch::Receiver<bool>) -> bool {
        let units = u32::try_from(units(bytes.len())).unwrap_or(u32::MAX);
        let room = timeout(PATIENCE, async {
            tokio::select! {
                biased;
                permit = self.room.acquire_many(units) => {
                    // Given back by the reader, see `Attached::next`.
                    if let Ok(permit) = permit { permit.forget(); }
                }
                _ = ended.wait_for(|over| *over) => {}
                () = self.queue.closed() => {}
            }
        });
        if room.await.is_err() {
            self.too_slow.store(true, Ordering::Release);
            return false;
        }
        self.queue.send((channel, bytes)).is_ok()
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}
