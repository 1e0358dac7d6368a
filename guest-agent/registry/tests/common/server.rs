//! The registry itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use linkspan_images::{Digest, Reference};
use linkspan_registry::{Client, Credentials, Descriptor, OCI_MANIFEST, Repository, Settings};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{config, descriptor, manifest};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    /// Equal method and path before this one.
    pub nth: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What to do with a request.
pub enum Act {
    Serve,
    /// Serve, but end the connection after this many bytes of the body.
    Cut(usize),
    /// Serve this many bytes of the body and then nothing more.
    Silence(usize),
    /// Serve the whole, whatever range was asked for.
    Whole,
    /// Serve these bytes as the blob.
    Lie(Bytes),
    /// The same, without saying how long it is.
    LieInChunks(Bytes),
    Answer(StatusCode, Vec<(&'static str, String)>, String),
}

impl Act {
    pub fn status(status: u16) -> Self {
        Self::Answer(StatusCode::from_u16(status).unwrap(), vec![], String::new())
    }
}

type Rule = Box<dyn Fn(&Seen) -> Act + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, io::Error>;

#[derive(Default)]
pub struct State {
    /// Repository and digest -> bytes.
    pub blobs: Mutex<HashMap<(String, String), Bytes>>,
    /// Repository and tag or digest -> type and bytes.
    pub manifests: Mutex<HashMap<(String, String), (String, Bytes)>>,
    uploads: Mutex<HashMap<String, Vec<u8>>>,
    seen: Mutex<Vec<Seen>>,
    rule: Option<Rule>,
}

pub struct Server {
    pub address: SocketAddr,
    pub state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| Act::Serve).await
    }

    pub async fn with(rule: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", None, rule).await
    }

    pub async fn at(
        address: &str,
        tls: Option<TlsAcceptor>,
        rule: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { rule: Some(Box::new(rule)), ..State::default() });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state, task }
    }

    pub fn blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = descriptor("application/octet-stream", &bytes);
        let key = (repository.to_owned(), descriptor.digest.to_string());
        self.state.blobs.lock().insert(key, bytes);
        descriptor
    }

    pub fn manifest(&self, repository: &str, tag: &str, kind: &str, text: &str) -> Descriptor {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let descriptor = descriptor(kind, &bytes);
        let mut manifests = self.state.manifests.lock();
        for name in [tag.to_owned(), descriptor.digest.to_string()] {
            manifests.insert((repository.to_owned(), name), (kind.to_owned(), bytes.clone()));
        }
        descriptor
    }

    /// An image of these layers.
    pub fn image(&self, repository: &str, tag: &str, layers: &[&[u8]]) -> Descriptor {
        let config = self.blob(repository, config());
        let layers: Vec<_> =
            layers.iter().map(|bytes| self.blob(repository, bytes.to_vec())).collect();
        self.manifest(repository, tag, OCI_MANIFEST, &manifest(&config, &layers))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    /// `GET /v2/...` of every request but the first look at the registry.
    pub fn lines(&self) -> Vec<String> {
        let seen = self.seen();
        let others = seen.iter().filter(|seen| seen.path != "/v2/");
        others.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    pub fn repository(&self, settings: Settings, name: &str) -> Repository {
        self.repository_as(settings, name, Credentials::Anonymous)
    }

    pub fn repository_as(&self, settings: Settings, name: &str, who: Credentials) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", self.address)).unwrap();
        Client::new(settings).unwrap().repository(&reference, who)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, state: Arc<State>) {
    let service = hyper::service::service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(state.handle(request).await) }
    });
    // A connection that a test cuts is an error, and meant to be.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(status: u16, headers: &[(&str, String)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()).unwrap()
}

fn error(status: u16, code: &str, message: &str) -> Response<Body> {
    answer(status, &[], format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#))
}

/// A body that promises all of `bytes` and ends, or stops, after `after` of them.
fn broken(
    status: u16,
    headers: &[(&str, String)],
    bytes: Bytes,
    after: usize,
    cut: bool,
) -> Response<Body> {
    let length = bytes.len();
    let bytes = bytes.slice(..after.min(length));
    let stream = futures::stream::unfold(0, move |step| {
        let bytes = bytes.clone();
        async move {
            match step {
                0 => Some((Ok(Frame::data(bytes)), 1)),
                1 if cut => {
                    // So that what came before is on its way first.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Some((Err(io::Error::other("cut")), 2))
                }
                _ => std::future::pending().await,
            }
        }
    });
    let mut response = Response::builder().status(status).header("content-length", length);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(StreamBody::new(stream).boxed_unsync()).unwrap()
}

impl State {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let seen = {
            let mut all = self.seen.lock();
            let same = |seen: &&Seen| seen.method == parts.method && seen.path == path;
            let seen = Seen {
                nth: all.iter().filter(same).count(),
                uri: parts.uri.to_string(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                method: parts.method,
                headers: parts.headers,
                path,
            };
            all.push(seen.clone());
            seen
        };
        let act = self.rule.as_ref().map_or(Act::Serve, |rule| rule(&seen));
        if let Act::Answer(status, headers, text) = act {
            return answer(status.as_u16(), &headers, text);
        }
        if seen.path == "/v2/" {
            return answer(200, &[], "{}");
        }
        let Some(rest) = seen.path.strip_prefix("/v2/") else { return answer(404, &[], "") };
        if let Some((repository, name)) = rest.split_once("/manifests/") {
            return self.manifest(&seen, repository, name, body, act).await;
        }
        if let Some((repository, id)) = rest.split_once("/blobs/uploads/") {
            return self.upload(&seen, repository, id, body, act).await;
        }
        if let Some((repository, digest)) = rest.split_once("/blobs/") {
            let key = (repository.to_owned(), digest.to_owned());
            let Some(bytes) = self.blobs.lock().get(&key).cloned() else {
                return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
            };
            return blob(&seen, bytes, digest, act);
        }
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return self.tags(seen.query.strip_prefix("last="), repository);
        }
        error(404, "NAME_UNKNOWN", "repository name not known to registry")
    }

    /// Two tags a page.
    fn tags(&self, last: Option<&str>, repository: &str) -> Response<Body> {
        let manifests = self.manifests.lock();
        let mut tags: Vec<_> = manifests
            .keys()
            .filter(|(of, name)| of == repository && !name.contains(':'))
            .map(|(_, name)| name.as_str())
            .filter(|name| last.is_none_or(|last| *name > last))
            .collect();
        tags.sort_unstable();
        let more = tags.len() > 2;
        tags.truncate(2);
        let link = format!(
            "</v2/{repository}/tags/list?last={}>; rel=\"next\"",
            tags.last().unwrap_or(&"")
        );
        let headers: &[_] = if more { &[("link", link)] } else { &[] };
        answer(200, headers, format!(r#"{{"name":"{repository}","tags":{tags:?}}}"#))
    }

    async fn manifest(
        &self,
        seen: &Seen,
        repository: &str,
        name: &str,
        body: Incoming,
        act: Act,
    ) -> Response<Body> {
        if seen.method == Method::PUT {
            let bytes = body.collect().await.unwrap().to_bytes();
            let kind = seen.header("content-type").unwrap_or_default().to_owned();
            let digest = Digest::of(&bytes).to_string();
            let mut manifests = self.manifests.lock();
            for name in [name.to_owned(), digest.clone()] {
                manifests.insert((repository.to_owned(), name), (kind.clone(), bytes.clone()));
            }
            return answer(201, &[("docker-content-digest", digest)], "");
        }
        let key = (repository.to_owned(), name.to_owned());
        let Some((kind, bytes)) = self.manifests.lock().get(&key).cloned() else {
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
        };
        let digest = Digest::of(&bytes).to_string();
        let headers = [("content-type", kind), ("docker-content-digest", digest)];
        match act {
            Act::Cut(after) => broken(200, &headers, bytes, after, true),
            Act::Lie(other) => answer(200, &headers[..1], other),
            _ => answer(200, &headers, bytes),
        }
    }

    async fn upload(
        &self,
        seen: &Seen,
        repository: &str,
        id: &str,
        mut body: Incoming,
        act: Act,
    ) -> Response<Body> {
        let query: HashMap<String, String> =
            form_urlencoded::parse(seen.query.as_bytes()).into_owned().collect();
        if seen.method == Method::POST {
            if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
                let mut blobs = self.blobs.lock();
                if let Some(bytes) = blobs.get(&(from.clone(), digest.clone())).cloned() {
                    blobs.insert((repository.to_owned(), digest.clone()), bytes);
                    return answer(201, &[("docker-content-digest", digest.clone())], "");
                }
            }
            let mut uploads = self.uploads.lock();
            let id = format!("u{}", uploads.len());
            uploads.insert(id.clone(), Vec::new());
            // Relative, and with a query of its own, as the specification allows.
            let location = format!("/v2/{repository}/blobs/uploads/{id}?state=x");
            return answer(202, &[("location", location)], "");
        }
        let Some(mut got) = self.uploads.lock().get(id).cloned() else {
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        };
        let location = format!("/v2/{repository}/blobs/uploads/{id}?state=x");
        let state = |got: &[u8]| {
            [("location", location.clone()), ("range", format!("0-{}", got.len().max(1) - 1))]
        };
        if seen.method == Method::GET {
            return answer(204, &state(&got), "");
        }
        let limit = if let Act::Cut(limit) = act { got.len() + limit } else { usize::MAX };
        if let Some(range) = seen.header("content-range")
            && range.split('-').next() != Some(got.len().to_string().as_str())
        {
            return error(416, "BLOB_UPLOAD_INVALID", "out of order");
        }
        while let Some(Ok(frame)) = body.frame().await {
            got.extend_from_slice(&frame.into_data().unwrap_or_default());
            if got.len() > limit {
                got.truncate(limit);
                self.uploads.lock().insert(id.to_owned(), got);
                return error(503, "UNAVAILABLE", "cut");
            }
        }
        self.uploads.lock().insert(id.to_owned(), got.clone());
        if seen.method == Method::PATCH {
            return answer(202, &state(&got), "");
        }
        let digest = Digest::of(&got).to_string();
        if query.get("digest") != Some(&digest) {
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        self.blobs.lock().insert((repository.to_owned(), digest.clone()), got.into());
        answer(201, &[("docker-content-digest", digest)], "")
    }
}

fn blob(seen: &Seen, bytes: Bytes, digest: &str, act: Act) -> Response<Body> {
    let mut headers = vec![("docker-content-digest", digest.to_owned())];
    let from: usize = match (&act, seen.header("range")) {
        (Act::Whole, _) | (_, None) => 0,
        (_, Some(range)) => {
            range.strip_prefix("bytes=").and_then(|r| r.strip_suffix('-')).unwrap().parse().unwrap()
        }
    };
    let bytes = if let Act::Lie(other) = &act { other.clone() } else { bytes };
    if from > 0 && from >= bytes.len() {
        return error(416, "RANGE_INVALID", "invalid range");
    }
    let status = if from > 0 { 206 } else { 200 };
    if from > 0 {
        let last = bytes.len() - 1;
        headers.push(("content-range", format!("bytes {from}-{last}/{}", bytes.len())));
    }
    let bytes = bytes.slice(from..);
    match act {
        Act::Cut(after) => broken(status, &headers, bytes, after, true),
        Act::Silence(after) => broken(status, &headers, bytes, after, false),
        Act::LieInChunks(lie) => {
            let stream = futures::stream::iter([Ok(Frame::data(lie))]);
            Response::new(StreamBody::new(stream).boxed_unsync())
        }
        _ => answer(status, &headers, bytes),
    }
}
