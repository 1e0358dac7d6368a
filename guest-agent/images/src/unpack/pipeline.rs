//! The bytes of a layer on their way from decoder to disk.
//!
//! Decoding and hashing each run on a thread of their own when there is a second processor: each of the
//! two costs about as much as writing.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::compression::LimitReached;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};

/// Large enough that handing it over costs little, small enough to stay in the processor's cache.
const BLOCK: usize = 256 << 10;
/// Blocks between two threads.
const AHEAD: usize = 2;
const REPORT_EVERY: u64 = 1 << 20;

/// The uncompressed bytes; hashed, counted and limited as they pass.
pub(crate) struct Stream<'a> {
    source: Source<'a>,
    block: Vec<u8>,
    used: usize,
    total: u64,
    limit: u64,
    reported: u64,
    progress: &'a mut dyn FnMut(u64),
}

enum Source<'a> {
    Inline(Box<dyn Read + 'a>, Hasher),
    Threads {
        blocks: Receiver<Block>,
        empties: Sender<Vec<u8>>,
        digest: ScopedJoinHandle<'a, Digest>,
    },
}

/// Some of the bytes; none: the end.
type Block = io::Result<Vec<u8>>;

impl<'a> Stream<'a> {
    /// Starts to read. Dropping the result stops the threads with their next block.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        input: impl Read + Send + 'scope,
        limit: u64,
        progress: &'a mut dyn FnMut(u64),
    ) -> Result<Self>
    where
        'scope: 'a,
    {
        let alone = thread::available_parallelism().is_ok_and(|n| n.get() == 1);
        let source = if alone {
            Source::Inline(Box::new(input), Hasher::default())
        } else {
            let (filled, decoded) = sync_channel(AHEAD);
            let (hashed, blocks) = sync_channel(AHEAD);
            let (empties, returned) = channel();
            let begin = |name: &str| thread::Builder::new().name(name.to_owned());
            begin("decode")
                .spawn_scoped(scope, move || decode(input, &filled, &returned))
                .map_err(Error::Read)?;
            let digest = begin("hash")
                .spawn_scoped(scope, move || hash(&decoded, &hashed))
                .map_err(Error::Read)?;
            Source::Threads { blocks, empties, digest }
        };
        Ok(Self { source, block: Vec::new(), used: 0, total: 0, limit, reported: 0, progress })
    }

    /// Bytes that have passed.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The digest of what has passed: all of it, once the end was seen.
    pub(crate) fn finish(self) -> Digest {
        match self.source {
            Source::Inline(_, hasher) => hasher.finish(),
            Source::Threads { blocks, digest, .. } => {
                drop(blocks);
                digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.used = 0;
        match &mut self.source {
            Source::Inline(input, hasher) => {
                read_block(input, &mut self.block)?;
                hasher.update(&self.block);
            }
            Source::Threads { blocks, empties, .. } => {
                // Fails when the thread has ended, and then the block is not needed.
                let _ = empties.send(std::mem::take(&mut self.block));
                self.block = match blocks.recv() {
                    Ok(block) => block?,
                    Err(_) => Vec::new(),
                };
            }
        }
        self.total += self.block.len() as u64;
        if self.total > self.limit {
            return Err(io::Error::other(LimitReached(self.limit)));
        }
        if self.total - self.reported >= REPORT_EVERY {
            self.reported = self.total;
            (self.progress)(self.total);
        }
        Ok(())
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.block.len() {
            self.next_block()?;
        }
        Ok(&self.block[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buffer.len());
        buffer[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

/// Fills blocks until the input ends or nobody wants them any more.
fn decode(mut input: impl Read, filled: &SyncSender<Block>, returned: &Receiver<Vec<u8>>) {
    loop {
        let mut block = returned.try_recv().unwrap_or_default();
        let result = read_block(&mut input, &mut block);
        let last = result.is_err() || block.is_empty();
        if filled.send(result.map(|()| block)).is_err() || last {
            return;
        }
    }
}

/// Hands blocks on until there are no more or nobody wants them; gives the digest of these.
fn hash(decoded: &Receiver<Block>, hashed: &SyncSender<Block>) -> Digest {
    let mut hasher = Hasher::default();
    for block in decoded {
        if let Ok(bytes) = &block {
            hasher.update(bytes);
        }
        if hashed.send(block).is_err() {
            break;
        }
    }
    hasher.finish()
}

/// As much as there is, up to a whole block. Empty: the end.
fn read_block(input: &mut impl Read, block: &mut Vec<u8>) -> io::Result<()> {
    block.resize(BLOCK, 0);
    let mut filled = 0;
    while filled < BLOCK {
        match input.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    block.truncate(filled);
    Ok(())
}
