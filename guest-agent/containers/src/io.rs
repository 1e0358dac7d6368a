//! Pipes and terminals of processes, asynchronously. Owns the descriptors; knows no container.

use std::{
    fs::File,
    future::Future,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    sync::{mpsc, watch},
    time::timeout,
};

use crate::launch::Stdio;

/// How much room a read is given. Large, because each chunk becomes one message: at 16 KiB the
/// cost of a message, not of a byte, limits the throughput.
const CHUNK: usize = 128 << 10;

/// A read with less room than this takes a new buffer.
const LEAST_ROOM: usize = 16 << 10;

/// How long output may be silent, once its process has ended, before it counts as complete. Only
/// matters when a process left in the background still holds the pipe. Docker's figure.
const SILENCE_AFTER_EXIT: Duration = Duration::from_secs(2);

/// Which of a process's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Standard output; with a terminal, everything.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The master of a terminal, to resize it. Reading and writing have descriptors of their own.
#[derive(Debug, Clone)]
pub struct Terminal(Arc<OwnedFd>);

impl Terminal {
    /// The descriptor, for ioctls.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }
}

/// Where a process's output comes from: a pipe, or the master of a terminal, which tokio's
/// "pipe" drives just as well (it is a descriptor that epoll knows).
#[derive(Debug)]
pub struct Output(pipe::Receiver);

impl Output {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if buffer.capacity() - buffer.len() < LEAST_ROOM {
            buffer.reserve(CHUNK);
        }
        match self.0.read_buf(buffer).await {
            // A terminal's end of file: the last process has closed the other end.
            Err(error) if error.raw_os_error() == Some(nix::Error::EIO as i32) => Ok(0),
            other => other,
        }
    }

    /// Hands every chunk to `sink` until the end of the file, or, once `ended` is true, until
    /// nothing has come for [`SILENCE_AFTER_EXIT`]. `sink` answers false when it wants no more.
    ///
    /// # Errors
    /// When reading fails.
    pub async fn pump<F: Future<Output = bool>>(
        mut self,
        mut ended: watch::Receiver<bool>,
        mut sink: impl FnMut(Bytes) -> F,
    ) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            let over = *ended.borrow();
            let count = if over {
                match timeout(SILENCE_AFTER_EXIT, self.read(&mut buffer)).await {
                    Ok(count) => count?,
                    Err(_silent) => return Ok(()),
                }
            } else {
                tokio::select! {
                    count = self.read(&mut buffer) => count?,
                    // A sender that is gone cannot say more: the process is over too.
                    changed = ended.wait_for(|over| *over) => { drop(changed); continue; }
                }
            };
            if count == 0 || !sink(buffer.split().freeze()).await {
                return Ok(());
            }
        }
    }
}

/// Where a process's input goes.
#[derive(Debug)]
pub struct Input(pipe::Sender);

impl Input {
    /// Writes what arrives until the senders are gone (then a pipe is closed: end of file) or the
    /// process no longer reads.
    pub async fn feed(mut self, mut chunks: mpsc::Receiver<Bytes>) {
        while let Some(chunk) = chunks.recv().await {
            if let Err(error) = self.0.write_all(&chunk).await {
                // EPIPE is how a process says that it has read enough.
                tracing::debug!(%error, "standard input was closed by the process");
                return;
            }
        }
    }
}

/// A process's streams, ready to be pumped.
#[derive(Debug)]
pub struct Streams {
    /// None: /dev/null.
    pub input: Option<Input>,
    /// What is there to read.
    pub outputs: Vec<(Channel, Output)>,
    /// With a terminal, to resize it.
    pub terminal: Option<Terminal>,
}

impl Streams {
    /// Registers descriptors with the runtime.
    ///
    /// # Errors
    /// When a descriptor is neither a pipe nor a terminal.
    pub fn new(stdio: Stdio) -> io::Result<Self> {
        match stdio {
            Stdio::Terminal { master } => {
                // Of the open file description, so of all three.
                let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL)?);
                fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
                let output = pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
                let input = pipe::Sender::from_owned_fd_unchecked(master.try_clone()?)?;
                Ok(Self {
                    input: Some(Input(input)),
                    outputs: vec![(Channel::Stdout, Output(output))],
                    terminal: Some(Terminal(Arc::new(master))),
                })
            }
            Stdio::Pipes { stdin, stdout, stderr } => {
                let mut outputs = Vec::with_capacity(2);
                for (channel, fd) in [(Channel::Stdout, stdout), (Channel::Stderr, stderr)] {
                    let Some(fd) = fd else { continue };
                    // A wider pipe means fewer turns between writer and reader. Refused when the
                    // user's pipe memory is used up; the default does too.
                    let _ = fcntl(&fd, FcntlArg::F_SETPIPE_SZ(256 << 10));
                    outputs.push((channel, Output(pipe::Receiver::from_owned_fd(fd)?)));
                }
                let input = stdin.map(pipe::Sender::from_owned_fd).transpose()?.map(Input);
                Ok(Self { input, outputs, terminal: None })
            }
        }
    }
}

/// Writes all of `bytes` to a file that is open for appending.
pub(crate) fn append(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_full(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
