//! A layer's bytes on their way from the network to the thread that unpacks them.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use linkspan_images::{Digest, Receipt};
use linkspan_registry::BlobSink;
use tokio::{sync::mpsc, task::JoinHandle};

/// Parts between the two: with those of hyper, of up to some hundred KiB each, a few MiB.
const AHEAD: usize = 8;

enum Part {
    Bytes(Bytes),
    /// All came, and they are the right ones.
    End,
}

/// Unpacks one layer while it comes. The thread starts with the first byte.
pub(super) struct LayerSink {
    receipt: Arc<Receipt>,
    diff_id: Digest,
    running: Option<Running>,
}

struct Running {
    parts: mpsc::Sender<Part>,
    thread: JoinHandle<Result<(), linkspan_images::Error>>,
}

impl LayerSink {
    pub(super) fn new(receipt: Arc<Receipt>, diff_id: Digest) -> Self {
        Self { receipt, diff_id, running: None }
    }

    fn start(&self) -> Running {
        let (parts, receiver) = mpsc::channel(AHEAD);
        let (receipt, diff_id) = (Arc::clone(&self.receipt), self.diff_id);
        let source = Parts { receiver, part: Bytes::new(), ended: false };
        let thread = tokio::task::spawn_blocking(move || receipt.unpack(&diff_id, source));
        Running { parts, thread }
    }

    async fn send(&mut self, part: Part) -> io::Result<()> {
        let running = match self.running.take() {
            Some(running) => running,
            None => self.start(),
        };
        if running.parts.send(part).await.is_ok() {
            self.running = Some(running);
            return Ok(());
        }
        // The thread has ended before its input: it says why.
        Err(match running.thread.await {
            Ok(Err(error)) => io::Error::other(error),
            Ok(Ok(())) => io::Error::other("the layer's thread ended early"),
            Err(error) => io::Error::other(error),
        })
    }
}

impl BlobSink for LayerSink {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.send(Part::Bytes(bytes)).await
    }

    async fn restart(&mut self) -> io::Result<()> {
        if let Some(Running { parts, thread }) = self.running.take() {
            drop(parts);
            // It fails, as it should: its input broke off.
            let _ = thread.await;
        }
        Ok(())
    }

    async fn commit(mut self) -> io::Result<()> {
        self.send(Part::End).await?;
        let Some(running) = self.running.take() else { return Ok(()) };
        match running.thread.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// The parts as the thread reads them.
struct Parts {
    receiver: mpsc::Receiver<Part>,
    part: Bytes,
    ended: bool,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.part = bytes,
                Some(Part::End) => self.ended = true,
                None => return Err(io::Error::other("the transfer broke off")),
            }
        }
        let n = self.part.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.part[..n]);
        self.part.advance(n);
        Ok(n)
    }
}
