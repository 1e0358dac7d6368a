//! One process with its streams connected to one client: `exec`, and the machine's root shell.
//!
//! Nothing is logged: output goes from the pipe to the client, and a client that does not read
//! stops the process, as a pipe would. When the client leaves, its end of the streams is closed:
//! the process sees end of file, a broken pipe, or a hang-up of its terminal.

use std::{io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    io::{Channel, Streams, Terminal},
    launch::{ExitCode, Launched, Launcher, Target},
    signal::Signal,
};

/// Chunks between the pipe and the client. Each is up to 128 KiB.
const QUEUE: usize = 8;

/// What a process's client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It runs. Always first.
    Started {
        /// In the VM's PID namespace; 0 when it had already ended.
        pid: u32,
    },
    /// Output.
    Output(Channel, Bytes),
    /// It has ended and its output is complete. Always last.
    Exited {
        /// As a shell reports it.
        code: i32,
        /// The kernel's OOM killer ended a process of the container meanwhile.
        oom_killed: bool,
        /// Why it ended otherwise than by itself; empty: by itself.
        error: String,
    },
}

/// The client's side of a running process.
pub struct Session {
    /// Its output and end.
    pub events: mpsc::Receiver<Event>,
    /// Its input.
    pub control: Control,
}

/// Input, size and signals of a running process.
#[derive(Clone)]
pub struct Control {
    stdin: Option<mpsc::Sender<Bytes>>,
    terminal: Option<Terminal>,
    target: Target,
    launcher: Arc<dyn Launcher>,
}

/// Where OOM kills of a session are counted.
pub(crate) struct OomBase {
    pub(crate) cgroup: PathBuf,
    pub(crate) before: u64,
}

impl Session {
    /// Connects a process that was just started outside every container.
    ///
    /// # Errors
    /// When its descriptors cannot be used.
    pub fn new(launched: Launched, launcher: Arc<dyn Launcher>) -> io::Result<Self> {
        Self::watched(launched, launcher, None, |_| {})
    }

    /// `ended_with` is told the exit code before the client is.
    pub(crate) fn watched(
        launched: Launched,
        launcher: Arc<dyn Launcher>,
        oom: Option<OomBase>,
        ended_with: impl FnOnce(i32) + Send + 'static,
    ) -> io::Result<Self> {
        let streams = Streams::new(launched.stdio).inspect_err(|_| {
            // Nobody could ever hear it, nor end it. ESRCH: it has ended.
            let _ = launcher.signal(&launched.target, Signal::KILL);
        })?;
        let (sender, events) = mpsc::channel(QUEUE);
        let stdin = streams.input.map(|input| {
            let (sender, chunks) = mpsc::channel(QUEUE);
            tokio::spawn(input.feed(chunks));
            sender
        });
        let control = Control {
            stdin,
            terminal: streams.terminal,
            target: launched.target.clone(),
            launcher: Arc::clone(&launcher),
        };
        // The first message has a place: the queue is empty.
        let _ = sender.try_send(Event::Started { pid: launched.target.pid });
        let (end, ended) = watch::channel(false);
        let mut pumps = tokio::task::JoinSet::new();
        for (channel, output) in streams.outputs {
            let (sender, ended) = (sender.clone(), ended.clone());
            pumps.spawn(async move {
                let forward = |bytes| {
                    let sender = sender.clone();
                    async move { sender.send(Event::Output(channel, bytes)).await.is_ok() }
                };
                tokio::select! {
                    result = output.pump(ended, forward) => if let Err(error) = result {
                        tracing::warn!(%error, ?channel, "a process's output was not read further");
                    },
                    // The client has left: close our end, which hangs a terminal up.
                    () = sender.closed() => {}
                }
            });
        }
        tokio::spawn(async move {
            let code = wait(launched.exit).await;
            end.send_replace(true);
            while pumps.join_next().await.is_some() {}
            let oom_killed = match oom {
                // 128 + SIGKILL is what the OOM killer leaves behind.
                Some(base) if code == 137 => {
                    let count = move || launcher.oom_kills(&base.cgroup).unwrap_or(0) > base.before;
                    tokio::task::spawn_blocking(count).await.unwrap_or(false)
                }
                _ => false,
            };
            ended_with(code);
            // Nobody is there to be told when the client has left.
            let _ = sender.send(Event::Exited { code, oom_killed, error: String::new() }).await;
        });
        Ok(Self { events, control })
    }
}

impl Session {
    /// Nobody listens: the process goes on by itself (a terminal is kept from hanging up), and the
    /// only event is that it was started.
    pub(crate) fn detached(mut self) -> Self {
        let (sender, events) = mpsc::channel(1);
        let control = self.control.clone();
        tokio::spawn(async move {
            while let Some(event) = self.events.recv().await {
                if let Event::Started { .. } = event {
                    // There is room for one; the caller may have gone.
                    let _ = sender.try_send(event);
                    break;
                }
            }
            drop(sender);
            while self.events.recv().await.is_some() {}
        });
        Self { events, control }
    }
}

/// The exit code; the reaper never forgets a process, so that a lost sender is the agent's end.
pub(crate) async fn wait(exit: oneshot::Receiver<ExitCode>) -> i32 {
    exit.await.map_or(255, |ExitCode(code)| code)
}

impl Control {
    /// The process's number in the VM's PID namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.target.pid
    }

    /// Writes to standard input. False: the process no longer reads, or has no standard input.
    pub async fn write(&self, bytes: Bytes) -> bool {
        match &self.stdin {
            Some(stdin) => stdin.send(bytes).await.is_ok(),
            None => false,
        }
    }

    /// End of file on standard input, once what was written is read. A terminal stays open: its
    /// end of file is a character.
    pub fn close_stdin(&mut self) {
        if self.terminal.is_none() {
            self.stdin = None;
        }
    }

    /// Changes the terminal's size.
    ///
    /// # Errors
    /// As ioctl(TIOCSWINSZ); `Unsupported` without a terminal.
    pub fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => self.launcher.resize(terminal.fd(), rows, columns),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "it has no terminal")),
        }
    }

    /// Sends the process a signal.
    ///
    /// # Errors
    /// As kill(2).
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.launcher.signal(&self.target, signal)
    }
}
