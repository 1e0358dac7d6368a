//! The client: settings, connections and tokens that calls share; and one repository of a
//! registry, with the credentials of a call.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use linkspan_images::{Digest, Reference};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::auth::{Authorizer, Credentials, Scopes};
use crate::challenge::{self, Challenge};
use crate::endpoint::{Endpoint, Mirrors, Scheme};
use crate::error::{Error, Refusal, Result};
use crate::flight::Flights;
use crate::headers;
use crate::retry::Backoff;
use crate::settings::Settings;
use crate::transport::{Body, Transport, full};

/// Redirects that are followed; as many as Go's client, which Docker uses, is plenty.
const MAX_REDIRECTS: usize = 10;
/// Of an answer that is an error, this much is read.
const MAX_REFUSAL: usize = 64 * 1024;

/// A client of registries. Cheap to clone; clones share connections, tokens and transfers.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: Arc<Settings>,
    pub(crate) transport: Transport,
    pub(crate) mirrors: Mirrors,
    pub(crate) authorizer: Authorizer,
    pub(crate) flights: Flights,
    pub(crate) downloads: Semaphore,
    pub(crate) uploads: Semaphore,
    /// What insecure registries turned out to speak.
    schemes: Mutex<HashMap<String, Scheme>>,
    /// Authorities that have answered before. Patience is for these: a name with a typing error
    /// in it is told at once.
    reached: Mutex<HashSet<String>>,
}

/// One repository of a registry, as one user sees it.
#[derive(Clone)]
pub struct Repository {
    pub(crate) inner: Arc<Inner>,
    pub(crate) reference: Reference,
    pub(crate) credentials: Credentials,
}

/// What is asked of an endpoint.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// After `/v2/`, or a whole URL that the registry gave.
    pub(crate) target: Target<'a>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
    pub(crate) scopes: Scopes,
}

pub(crate) enum Target<'a> {
    Path(&'a str),
    Url(&'a Uri),
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, target: Target<'a>, scopes: Scopes) -> Self {
        Self { method, target, headers: HeaderMap::new(), body: bytes::Bytes::new(), scopes }
    }

    pub(crate) fn with(mut self, name: http::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl Client {
    /// A client with these settings.
    ///
    /// # Errors
    /// [`Error::Setting`] names the one that cannot be used.
    pub fn new(settings: Settings) -> Result<Self> {
        let settings = Arc::new(settings);
        Ok(Self {
            inner: Arc::new(Inner {
                transport: Transport::new(settings.clone())?,
                mirrors: Mirrors::new(&settings)?,
                authorizer: Authorizer::default(),
                flights: Flights::default(),
                downloads: Semaphore::new(settings.parallel_downloads.max(1)),
                uploads: Semaphore::new(settings.parallel_uploads.max(1)),
                schemes: Mutex::default(),
                reached: Mutex::default(),
                settings,
            }),
        })
    }

    /// The repository of this reference. Without tag and digest the reference means `latest`.
    #[must_use]
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Repository {
        Repository {
            inner: self.inner.clone(),
            reference: reference.clone().with_default_tag(),
            credentials,
        }
    }
}

impl Inner {
    /// What this endpoint speaks; asks it once if both are allowed.
    pub(crate) async fn scheme(&self, endpoint: &Endpoint) -> Result<Scheme> {
        if endpoint.scheme != Scheme::Either {
            return Ok(endpoint.scheme);
        }
        if let Some(&known) = self.schemes.lock().get(&endpoint.authority) {
            return Ok(known);
        }
        let mut last = None;
        for scheme in [Scheme::Https, Scheme::Http] {
            let uri: Uri = parse(endpoint, &endpoint.url(scheme, ""))?;
            let request = request(endpoint, Method::GET, &uri, HeaderMap::new(), full("".into()))?;
            let patience = self.transport.stall();
            match self.transport.send(&endpoint.authority, request, patience).await {
                Ok(_) => {
                    self.schemes.lock().insert(endpoint.authority.clone(), scheme);
                    return Ok(scheme);
                }
                Err(error) => {
                    tracing::debug!(registry = endpoint.authority, ?scheme, %error, "no answer");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::protocol(&endpoint.authority, "it speaks nothing")))
    }

    pub(crate) async fn url(&self, endpoint: &Endpoint, target: &Target<'_>) -> Result<Uri> {
        match target {
            Target::Url(uri) => Ok((*uri).clone()),
            Target::Path(path) => {
                parse(endpoint, &endpoint.url(self.scheme(endpoint).await?, path))
            }
        }
    }

    /// Asks once, with authorization (renewed if the registry wants that) and through redirects.
    /// The answer may have any status, and with it comes where it came from.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
    ) -> Result<(Uri, Response<Incoming>)> {
        let home = self.url(endpoint, &Target::Path("")).await?;
        let mut uri = self.url(endpoint, &call.target).await?;
        let mut authorization =
            self.authorizer.header(&self.transport, endpoint, &call.scopes).await?;
        let mut challenged = false;
        let mut redirects = 0;
        loop {
            let mut headers = call.headers.clone();
            // What authorizes here authorizes nowhere else.
            if let Some(value) = &authorization
                && same_place(&uri, &home)
            {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let body = full(call.body.clone());
            let request = request(endpoint, call.method.clone(), &uri, headers, body)?;
            let patience = self.transport.stall();
            let response = self.transport.send(&endpoint.authority, request, patience).await?;
            self.reached.lock().insert(endpoint.authority.clone());
            if response.status() == StatusCode::UNAUTHORIZED
                && !challenged
                && same_place(&uri, &home)
            {
                challenged = true;
                authorization = self.reauthorize(endpoint, &call.scopes, &response).await?;
                if authorization.is_some() {
                    continue;
                }
            }
            let reading = matches!(call.method, Method::GET | Method::HEAD);
            if reading && is_redirect(response.status()) {
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(Error::protocol(&endpoint.authority, "it redirects in circles"));
                }
                uri = self.redirected(endpoint, &uri, response.headers())?;
                continue;
            }
            return Ok((uri, response));
        }
    }

    /// What to send after a 401; None if there is nothing better.
    pub(crate) async fn reauthorize<B>(
        &self,
        endpoint: &Endpoint,
        scopes: &Scopes,
        response: &Response<B>,
    ) -> Result<Option<HeaderValue>> {
        match Challenge::from_headers(response.headers()) {
            None => Ok(None),
            Some(challenge) => {
                self.authorizer.answer(&self.transport, endpoint, scopes, challenge).await
            }
        }
    }

    fn redirected(&self, endpoint: &Endpoint, from: &Uri, headers: &HeaderMap) -> Result<Uri> {
        let bad = |why| Error::protocol(&endpoint.authority, why);
        let target = headers::text(headers, LOCATION.as_str())
            .and_then(|location| headers::resolve(from, location))
            .ok_or_else(|| bad("it redirects to nowhere".to_owned()))?;
        let authority = target.authority().map_or("", |authority| authority.as_str());
        if from.scheme_str() == Some("https")
            && target.scheme_str() != Some("https")
            && !self.transport.is_insecure(authority)
        {
            return Err(bad(format!(
                "it redirects from https to `{authority}` without encryption"
            )));
        }
        Ok(target)
    }

    /// The same until it succeeds or fails for good, with the answer's status as error.
    pub(crate) async fn ask(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
        subject: &Subject<'_>,
        mut backoff: Backoff<'_>,
    ) -> Result<(Uri, Response<Incoming>)> {
        loop {
            let result = match self.exchange(endpoint, call).await {
                Ok((uri, response)) => {
                    self.check(endpoint, response, subject).await.map(|response| (uri, response))
                }
                Err(error) => Err(error),
            };
            match result {
                Ok(answer) => return Ok(answer),
                Err(error) => self.pause(endpoint, error, &mut backoff).await?,
            }
        }
    }

    /// Waits before another try, unless there is none.
    pub(crate) async fn pause(
        &self,
        endpoint: &Endpoint,
        error: Error,
        backoff: &mut Backoff<'_>,
    ) -> Result<()> {
        if !self.patient(endpoint, &error) {
            return Err(error);
        }
        backoff.wait(error).await
    }

    /// Is a failure here worth waiting for its end?
    pub(crate) fn patient(&self, endpoint: &Endpoint, error: &Error) -> bool {
        !matches!(error, Error::Unreachable { .. })
            || self.reached.lock().contains(&endpoint.authority)
    }

    /// The answer if it is success, else the error that it means.
    pub(crate) async fn check(
        &self,
        endpoint: &Endpoint,
        response: Response<Incoming>,
        subject: &Subject<'_>,
    ) -> Result<Response<Incoming>> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = headers::retry_after(response.headers(), jiff::Timestamp::now());
        let out_of_scope = challenge::insufficient_scope(response.headers());
        // An error that cannot be read is an error without words.
        let body =
            self.transport.read_all(&endpoint.authority, "the error", response, MAX_REFUSAL).await;
        let mut refusal =
            Refusal::parse(status.as_u16(), &body.unwrap_or_default(), subject.missing);
        if status == StatusCode::UNAUTHORIZED && out_of_scope {
            refusal.code = "DENIED".into();
            refusal.message = "requested access to the resource is denied".into();
        }
        Err(subject.error(&endpoint.authority, status.as_u16(), refusal, retry_after))
    }
}

/// What a request is about, for its errors.
pub(crate) struct Subject<'a> {
    /// `manifest for busybox:1`.
    pub(crate) what: String,
    /// Code and message of a 404 without a body.
    pub(crate) missing: (&'static str, &'static str),
    /// `pull` or `push`.
    pub(crate) action: &'static str,
    pub(crate) reference: &'a Reference,
}

impl Subject<'_> {
    fn error(
        &self,
        registry: &str,
        status: u16,
        refusal: Refusal,
        retry_after: Option<Duration>,
    ) -> Error {
        let name = self.reference.familiar_name();
        match (status, refusal.code.as_str()) {
            (401 | 403, "DENIED") => Error::Denied { action: self.action, name, refusal },
            (401, _) => Error::Unauthorized { refusal },
            (404, "NAME_UNKNOWN") => {
                Error::NotFound { what: format!("repository {name}"), refusal }
            }
            (404, _) => Error::NotFound { what: self.what.clone(), refusal },
            (429, _) => Error::TooManyRequests { refusal, retry_after },
            _ => Error::Refused { registry: registry.to_owned(), status, refusal, retry_after },
        }
    }
}

fn parse(endpoint: &Endpoint, url: &str) -> Result<Uri> {
    url.parse().map_err(|_| Error::protocol(&endpoint.authority, format!("`{url}` is no URL")))
}

/// The same scheme, host and port.
pub(crate) fn same_place(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

pub(crate) fn request(
    endpoint: &Endpoint,
    method: Method,
    uri: &Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Request<Body>> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .body(body)
        .map_err(|error| Error::protocol(&endpoint.authority, error.to_string()))?;
    *request.headers_mut() = headers;
    Ok(request)
}

impl Repository {
    /// Whom to ask, mirrors first.
    pub(crate) fn sources(&self) -> Vec<Endpoint> {
        let settings = &self.inner.settings;
        self.inner.mirrors.sources(settings, self.reference.domain(), &self.credentials)
    }

    /// Where to push to.
    pub(crate) fn target(&self) -> Endpoint {
        Mirrors::target(&self.inner.settings, self.reference.domain(), &self.credentials)
    }

    /// `repository:library/busybox:pull`.
    pub(crate) fn scopes(&self, actions: &str) -> Scopes {
        [format!("repository:{}:{actions}", self.reference.path())].into()
    }

    pub(crate) fn blob_subject(&self, digest: Digest, action: &'static str) -> Subject<'_> {
        Subject {
            what: format!("blob {digest}"),
            missing: ("BLOB_UNKNOWN", "blob unknown to registry"),
            action,
            reference: &self.reference,
        }
    }

    pub(crate) fn manifest_subject(&self, of: &Reference, action: &'static str) -> Subject<'_> {
        Subject {
            what: format!("manifest for {}", of.familiar()),
            missing: ("MANIFEST_UNKNOWN", "manifest unknown"),
            action,
            reference: &self.reference,
        }
    }

    /// The reference, with the tag `latest` if it was given none.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }
}
