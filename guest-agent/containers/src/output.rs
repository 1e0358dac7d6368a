//! The standard streams of one container: one writer of the log, any number of attached clients.
//!
//! The log comes first, and waits for nobody. What a client has not read yet waits in its own
//! [`queue`]. When that is full, a client that only watches (`attach`) is given up. The one that
//! runs the container in the foreground is its pipe: it holds the container up for as long as it
//! reads at all, so that no byte of a normal `run` is lost; when it has read nothing for
//! [`PATIENCE`], it is given up too, and the container goes on without it.

mod queue;

use std::{
    io,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use self::queue::{End, Put, Queue};
use crate::{
    Error,
    container::blocking,
    io::{Channel, Output, Terminal},
    log::{self, LogFiles, Position},
};

/// How long the client in the foreground may leave its queue full without reading anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How far the log has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogEnd {
    pub(crate) at: Position,
    /// Whether more may come without another start.
    pub(crate) open: bool,
}

/// The streams of one container over all its runs.
#[derive(Debug)]
pub(crate) struct Hub {
    /// None: nothing is kept.
    log: Option<Arc<LogFiles>>,
    folder: PathBuf,
    shared: Mutex<Shared>,
    log_end: watch::Sender<LogEnd>,
    /// Standard input of the current run.
    stdin: Mutex<Option<mpsc::Sender<Bytes>>>,
    terminal: Mutex<Option<Terminal>>,
}

/// Held for a moment only, never while a file is written: asynchronous tasks wait for it.
#[derive(Debug, Default)]
struct Shared {
    /// A run's output is not complete.
    open: bool,
    /// Locked before this, by blocking threads only.
    log: Option<Arc<Mutex<log::Writer>>>,
    /// What the log was given but does not hold, because its line has not ended: standard output's
    /// and standard error's.
    partial: [Bytes; 2],
    clients: Vec<Arc<Client>>,
}

#[derive(Debug)]
struct Client {
    stdout: bool,
    stderr: bool,
    /// It runs the container in the foreground.
    holds: bool,
    queue: Arc<Queue>,
}

/// What an attached client reads. Dropping it is leaving.
#[derive(Debug)]
pub(crate) struct Attached(Arc<Queue>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Attached {
    /// Nothing more is wanted: reads to the end of what is queued.
    pub(crate) fn finish(&mut self) {
        self.0.end(End::Complete);
    }

    /// The next chunk; None when the run is over and everything has been read.
    ///
    /// # Errors
    /// [`Error::SlowReader`] when this client was given up.
    pub(crate) async fn next(&mut self) -> Result<Option<(Channel, Bytes)>, Error> {
        match self.0.take().await {
            Ok(chunk) => Ok(Some(chunk)),
            Err(End::Complete) => Ok(None),
            Err(End::TooSlow) => Err(Error::SlowReader(queue::SPILL >> 20)),
        }
    }
}

/// What the log holds at the moment of attaching, so that replay and live output meet exactly.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    /// Where the log's replay ends.
    pub(crate) end: Position,
    /// Output whose line has not ended and that is therefore not in the file.
    pub(crate) partial: Vec<(Channel, Bytes)>,
}

impl Hub {
    /// `folder`: the container's own.
    pub(crate) fn new(log: Option<Arc<LogFiles>>, folder: PathBuf) -> Self {
        let at = log.as_ref().map(|log| log.end()).unwrap_or_default();
        Self {
            log,
            folder,
            shared: Mutex::default(),
            log_end: watch::Sender::new(LogEnd { at, open: false }),
            stdin: Mutex::default(),
            terminal: Mutex::default(),
        }
    }

    /// A run begins: opens the log. `attributes` are put beside each record.
    pub(crate) fn open(&self, attributes: log::Attributes) -> io::Result<()> {
        self.shared.lock().open = true;
        let Some(files) = &self.log else { return Ok(()) };
        let writer = log::Writer::open(Arc::clone(files), attributes)?;
        self.log_end.send_replace(LogEnd { at: writer.end(), open: true });
        let mut shared = self.shared.lock();
        shared.log = Some(Arc::new(Mutex::new(writer)));
        shared.partial = Default::default();
        Ok(())
    }

    /// The log's files; None: nothing is kept.
    pub(crate) fn log(&self) -> Option<&Arc<LogFiles>> {
        self.log.as_ref()
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
        for client in shared.clients.drain(..) {
            client.queue.end(End::Complete);
        }
        shared.open = false;
        shared.log = None;
        self.log_end.send_modify(|end| end.open = false);
    }

    /// Whether output may come without another start.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.lock().open
    }

    /// Connects a client; `holds`: it runs the container in the foreground.
    pub(crate) fn attach(&self, stdout: bool, stderr: bool, holds: bool) -> (Attached, Backlog) {
        let queue = Queue::new(&self.folder);
        let client = Client { stdout, stderr, holds, queue: Arc::clone(&queue) };
        let mut shared = self.shared.lock();
        // Those that have left are noticed by the next output, which may never come.
        shared.clients.retain(|client| !client.queue.is_left());
        shared.clients.push(Arc::new(client));
        let partial = |channel| (channel, shared.partial[channel as usize].clone());
        let backlog = Backlog {
            end: self.log_end.borrow().at,
            partial: [Channel::Stdout, Channel::Stderr].map(partial).into(),
        };
        (Attached(queue), backlog)
    }

    /// How many clients output goes to.
    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.shared.lock().clients.len()
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

    /// Writes the log and returns who else is to get `bytes`. How far the log goes and who gets
    /// them are settled at once, so that a client that attaches now finds them either in the log or
    /// in its queue. Blocks.
    fn record(&self, channel: Channel, bytes: &[u8]) -> (io::Result<()>, Vec<Arc<Client>>) {
        let wants = |client: &&Arc<Client>| match channel {
            Channel::Stdout => client.stdout,
            Channel::Stderr => client.stderr,
        };
        let (written, shared) = self.write(channel, |log| log.write(channel, bytes));
        (written, shared.clients.iter().filter(wants).cloned().collect())
    }

    fn finish(&self, channel: Channel) -> io::Result<()> {
        self.write(channel, |log| log.finish(channel)).0
    }

    /// Writes to the log, if there is one, and then says how far it goes.
    fn write(
        &self,
        channel: Channel,
        write: impl FnOnce(&mut log::Writer) -> io::Result<()>,
    ) -> (io::Result<()>, MutexGuard<'_, Shared>) {
        let shared = self.shared.lock();
        let Some(log) = shared.log.clone() else { return (Ok(()), shared) };
        drop(shared);
        // Held until its end is told: the other output's comes after it.
        let mut log = log.lock();
        let written = write(&mut log);
        let mut shared = self.shared.lock();
        shared.partial[channel as usize] = Bytes::copy_from_slice(log.partial(channel));
        self.log_end.send_modify(|end| end.at = log.end());
        (written, shared)
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
            if !client.send(channel, &bytes, ended.clone()).await {
                self.drop_client(&client);
            }
        }
        true
    }
}

impl Client {
    /// False: this client is gone, or is given up.
    async fn send(
        self: &Arc<Self>,
        channel: Channel,
        bytes: &Bytes,
        mut ended: watch::Receiver<bool>,
    ) -> bool {
        loop {
            let mut emptied = pin!(self.queue.emptied());
            emptied.as_mut().enable();
            let last = *ended.borrow();
            let (client, copy) = (Arc::clone(self), bytes.clone());
            match blocking(move || client.queue.put(channel, &copy, last)).await {
                Put::Queued => return true,
                Put::Gone => return false,
                Put::Full => {}
            }
            let reads = self.holds
                && tokio::select! {
                    read = timeout(PATIENCE, emptied) => read.is_ok(),
                    _ = ended.wait_for(|over| *over) => true,
                };
            if !reads {
                self.queue.end(End::TooSlow);
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read as _, os::fd::AsFd as _, thread, time::Instant};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::log::LogConfig;

    fn ready(pipe: &File, to: PollFlags) -> bool {
        poll(&mut [PollFd::new(pipe.as_fd(), to)], PollTimeout::from(10_u8)).unwrap() > 0
    }

    #[test]
    fn a_disk_that_stands_still_holds_up_nobody_but_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Both ends are open, and nobody reads yet.
        let mut disk = File::options().read(true).write(true).open(&path).unwrap();
        let files = LogFiles::new(path, LogConfig::default().settings().unwrap().unwrap());
        let hub = Hub::new(Some(Arc::new(files)), folder.path().into());
        hub.open(Default::default()).unwrap();
        let line = [vec![b'x'; 8 << 10], b"\n".to_vec()].concat();
        let (told, heard) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let log = scope.spawn(|| {
                let lines = std::iter::repeat_n(&line, 20);
                lines.map(|line| hub.record(Channel::Stdout, line).1.len()).collect::<Vec<_>>()
            });
            // It has more to say than a pipe holds.
            let deadline = Instant::now() + Duration::from_secs(20);
            while ready(&disk, PollFlags::POLLOUT) {
                assert!(Instant::now() < deadline, "the log is not written");
                thread::yield_now();
            }
            scope.spawn(|| {
                let (attached, _) = hub.attach(true, true, false);
                told.send((hub.is_open(), attached)).unwrap();
            });
            let attached = heard.recv_timeout(Duration::from_secs(20));
            let mut rest = vec![0; 64 << 10];
            while !log.is_finished() {
                if ready(&disk, PollFlags::POLLIN) {
                    let _ = disk.read(&mut rest).unwrap();
                }
            }
            let (open, _attached) = attached.expect("a client attaches meanwhile");
            assert!(open);
            assert_eq!(log.join().unwrap().last(), Some(&1), "it gets what comes then");
        });
    }
}
