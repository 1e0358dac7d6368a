//! Writes to standard output and error on a thread of its own, so that a slow reader of ours
//! does not keep us from passing on input and signals.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;

/// How many chunks may wait before the container is held back.
const QUEUE: usize = 16;

/// Where a chunk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
}

/// The thread's near end.
#[derive(Debug)]
pub(crate) struct Output {
    chunks: mpsc::Sender<(Target, Bytes)>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    /// Writes to the process's own standard output and error.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn standard() -> Result<Self, Error> {
        let (out, err) = unbuffered().map_err(|error| Error::output(&error))?;
        Self::to(out, err)
    }

    fn to(
        mut out: impl Write + Send + 'static,
        mut err: impl Write + Send + 'static,
    ) -> Result<Self, Error> {
        let (chunks, mut receiver) = mpsc::channel::<(Target, Bytes)>(QUEUE);
        let (report, done) = oneshot::channel();
        std::thread::Builder::new()
            .name("stdout".into())
            .spawn(move || {
                let mut result = Ok(());
                while let Some((target, chunk)) = receiver.blocking_recv() {
                    let target: &mut dyn Write = match target {
                        Target::Stdout => &mut out,
                        Target::Stderr => &mut err,
                    };
                    result = target.write_all(&chunk).and_then(|()| target.flush());
                    if result.is_err() {
                        break;
                    }
                }
                let _ = report.send(result);
            })
            .map_err(|error| Error::output(&error))?;
        Ok(Self { chunks, done })
    }

    /// Queues a chunk. `false`: writing has failed, and [`Output::finish`] says how.
    pub(crate) async fn write(&self, target: Target, chunk: Bytes) -> bool {
        chunk.is_empty() || self.chunks.send((target, chunk)).await.is_ok()
    }

    /// Resolves when writing has failed.
    pub(crate) async fn failed(&self) {
        self.chunks.closed().await;
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// When some of it could not be.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        drop(self.chunks);
        match self.done.await {
            Ok(result) => result.map_err(|error| Error::output(&error)),
            Err(_) => Err(Error::output(&io::Error::other("the writer ended early"))),
        }
    }
}

/// Rust's own `Stdout` flushes at every line end; these files write a chunk in one system call.
#[cfg(unix)]
fn unbuffered() -> io::Result<(std::fs::File, std::fs::File)> {
    use std::os::fd::AsFd as _;
    Ok((
        io::stdout().as_fd().try_clone_to_owned()?.into(),
        io::stderr().as_fd().try_clone_to_owned()?.into(),
    ))
}

/// The console's encoding is the standard library's business.
#[cfg(not(unix))]
fn unbuffered() -> io::Result<(io::Stdout, io::Stderr)> {
    Ok((io::stdout(), io::stderr()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn everything_is_written_before_it_is_finished() {
        let (out, err) = (Shared::default(), Shared::default());
        let output = Output::to(out.clone(), err.clone()).expect("a thread");
        for n in 0..100_u8 {
            assert!(output.write(Target::Stdout, vec![n; 1000].into()).await);
            assert!(output.write(Target::Stderr, vec![n].into()).await);
        }
        output.finish().await.expect("written");
        assert_eq!(out.0.lock().expect("not poisoned").len(), 100_000);
        assert_eq!(*err.0.lock().expect("not poisoned"), (0..100).collect::<Vec<u8>>());
    }

    #[tokio::test]
    async fn a_closed_output_is_noticed() {
        let output = Output::to(Closed, io::sink()).expect("a thread");
        assert!(output.write(Target::Stdout, b"x"[..].into()).await);
        output.failed().await;
        assert!(!output.write(Target::Stdout, b"y"[..].into()).await);
        assert_eq!(output.finish().await, Err(Error::OutputClosed));
    }
}
