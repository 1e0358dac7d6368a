//! The registry itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::answer::{Body, act_on, answer, blob, error};
use crate::{Act, Seen, digest};

type Rule = Box<dyn Fn(&Seen) -> Act + Send + Sync>;

/// What a registry has, and what it was asked.
pub struct State {
    /// Repository and digest -> bytes.
    pub blobs: Mutex<HashMap<(String, String), Bytes>>,
    /// Repository and tag or digest -> type and bytes.
    pub manifests: Mutex<HashMap<(String, String), (String, Bytes)>>,
    uploads: Mutex<HashMap<String, Vec<u8>>>,
    seen: Mutex<Vec<Seen>>,
    held: AtomicUsize,
    rule: Mutex<Arc<Rule>>,
}

/// A registry that runs; it ends when it is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it has.
    pub state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
    /// For tests that have no runtime of their own.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// One that does as `rule` says, on a free port of the loopback.
    pub async fn with(rule: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", None, rule).await
    }

    /// One at this address, with or without TLS.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn at(
        address: &str,
        tls: Option<TlsAcceptor>,
        rule: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free address");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::new(Box::new(rule)));
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        Self { address, state, task, runtime: None }
    }

    /// One for a test that is not asynchronous, with threads of its own.
    ///
    /// # Panics
    /// When threads or sockets are short.
    #[must_use]
    pub fn in_background(rule: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let mut server = runtime.block_on(Self::with(rule));
        server.runtime = Some(runtime);
        server
    }

    /// Does as this rule says from now on.
    pub fn obey(&self, rule: impl Fn(&Seen) -> Act + Send + Sync + 'static) {
        *self.state.rule.lock() = Arc::new(Box::new(rule));
    }

    /// Keeps a blob and gives its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest(&bytes);
        self.state.blobs.lock().insert((repository.to_owned(), digest.clone()), bytes);
        digest
    }

    /// Keeps a manifest or index under its tag and its digest, and gives the digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, kind: &str, text: &str) -> String {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let digest = digest(&bytes);
        let mut manifests = self.state.manifests.lock();
        for name in [tag.to_owned(), digest.clone()] {
            manifests.insert((repository.to_owned(), name), (kind.to_owned(), bytes.clone()));
        }
        digest
    }

    /// The requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().clone()
    }

    /// Forgets the requests so far; `nth` counts anew.
    pub fn forget(&self) {
        self.state.seen.lock().clear();
        self.state.held.store(0, Ordering::SeqCst);
    }

    /// `GET /v2/...` of every request but the first look at the registry.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let seen = self.seen();
        let others = seen.iter().filter(|seen| seen.path != "/v2/");
        others.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// How many answers have reached the byte at which they wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.held.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (Arc::clone(&state), tls.clone());
        // A test that counts needs small answers at once.
        let _ = stream.set_nodelay(true);
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
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, state: Arc<State>) {
    let service = hyper::service::service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(state.handle(request).await) }
    });
    // A connection that a test cuts is an error, and meant to be.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl State {
    fn new(rule: Rule) -> Self {
        Self {
            blobs: Mutex::default(),
            manifests: Mutex::default(),
            uploads: Mutex::default(),
            seen: Mutex::default(),
            held: AtomicUsize::new(0),
            rule: Mutex::new(Arc::new(rule)),
        }
    }

    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::SeqCst);
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
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
        let rule = Arc::clone(&self.rule.lock());
        let act = rule(&seen);
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
            return blob(&self, &seen, bytes, digest, act);
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
        self: &Arc<Self>,
        seen: &Seen,
        repository: &str,
        name: &str,
        body: Incoming,
        act: Act,
    ) -> Response<Body> {
        if seen.method == Method::PUT {
            let Ok(body) = body.collect().await else { return error(400, "CUT", "cut") };
            let bytes = body.to_bytes();
            let kind = seen.header("content-type").unwrap_or_default().to_owned();
            let digest = digest(&bytes);
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
        let headers = [("content-type", kind), ("docker-content-digest", digest(&bytes))];
        if let Act::Lie(other) = act {
            return answer(200, &headers[..1], other);
        }
        act_on(self, 200, &headers, bytes, act)
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
        let (limit, silent) = match act {
            Act::Cut(limit) => (got.len() + limit, false),
            Act::Silence(limit) => (got.len() + limit, true),
            _ => (usize::MAX, false),
        };
        if let Some(range) = seen.header("content-range")
            && range.split('-').next() != Some(got.len().to_string().as_str())
        {
            return error(416, "BLOB_UPLOAD_INVALID", "out of order");
        }
        while let Some(Ok(frame)) = body.frame().await {
            got.extend_from_slice(&frame.into_data().unwrap_or_default());
            if got.len() > limit {
                if silent {
                    self.hold();
                    std::future::pending::<()>().await;
                }
                got.truncate(limit);
                self.uploads.lock().insert(id.to_owned(), got);
                return error(503, "UNAVAILABLE", "cut");
            }
        }
        self.uploads.lock().insert(id.to_owned(), got.clone());
        if seen.method == Method::PATCH {
            return answer(202, &state(&got), "");
        }
        let digest = digest(&got);
        if query.get("digest") != Some(&digest) {
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
        }
        self.blobs.lock().insert((repository.to_owned(), digest.clone()), got.into());
        answer(201, &[("docker-content-digest", digest)], "")
    }
}
