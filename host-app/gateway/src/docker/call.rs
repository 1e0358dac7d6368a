//! One request: what it asks for, and the ways to answer it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, BodyStream, LengthLimitError, Limited};
use hyper::body::Incoming;
use linkspan_agent_client::{AgentChannel, RegistryCalls};
use linkspan_docker_types::{filters::Filters, json, time, version::ApiVersion};
use serde::de::DeserializeOwned;
use tokio_util::io::StreamReader;

use super::{Api, answer::Refusal, body::Wanted};

/// No request of Docker's is larger but the streams, which are not read whole.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// How long such a request may take to arrive. Nobody else holds what came of it for longer.
const BODY_TIME: Duration = Duration::from_secs(5 * 60);

/// A request, taken apart.
pub(super) struct Call {
    pub(super) api: Arc<Api>,
    pub(super) method: Method,
    pub(super) version: ApiVersion,
    names: HashMap<&'static str, String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Wanted,
}

impl Call {
    pub(super) fn new(
        api: Arc<Api>,
        version: ApiVersion,
        names: HashMap<&'static str, String>,
        parts: Parts,
        body: Incoming,
    ) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self {
            api,
            method: parts.method,
            version,
            names,
            query,
            headers: parts.headers,
            body: body.into(),
        }
    }

    /// The machine's agent; the machine is booted first when it does not run.
    pub(super) async fn agent(&self) -> Result<AgentChannel, Refusal> {
        Ok(self.api.engine.agent(&self.api.machine).await?)
    }

    /// The same for what goes to registries: the machine knows by then how they are reached.
    pub(super) async fn registries(&self) -> Result<RegistryCalls, Refusal> {
        Ok(self.api.engine.registry_agent(&self.api.machine).await?.registry())
    }

    /// A name in the path. Empty when the route has none of that name.
    pub(super) fn name(&self, key: &'static str) -> String {
        self.names.get(key).cloned().unwrap_or_default()
    }

    /// A parameter; empty when it is absent. Of several the first.
    pub(super) fn text(&self, key: &str) -> &str {
        let found = self.query.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A parameter that may be given several times.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let values = self.query.iter().filter(|(name, _)| name == key);
        values.map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.query.iter().any(|(name, _)| name == key)
    }

    /// A switch, as Docker reads it (`httputils.BoolValue`).
    pub(super) fn flag(&self, key: &str) -> bool {
        let value = self.text(key).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The same with a default for what is absent.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> bool {
        if self.has(key) { self.flag(key) } else { default }
    }

    /// A number; absent when it is absent or empty.
    ///
    /// # Errors
    /// When it is not one.
    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        let text = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        let bad = |_| Refusal::bad(format!("invalid parameter {key}: `{text}` is not a number"));
        text.parse().map(Some).map_err(bad)
    }

    /// A point in time, in nanoseconds since the Unix epoch; absent when it is absent or empty.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn moment(&self, key: &str) -> Result<Option<i64>, Refusal> {
        let text = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        let bad = |_| Refusal::bad(format!("invalid value for \"{key}\": {text}"));
        time::moment(text, jiff::Timestamp::now()).map(Some).map_err(bad)
    }

    /// # Errors
    /// When they cannot be read.
    pub(super) fn filters(&self) -> Result<Filters, Refusal> {
        Ok(Filters::read(self.text("filters"))?)
    }

    /// Whether the client asks for the connection itself.
    pub(super) fn upgrades(&self) -> bool {
        self.headers.contains_key(header::UPGRADE)
    }

    /// A header's text; empty when it is absent or none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it is larger than any request of Docker's, too slow, or breaks off.
    pub(super) async fn bytes(&mut self) -> Result<Bytes, Refusal> {
        let whole = Limited::new(&mut self.body, MAX_BODY).collect();
        let Ok(whole) = tokio::time::timeout(BODY_TIME, whole).await else {
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the body did not arrive within {} seconds", BODY_TIME.as_secs()),
            ));
        };
        match whole {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {MAX_BODY} bytes"),
            )),
            Err(error) => Err(Refusal::bad(format!("cannot read the body: {error}"))),
        }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it says to be something else, or is none of that type.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        let body = self.bytes().await?;
        let kind = self.header("content-type").to_owned();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !body.is_empty() && !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::bad(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        Ok(json::read(&body)?)
    }

    /// The same; nothing is the default.
    ///
    /// # Errors
    /// As [`Self::json`].
    pub(super) async fn json_or_default<T: DeserializeOwned + Default>(
        &mut self,
    ) -> Result<T, Refusal> {
        let body = self.bytes().await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            Ok(T::default())
        } else {
            Ok(json::read(&body)?)
        }
    }

    /// The body as it comes.
    pub(super) fn reader(self) -> impl tokio::io::AsyncBufRead + Send + Unpin {
        let chunks = BodyStream::new(self.body)
            .try_filter_map(|frame| async { Ok(frame.into_data().ok()) })
            .map_err(std::io::Error::other);
        StreamReader::new(Box::pin(chunks))
    }
}
