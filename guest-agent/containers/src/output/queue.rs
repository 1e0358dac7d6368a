//! What waits for one attached client: in memory at first, then in a file of the data disk that has
//! no name and goes with the client. Bounded in both, so that neither a slow client nor one that
//! has stopped costs the agent memory.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{container::blocking, io::Channel};

/// What waits in memory at most, in bytes (one chunk may pass it).
const MEMORY: usize = 1 << 20;

/// What waits in the file at most, in bytes; smaller for the tests, which fill it.
pub(super) const SPILL: u64 = if cfg!(test) { 2 << 20 } else { 64 << 20 };

/// A record in the file: the channel, the length, then the bytes.
const HEADER: usize = 5;

/// Between the container's pumps and one client.
#[derive(Debug)]
pub(super) struct Queue {
    folder: PathBuf,
    waiting: Mutex<Waiting>,
    /// Something was put in, or the end. There is one reader.
    filled: Notify,
    /// Something was taken out, or the reader has left.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    memory: VecDeque<(Channel, Bytes)>,
    bytes: usize,
    /// Younger than what is in memory.
    spill: Option<Spill>,
    end: Option<End>,
    left: bool,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// That was all.
    Complete,
    /// The client was given up.
    TooSlow,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    Queued,
    Full,
    /// Nobody reads any more.
    Gone,
}

impl Queue {
    /// `folder`: where the file is made when one is needed.
    pub(super) fn new(folder: &Path) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.into(),
            waiting: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
        })
    }

    /// Puts a chunk in; never waits for the client. `last`: full or not (what is left in a pipe
    /// when its process has ended is at most the pipe's size). May write a file.
    pub(super) fn put(&self, channel: Channel, bytes: &Bytes, last: bool) -> Put {
        let mut waiting = self.waiting.lock();
        if waiting.left || waiting.end.is_some() {
            return Put::Gone;
        }
        let spilled = waiting.spill.as_ref().is_some_and(|spill| !spill.is_empty());
        if !spilled && (last || waiting.bytes < MEMORY) {
            waiting.bytes += bytes.len();
            waiting.memory.push_back((channel, bytes.clone()));
        } else if let Err(error) = self.spill(&mut waiting, channel, bytes, last) {
            // The disk is full: the same as a full file.
            tracing::debug!(%error, "output for a client cannot be kept on the disk");
            return Put::Full;
        }
        drop(waiting);
        self.filled.notify_one();
        Put::Queued
    }

    fn spill(
        &self,
        waiting: &mut Waiting,
        channel: Channel,
        bytes: &Bytes,
        last: bool,
    ) -> io::Result<()> {
        let spill = match &mut waiting.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new(&self.folder)?),
        };
        if !last && spill.written >= SPILL {
            return Err(io::ErrorKind::StorageFull.into());
        }
        spill.push(channel, bytes)
    }

    /// Resolves when something is taken out, or the reader leaves. To be made before [`Queue::put`]
    /// is tried, and enabled, so that nothing between the two is missed.
    pub(super) fn emptied(&self) -> tokio::sync::futures::Notified<'_> {
        self.emptied.notified()
    }

    /// Nothing more comes.
    pub(super) fn end(&self, end: End) {
        self.waiting.lock().end.get_or_insert(end);
        self.filled.notify_one();
    }

    /// Whether nobody reads any more.
    pub(super) fn is_left(&self) -> bool {
        self.waiting.lock().left
    }

    /// Nobody reads any more.
    pub(super) fn leave(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting { left: true, ..Waiting::default() };
        drop(waiting);
        self.emptied.notify_waiters();
    }

    /// The next chunk, or why there is none.
    pub(super) async fn take(self: &Arc<Self>) -> Result<(Channel, Bytes), End> {
        loop {
            let is_spilled = {
                let mut waiting = self.waiting.lock();
                if let Some((channel, bytes)) = waiting.memory.pop_front() {
                    waiting.bytes -= bytes.len();
                    drop(waiting);
                    self.emptied.notify_waiters();
                    return Ok((channel, bytes));
                }
                waiting.spill.as_ref().is_some_and(|spill| !spill.is_empty())
            };
            if is_spilled {
                let queue = Arc::clone(self);
                let read = blocking(move || queue.unspill()).await;
                self.emptied.notify_waiters();
                match read {
                    Ok(Some(chunk)) => return Ok(chunk),
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::warn!(%error, "output kept for a client cannot be read");
                        return Err(End::TooSlow);
                    }
                }
            }
            if let Some(end) = self.waiting.lock().end {
                return Err(end);
            }
            self.filled.notified().await;
        }
    }

    fn unspill(&self) -> io::Result<Option<(Channel, Bytes)>> {
        let mut waiting = self.waiting.lock();
        waiting.spill.as_mut().map_or(Ok(None), Spill::pop)
    }
}

/// A file without a name.
#[derive(Debug)]
struct Spill {
    file: File,
    read: u64,
    written: u64,
}

impl Spill {
    fn new(folder: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("attach.{number}.tmp"));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file, read: 0, written: 0 })
    }

    fn is_empty(&self) -> bool {
        self.read == self.written
    }

    fn push(&mut self, channel: Channel, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut header = [channel as u8; HEADER];
        header[1..].copy_from_slice(&length.to_le_bytes());
        self.file.write_all_at(&header, self.written)?;
        self.file.write_all_at(bytes, self.written + HEADER as u64)?;
        // Only now: what was cut off by a full disk is written over.
        self.written += (HEADER + bytes.len()) as u64;
        Ok(())
    }

    fn pop(&mut self) -> io::Result<Option<(Channel, Bytes)>> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, self.read)?;
        let [channel, length @ ..] = header;
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.file.read_exact_at(&mut bytes, self.read + HEADER as u64)?;
        self.read += (HEADER + bytes.len()) as u64;
        if self.is_empty() {
            self.file.set_len(0)?;
            (self.read, self.written) = (0, 0);
        }
        let channel =
            if channel == Channel::Stderr as u8 { Channel::Stderr } else { Channel::Stdout };
        Ok(Some((channel, bytes.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u8) -> (Channel, Bytes) {
        let channel = if number.is_multiple_of(3) { Channel::Stderr } else { Channel::Stdout };
        (channel, vec![number; 100_000].into())
    }

    #[tokio::test]
    async fn everything_comes_out_in_order_through_memory_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::new(folder.path());
        let mut taken = 0_u8;
        for number in 0..90 {
            let (channel, bytes) = chunk(number);
            while queue.put(channel, &bytes, false) == Put::Full {
                // All of it: the file has room again when it is empty.
                while taken < number {
                    assert_eq!(queue.take().await, Ok(chunk(taken)));
                    taken += 1;
                }
            }
        }
        queue.end(End::Complete);
        for number in taken..90 {
            assert_eq!(queue.take().await, Ok(chunk(number)));
        }
        assert_eq!(queue.take().await, Err(End::Complete));
        assert!(taken > 0, "it was never full");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn a_reader_that_never_reads_costs_so_much_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::new(folder.path());
        let (channel, bytes) = chunk(1);
        let queued = (0..1000).take_while(|_| queue.put(channel, &bytes, false) == Put::Queued);
        let kept = queued.count() * bytes.len();
        assert!(kept < MEMORY + SPILL as usize + 3 * bytes.len(), "{kept} bytes");
        assert!(queue.waiting.lock().bytes < MEMORY + bytes.len());
        assert_eq!(queue.put(channel, &bytes, true), Put::Queued, "the last is always taken");
        queue.leave();
        assert_eq!(queue.put(channel, &bytes, false), Put::Gone);
    }
}
