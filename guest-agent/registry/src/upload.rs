//! Blobs to a registry: not if it has them, mounted from another repository if it has them
//! there, else in one request or in pieces (distribution specification, "Pushing blobs").

use std::io;
use std::pin::pin;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use http::{Method, Response, StatusCode, Uri};
use hyper::body::Incoming;
use linkspan_images::Digest;

use crate::auth::Scopes;
use crate::client::{Call, Repository, Target, request, same_place};
use crate::document::Descriptor;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::headers;
use crate::outgoing::{BlobSource, Sent, body};
use crate::progress::{Progress, Reporter, Status};
use crate::retry::Backoff;
use crate::transport::full;

/// How a blob came to be in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Exists,
    /// The registry had it in the other repository.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// A blob on its way.
struct Upload<'a, S> {
    endpoint: Endpoint,
    scopes: Scopes,
    blob: &'a Descriptor,
    source: &'a S,
    reporter: Reporter,
}

/// What the start of an upload came to.
enum Started {
    Mounted,
    At(Uri),
}

impl Repository {
    /// Does the repository have this blob?
    pub async fn has_blob(&self, digest: Digest) -> Result<bool> {
        self.has_blob_at(&self.target(), digest, self.scopes("pull"), "pull").await
    }

    async fn has_blob_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        scopes: Scopes,
        action: &'static str,
    ) -> Result<bool> {
        let path = format!("{}/blobs/{digest}", self.reference.path());
        let call = Call::new(Method::HEAD, Target::Path(&path), scopes);
        let subject = self.blob_subject(digest, action);
        match self.inner.ask(endpoint, &call, &subject, self.backoff(true)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has the registry mount a blob that another of its repositories, `from`, probably has. False:
    /// it has not, the user may not see it, or the registry does not do that.
    pub async fn mount_blob(&self, digest: Digest, from: &str) -> Result<bool> {
        let endpoint = self.target();
        let scopes = self.scopes("pull,push");
        let mut backoff = self.backoff(true);
        loop {
            let error = match self.start(&endpoint, &scopes, digest, Some(from)).await {
                Ok(Started::Mounted) => return Ok(true),
                // An upload that nobody goes on with, which registries give up by themselves.
                Ok(Started::At(_)) => return Ok(false),
                Err(Error::Unauthorized { .. } | Error::Denied { .. } | Error::NotFound { .. }) => {
                    return Ok(false);
                }
                Err(error) => error,
            };
            if !self.inner.patient(&endpoint, &error) {
                return Err(error);
            }
            tokio::time::sleep(backoff.after(error)?).await;
        }
    }

    /// Sees to it that the repository has a blob. `mount_from` is the path of a repository of
    /// the same registry that probably has it. Dropping the future cancels.
    pub async fn push_blob<S: BlobSource>(
        &self,
        blob: &Descriptor,
        source: &S,
        mount_from: Option<&str>,
        progress: &Progress,
    ) -> Result<Pushed> {
        let reporter = Reporter::new(progress, blob.digest, blob.size);
        reporter.status(Status::Waiting, 0);
        // The semaphore is never closed.
        let _turn = self.inner.uploads.acquire().await.ok();
        reporter.status(Status::Preparing, 0);
        let endpoint = self.target();
        let scopes = self.scopes("pull,push");
        if self.has_blob_at(&endpoint, blob.digest, scopes.clone(), "push").await? {
            reporter.status(Status::LayerExists, blob.size);
            return Ok(Pushed::Exists);
        }
        let mut upload = Upload { endpoint, scopes, blob, source, reporter };
        let mut backoff = self.backoff(true);
        loop {
            let error = match self.upload(&mut upload, mount_from).await {
                Ok(pushed) => return Ok(pushed),
                Err(error) => error,
            };
            if !self.inner.patient(&upload.endpoint, &error) {
                return Err(error);
            }
            let wait = backoff.after(error)?;
            upload.reporter.status(Status::Retrying(wait), 0);
            tokio::time::sleep(wait).await;
        }
    }

    /// One upload from its start.
    async fn upload<S: BlobSource>(
        &self,
        upload: &mut Upload<'_, S>,
        mount_from: Option<&str>,
    ) -> Result<Pushed> {
        let start = |from| self.start(&upload.endpoint, &upload.scopes, upload.blob.digest, from);
        let started = match start(mount_from).await {
            // The user may not see that one: no reason not to push to this one.
            Err(
                error
                @ (Error::Unauthorized { .. } | Error::Denied { .. } | Error::NotFound { .. }),
            ) if mount_from.is_some() => {
                tracing::debug!(%error, from = mount_from, "not mounted");
                start(None).await?
            }
            started => started?,
        };
        let at = match started {
            Started::At(at) => at,
            Started::Mounted => {
                let from = mount_from.unwrap_or_default().to_owned();
                upload.reporter.status(Status::Mounted(from), upload.blob.size);
                return Ok(Pushed::Mounted);
            }
        };
        let size = upload.blob.size;
        let chunk = self.inner.settings.upload_chunk.filter(|chunk| (1..size).contains(chunk));
        let response = match chunk {
            None => self.send(upload, Method::PUT, &closing(upload, &at)?, 0..size).await?,
            Some(chunk) => {
                let at = self.send_chunks(upload, at, chunk).await?;
                self.send(upload, Method::PUT, &closing(upload, &at)?, size..size).await?
            }
        };
        let digest = upload.blob.digest;
        match headers::text(response.headers(), "docker-content-digest") {
            Some(said) if said != digest.to_string() => Err(Error::corrupt(
                format!("blob {digest}"),
                format!("the registry took it as {said}"),
            )),
            _ => {
                upload.reporter.status(Status::Pushed, size);
                Ok(Pushed::Uploaded)
            }
        }
    }

    /// Begins an upload, or has the blob mounted.
    async fn start(
        &self,
        endpoint: &Endpoint,
        scopes: &Scopes,
        digest: Digest,
        mount_from: Option<&str>,
    ) -> Result<Started> {
        let mut scopes = scopes.clone();
        let mut path = format!("{}/blobs/uploads/", self.reference.path());
        if let Some(from) = mount_from {
            scopes.insert(format!("repository:{from}:pull"));
            let mut query = Serializer::new(String::new());
            query.append_pair("mount", &digest.to_string()).append_pair("from", from);
            path = format!("{path}?{}", query.finish());
        }
        let call = Call::new(Method::POST, Target::Path(&path), scopes)
            .with(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let (uri, response) = self.inner.exchange(endpoint, &call).await?;
        let subject = self.blob_subject(digest, "push");
        let response = self.inner.check(endpoint, response, &subject).await?;
        if response.status() == StatusCode::CREATED && mount_from.is_some() {
            return Ok(Started::Mounted);
        }
        location(endpoint, &uri, &response).map(Started::At)
    }

    /// Sends the blob in pieces; returns where the upload is to be closed.
    async fn send_chunks<S: BlobSource>(
        &self,
        upload: &mut Upload<'_, S>,
        mut at: Uri,
        chunk: u64,
    ) -> Result<Uri> {
        let size = upload.blob.size;
        let mut offset = 0;
        let mut backoff = Backoff::new(&self.inner.settings.retry);
        while offset < size {
            let end = offset.saturating_add(chunk).min(size);
            let error = match self.send(upload, Method::PATCH, &at, offset..end).await {
                Ok(response) => {
                    at = location(&upload.endpoint, &at, &response)?;
                    let range = headers::text(response.headers(), "range");
                    let has = range.and_then(headers::received).unwrap_or(end);
                    if has <= offset || has > end {
                        return Err(Error::protocol(
                            &upload.endpoint.authority,
                            format!("it has {has} bytes after bytes {offset} to {end} were sent"),
                        ));
                    }
                    offset = has;
                    backoff.progressed();
                    continue;
                }
                Err(error) => error,
            };
            let wait = backoff.after(error)?;
            upload.reporter.status(Status::Retrying(wait), offset);
            tokio::time::sleep(wait).await;
            (at, offset) = self.upload_state(upload, &at).await?;
            if offset > size {
                return Err(Error::protocol(&upload.endpoint.authority, "it has too many bytes"));
            }
        }
        Ok(at)
    }

    /// How much of an upload the registry has.
    async fn upload_state<S: BlobSource>(
        &self,
        upload: &Upload<'_, S>,
        at: &Uri,
    ) -> Result<(Uri, u64)> {
        let call = Call::new(Method::GET, Target::Url(at), upload.scopes.clone());
        let subject = self.blob_subject(upload.blob.digest, "push");
        let answer = self.inner.ask(&upload.endpoint, &call, &subject, self.backoff(true)).await;
        let (uri, response) = answer.map_err(|error| match error {
            // It may be begun anew, unlike what else is not found.
            Error::NotFound { .. } => {
                Error::Broken { registry: upload.endpoint.authority.clone(), source: error.into() }
            }
            error => error,
        })?;
        let has = headers::text(response.headers(), "range").and_then(headers::received);
        let at = if response.headers().contains_key(LOCATION) {
            location(&upload.endpoint, &uri, &response)?
        } else {
            at.clone()
        };
        Ok((at, has.unwrap_or(0)))
    }

    /// Sends bytes of the blob (none for an empty range), with authorization renewed once if the
    /// registry wants that.
    async fn send<S: BlobSource>(
        &self,
        upload: &Upload<'_, S>,
        method: Method,
        at: &Uri,
        range: std::ops::Range<u64>,
    ) -> Result<Response<Incoming>> {
        let Upload { endpoint, scopes, .. } = upload;
        let inner = &self.inner;
        let home = inner.url(endpoint, &Target::Path("")).await?;
        let mut authorization = inner.authorizer.header(&inner.transport, endpoint, scopes).await?;
        let mut challenged = false;
        loop {
            let mut headers = head(&method, &range)?;
            // An upload may lead to a store elsewhere, which must not see the authorization.
            if let Some(value) = &authorization
                && same_place(at, &home)
            {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let response = self.send_once(upload, &method, at, headers, range.clone()).await?;
            if response.status() == StatusCode::UNAUTHORIZED && !challenged && same_place(at, &home)
            {
                challenged = true;
                authorization = inner.reauthorize(endpoint, scopes, &response).await?;
                if authorization.is_some() {
                    continue;
                }
            }
            let subject = self.blob_subject(upload.blob.digest, "push");
            return inner.check(endpoint, response, &subject).await;
        }
    }

    async fn send_once<S: BlobSource>(
        &self,
        upload: &Upload<'_, S>,
        method: &Method,
        at: &Uri,
        headers: HeaderMap,
        range: std::ops::Range<u64>,
    ) -> Result<Response<Incoming>> {
        let digest = upload.blob.digest;
        let sent = Sent::new(range.end - range.start);
        let body = if range.is_empty() {
            full(Bytes::new())
        } else {
            let source_error = |source| Error::Source { digest, source };
            let reader = upload.source.open(range.start).await.map_err(source_error)?;
            body(reader, range, sent.clone(), upload.reporter.clone())
        };
        let request = request(&upload.endpoint, method.clone(), at, headers, body)?;
        let timeouts = &self.inner.settings.timeouts;
        let registry = &upload.endpoint.authority;
        // Longer than anyone waits: the loop below is the watch.
        let answer = self.inner.transport.send(registry, request, std::time::Duration::MAX);
        let mut answer = pin!(answer);
        let mut seen = 0;
        loop {
            let patience = if sent.is_all() { timeouts.commit } else { timeouts.stall };
            match tokio::time::timeout(patience, &mut answer).await {
                // What the source says is the cause of what the connection says.
                Ok(Err(error)) => return Err(sent.failure(digest).unwrap_or(error)),
                Ok(Ok(response)) => return Ok(response),
                Err(_) if sent.bytes() > seen => seen = sent.bytes(),
                Err(_) => {
                    let why = io::Error::new(io::ErrorKind::TimedOut, "it takes nothing more");
                    return Err(Error::Broken { registry: registry.clone(), source: why.into() });
                }
            }
        }
    }
}

fn head(method: &Method, range: &std::ops::Range<u64>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if *method == Method::PATCH {
        let value = format!("{}-{}", range.start, range.end - 1);
        // Digits and a hyphen.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(CONTENT_RANGE, value);
        }
    }
    Ok(headers)
}

fn location(endpoint: &Endpoint, from: &Uri, response: &Response<Incoming>) -> Result<Uri> {
    let bad = |why: &str| Error::protocol(&endpoint.authority, why);
    let text = headers::text(response.headers(), LOCATION.as_str())
        .ok_or_else(|| bad("it does not say where to upload to"))?;
    let uri = headers::resolve(from, text).ok_or_else(|| bad("its upload location is no URL"))?;
    if from.scheme_str() == Some("https") && uri.scheme_str() != Some("https") {
        return Err(bad("it wants an upload without encryption"));
    }
    Ok(uri)
}

/// The URL that ends an upload.
fn closing<S>(upload: &Upload<'_, S>, at: &Uri) -> Result<Uri> {
    let mut query = Serializer::new(String::new());
    query.append_pair("digest", &upload.blob.digest.to_string());
    let separator = if at.query().is_some() { '&' } else { '?' };
    format!("{at}{separator}{}", query.finish())
        .parse()
        .map_err(|_| Error::protocol(&upload.endpoint.authority, "its upload location is no URL"))
}
