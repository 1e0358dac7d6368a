//! HTTP: one request, one answer. No retries, no redirects, no authorization.
//!
//! HTTP/1.1 only: a transfer has its own connection, so that one that breaks takes only its own
//! blob with it.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connect::{ConnectError, Connector, proxy_of};
use crate::error::{BoxError, Error, Result};
use crate::settings::Settings;
use crate::tls;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is all there.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Idle connections are kept this long: the layers of an image follow each other faster.
const IDLE: Duration = Duration::from_secs(30);

pub(crate) struct Transport {
    checked: Client<Connector, Body>,
    unchecked: Client<Connector, Body>,
    proxies: Arc<Matcher>,
    settings: Arc<Settings>,
}

fn matcher(settings: &Settings) -> Result<Matcher> {
    let mut builder = Matcher::builder();
    for (name, value) in [("http", &settings.proxies.http), ("https", &settings.proxies.https)] {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        let usable = value.parse::<Uri>().is_ok_and(|uri| {
            uri.host().is_some() && matches!(uri.scheme_str(), None | Some("http" | "https"))
        });
        if !usable {
            return Err(Error::Setting {
                // The URL may hold a password.
                what: format!("{name} proxy"),
                why: "it needs the form `http://host:port` or `https://host:port`".into(),
            });
        }
        builder = match name {
            "http" => builder.http(value.to_owned()),
            _ => builder.https(value.to_owned()),
        };
    }
    Ok(builder.no(settings.proxies.no_proxy.clone().unwrap_or_default()).build())
}

impl Transport {
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self> {
        let proxies = Arc::new(matcher(&settings)?);
        let checked = Arc::new(tls::checked(&settings.authorities)?);
        let client = |tls| {
            let connector = Connector {
                tls,
                proxy_tls: checked.clone(),
                proxies: proxies.clone(),
                loopback_at: settings.loopback_at,
                timeout: settings.timeouts.connect,
            };
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector)
        };
        Ok(Self {
            unchecked: client(Arc::new(tls::unchecked()?)),
            checked: client(checked.clone()),
            proxies,
            settings,
        })
    }

    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        self.settings.is_insecure(authority)
    }

    pub(crate) fn stall(&self) -> Duration {
        self.settings.timeouts.stall
    }

    /// Sends a request and waits up to `patience` for the head of the answer. `registry` is who
    /// is blamed in errors.
    pub(crate) async fn send(
        &self,
        registry: &str,
        mut request: Request<Body>,
        patience: Duration,
    ) -> Result<Response<Incoming>> {
        let authority =
            request.uri().authority().map_or_else(String::new, |host| host.as_str().to_owned());
        let headers = request.headers_mut();
        if let Ok(value) = self.settings.user_agent.parse() {
            headers.insert(http::header::USER_AGENT, value);
        }
        if let Ok(value) = authority.parse() {
            headers.insert(HOST, value);
        }
        if request.uri().scheme_str() == Some("http")
            && let Some((_, Some(value))) = proxy_of(&self.proxies, request.uri())
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let client = if self.is_insecure(&authority) { &self.unchecked } else { &self.checked };
        match tokio::time::timeout(patience, client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(explain(registry, error)),
            Err(_) => Err(silent(registry, patience)),
        }
    }

    /// The whole body, if it is not longer than `limit`; `what` names it in errors.
    pub(crate) async fn read_all(
        &self,
        registry: &str,
        what: &str,
        response: Response<Incoming>,
        limit: usize,
    ) -> Result<Bytes> {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(part) = self.next(registry, &mut body).await? {
            if bytes.len() + part.len() > limit {
                let why = format!("{what} is longer than {limit} bytes");
                return Err(Error::protocol(registry, why));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    /// The next bytes of a body; None at its end.
    pub(crate) async fn next(&self, registry: &str, body: &mut Incoming) -> Result<Option<Bytes>> {
        loop {
            match tokio::time::timeout(self.stall(), body.frame()).await {
                Err(_) => return Err(silent(registry, self.stall())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Error::Broken {
                        registry: registry.to_owned(),
                        source: error.into(),
                    });
                }
                Ok(Some(Ok(frame))) => {
                    // Trailers are of no interest.
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

fn silent(registry: &str, patience: Duration) -> Error {
    let why = format!("nothing came for {} s", patience.as_secs_f64());
    Error::Broken { registry: registry.to_owned(), source: why.into() }
}

/// Was there no connection, no trust, or did it break?
fn explain(registry: &str, error: hyper_util::client::legacy::Error) -> Error {
    let registry = registry.to_owned();
    let connect = error.source().and_then(|source| source.downcast_ref::<ConnectError>());
    match connect {
        Some(ConnectError::Tls { .. } | ConnectError::NoTls { .. }) => {
            Error::Tls { registry, source: error.into() }
        }
        _ if error.is_connect() => Error::Unreachable { registry, source: error.into() },
        _ => Error::Broken { registry, source: error.into() },
    }
}
