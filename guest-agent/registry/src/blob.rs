//! Blobs from a registry: in order, resumed after a break, verified.

use std::future::Future;
use std::io;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::client::{Call, Repository, Target};
use crate::document::Descriptor;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::flight::{Flight, Part, Pilot};
use crate::headers;
use crate::progress::{Progress, Reporter, Status, silent};

/// Where the bytes of one blob go. Until [`Self::commit`], nothing may show what was written:
/// it is not verified. A sink that is dropped without that throws it away.
pub trait BlobSink: Send {
    /// The next bytes.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;

    /// What was written is wrong: the blob comes again from its first byte.
    fn restart(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// All bytes have come, and they have the digest and the size of the descriptor.
    fn commit(self) -> impl Future<Output = io::Result<()>> + Send;
}

/// How a blob came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// Into the sink of this call, which was committed.
    Here,
    /// Another call fetched it at the same time, into its own sink, which was committed. The
    /// sink of this call was not used.
    ByAnother,
}

/// A sink in memory, for what is small.
struct Memory<'a>(&'a mut Vec<u8>);

impl BlobSink for Memory<'_> {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    async fn commit(self) -> io::Result<()> {
        Ok(())
    }
}

/// A blob on its way.
struct Transfer<'a, S> {
    blob: &'a Descriptor,
    sink: S,
    hasher: Sha256,
    /// Bytes in the sink.
    offset: u64,
    reporter: Reporter,
    pilot: Option<Pilot>,
}

impl<S: BlobSink> Transfer<'_, S> {
    fn sink_error(&self) -> impl FnOnce(io::Error) -> Error + use<S> {
        let digest = self.blob.digest;
        move |source| Error::Sink { digest, source }
    }

    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        self.offset += bytes.len() as u64;
        self.hasher.update(&bytes);
        self.sink.write(bytes).await.map_err(self.sink_error())?;
        self.reporter.bytes(Status::Downloading, self.offset);
        if let Some(pilot) = &self.pilot {
            pilot.bytes(self.offset);
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        if self.offset > 0 {
            self.sink.restart().await.map_err(self.sink_error())?;
        }
        self.offset = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    fn corrupt(&self, why: impl Into<String>) -> Error {
        Error::corrupt(format!("blob {}", self.blob.digest), why)
    }

    /// Are the bytes the right ones?
    fn verify(&self) -> Result<()> {
        let is = format!("sha256:{:x}", self.hasher.clone().finalize());
        if is == self.blob.digest.to_string() {
            return Ok(());
        }
        Err(self.corrupt(format!("its digest is {is}")))
    }
}

impl Repository {
    /// Downloads a blob into a sink. When another call of this client (or a clone) is already
    /// downloading the same blob, this one waits for that instead; if that one fails or is
    /// cancelled, this one downloads. Dropping the future cancels.
    pub async fn fetch_blob<S: BlobSink>(
        &self,
        blob: &Descriptor,
        sink: S,
        progress: &Progress,
    ) -> Result<Fetched> {
        let mut reporter = Reporter::new(progress, blob.digest, blob.size);
        reporter.status(Status::Waiting, 0);
        let pilot = loop {
            match self.inner.flights.board(blob.digest) {
                Part::Pilot(pilot) => break pilot,
                Part::Passenger(flight) => {
                    if watch_flight(flight, &mut reporter).await {
                        reporter.status(Status::DownloadComplete, blob.size);
                        return Ok(Fetched::ByAnother);
                    }
                }
            }
        };
        self.fetch(blob, sink, reporter, Some(pilot)).await?;
        Ok(Fetched::Here)
    }

    /// A blob of at most `limit` bytes, such as a configuration.
    pub async fn blob_bytes(&self, blob: &Descriptor, limit: u64) -> Result<Bytes> {
        if blob.size > limit {
            return Err(Error::Unsupported {
                what: format!("blob {}", blob.digest),
                why: format!("it has {} bytes, and {limit} are the most here", blob.size),
            });
        }
        let mut bytes = Vec::new();
        let reporter = Reporter::new(&silent(), blob.digest, blob.size);
        self.fetch(blob, Memory(&mut bytes), reporter, None).await?;
        Ok(bytes.into())
    }

    async fn fetch<S: BlobSink>(
        &self,
        blob: &Descriptor,
        sink: S,
        reporter: Reporter,
        pilot: Option<Pilot>,
    ) -> Result<()> {
        // The semaphore is never closed.
        let _turn = self.inner.downloads.acquire().await.ok();
        let mut transfer =
            Transfer { blob, sink, hasher: Sha256::new(), offset: 0, reporter, pilot };
        let sources = self.sources();
        for (i, endpoint) in sources.iter().enumerate() {
            let last = i + 1 == sources.len();
            let result = match self.fetch_from(endpoint, &mut transfer, last).await {
                Ok(()) => transfer.verify(),
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => break,
                Err(error) if last || matches!(error, Error::Sink { .. }) => return Err(error),
                Err(error) => {
                    tracing::info!(mirror = endpoint.authority, %error, "mirror is passed over");
                    // Bytes that came until a break are good as far as anyone knows.
                    if !error.may_pass() {
                        transfer.restart().await?;
                    }
                }
            }
        }
        let to_sink_error = transfer.sink_error();
        transfer.sink.commit().await.map_err(to_sink_error)?;
        transfer.reporter.status(Status::DownloadComplete, blob.size);
        if let Some(pilot) = transfer.pilot {
            pilot.landed();
        }
        Ok(())
    }

    /// Until all bytes are there, with as many connections as that takes.
    async fn fetch_from<S: BlobSink>(
        &self,
        endpoint: &Endpoint,
        transfer: &mut Transfer<'_, S>,
        last: bool,
    ) -> Result<()> {
        let mut backoff = self.backoff(last);
        loop {
            let before = transfer.offset;
            let Err(error) = self.fetch_once(endpoint, transfer).await else { return Ok(()) };
            if transfer.offset > before {
                backoff.progressed();
            }
            if !self.inner.patient(endpoint, &error) {
                return Err(error);
            }
            let wait = backoff.after(error)?;
            transfer.reporter.status(Status::Retrying(wait), transfer.offset);
            tokio::time::sleep(wait).await;
        }
    }

    /// With one connection.
    async fn fetch_once<S: BlobSink>(
        &self,
        endpoint: &Endpoint,
        transfer: &mut Transfer<'_, S>,
    ) -> Result<()> {
        let path = format!("{}/blobs/{}", self.reference.path(), transfer.blob.digest);
        let mut call = Call::new(Method::GET, Target::Path(&path), self.scopes("pull"));
        if transfer.offset > 0 {
            // All bytes came and the answer was still cut short of its end: nothing is missing.
            if transfer.offset == transfer.blob.size {
                return Ok(());
            }
            let range = HeaderValue::from_str(&format!("bytes={}-", transfer.offset));
            call = call.with(RANGE, range.map_err(|error| transfer.corrupt(error.to_string()))?);
        }
        let (_, response) = self.inner.exchange(endpoint, &call).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(transfer.corrupt(format!(
                "the registry has no more than {} of its {} bytes",
                transfer.offset, transfer.blob.size
            )));
        }
        let subject = self.blob_subject(transfer.blob.digest, "pull");
        let response = self.inner.check(endpoint, response, &subject).await?;
        let skip = leading(endpoint, transfer, &response)?;
        self.read(endpoint, transfer, response.into_body(), skip).await
    }

    async fn read<S: BlobSink>(
        &self,
        endpoint: &Endpoint,
        transfer: &mut Transfer<'_, S>,
        mut body: Incoming,
        mut skip: u64,
    ) -> Result<()> {
        let size = transfer.blob.size;
        while let Some(mut bytes) =
            self.inner.transport.next(&endpoint.authority, &mut body).await?
        {
            if skip > 0 {
                let known = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                bytes = bytes.slice(known..);
                skip -= known as u64;
            }
            if bytes.len() as u64 > size - transfer.offset {
                return Err(transfer.corrupt(format!("it is longer than its {size} bytes")));
            }
            if !bytes.is_empty() {
                transfer.take(bytes).await?;
            }
        }
        if transfer.offset < size {
            let why = format!("it ended after {} of {size} bytes", transfer.offset);
            return Err(Error::Broken { registry: endpoint.authority.clone(), source: why.into() });
        }
        Ok(())
    }
}

/// How many of the answer's bytes are there already. An error if it is not the blob's answer.
fn leading<S: BlobSink>(
    endpoint: &Endpoint,
    transfer: &Transfer<'_, S>,
    response: &http::Response<Incoming>,
) -> Result<u64> {
    let (offset, size) = (transfer.offset, transfer.blob.size);
    let differs = |length| {
        transfer.corrupt(format!("the registry has {length} bytes, and its descriptor says {size}"))
    };
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = headers::text(response.headers(), CONTENT_RANGE.as_str());
        return match range.and_then(headers::content_range) {
            Some((_, _, Some(whole))) if whole != size => Err(differs(whole)),
            Some((first, ..)) if first <= offset => Ok(offset - first),
            _ => Err(Error::protocol(&endpoint.authority, "it sends a range that was not asked")),
        };
    }
    let length = headers::text(response.headers(), CONTENT_LENGTH.as_str());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length != size => Err(differs(length)),
        // The registry does not know ranges: the whole comes again.
        _ => Ok(offset),
    }
}

/// Relays another call's progress. True if that one got the blob.
async fn watch_flight(mut flight: watch::Receiver<Flight>, reporter: &mut Reporter) -> bool {
    loop {
        let state = *flight.borrow_and_update();
        match state {
            Flight::Landed => return true,
            Flight::Bytes(0) => {}
            Flight::Bytes(current) => reporter.bytes(Status::Downloading, current),
        }
        if flight.changed().await.is_err() {
            // The last word may have come together with the end.
            return *flight.borrow() == Flight::Landed;
        }
    }
}
