//! The bytes of an upload, counted on their way out.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use linkspan_images::Digest;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::{BoxError, Error};
use crate::progress::{Reporter, Status};
use crate::transport::Body;

/// Where the bytes of one blob come from.
pub trait BlobSource: Sync {
    /// What reads them.
    type Reader: AsyncRead + Send + Unpin + 'static;

    /// Opens the blob at this byte. Called again for each try.
    fn open(&self, offset: u64) -> impl Future<Output = io::Result<Self::Reader>> + Send;
}

/// Bytes in memory, such as a configuration.
impl BlobSource for bytes::Bytes {
    type Reader = io::Cursor<Self>;

    async fn open(&self, offset: u64) -> io::Result<Self::Reader> {
        let mut reader = io::Cursor::new(self.clone());
        reader.set_position(offset);
        Ok(reader)
    }
}

/// A file that is the blob.
impl BlobSource for std::path::PathBuf {
    type Reader = tokio::fs::File;

    async fn open(&self, offset: u64) -> io::Result<Self::Reader> {
        use tokio::io::AsyncSeekExt as _;
        let mut file = tokio::fs::File::open(self).await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok(file)
    }
}

/// How a body is doing while hyper has it.
pub(crate) struct Sent {
    length: u64,
    bytes: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl Sent {
    pub(crate) fn new(length: u64) -> Arc<Self> {
        Arc::new(Self { length, bytes: AtomicU64::new(0), failure: Mutex::new(None) })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_all(&self) -> bool {
        self.bytes() == self.length
    }

    /// What went wrong with the source, if anything.
    pub(crate) fn failure(&self, digest: Digest) -> Option<Error> {
        self.failure.lock().take().map(|source| Error::Source { digest, source })
    }
}

struct Reading<R> {
    reader: tokio::io::Take<R>,
    sent: Arc<Sent>,
    reporter: Reporter,
    start: u64,
}

/// A body of exactly these bytes of a blob; `reader` stands at the first.
pub(crate) fn body<R: AsyncRead + Send + Unpin + 'static>(
    reader: R,
    range: Range<u64>,
    sent: Arc<Sent>,
    reporter: Reporter,
) -> Body {
    const PART: usize = 64 * 1024;
    let reading = Reading { reader: reader.take(sent.length), sent, reporter, start: range.start };
    let stream = futures::stream::try_unfold(reading, |mut reading| async move {
        if reading.sent.is_all() {
            return Ok::<_, BoxError>(None);
        }
        let mut part = BytesMut::with_capacity(PART);
        let failure = match reading.reader.read_buf(&mut part).await {
            Ok(0) => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it is shorter than its descriptor says",
            ),
            Ok(length) => {
                let before = reading.sent.bytes.fetch_add(length as u64, Ordering::Relaxed);
                let current = reading.start + before + length as u64;
                reading.reporter.bytes(Status::Pushing, current);
                return Ok(Some((Frame::data(part.freeze()), reading)));
            }
            Err(error) => error,
        };
        let words = failure.to_string();
        *reading.sent.failure.lock() = Some(failure);
        Err(words.into())
    });
    StreamBody::new(stream).boxed_unsync()
}
