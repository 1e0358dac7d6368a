//! Who asks: credentials, and the tokens that they are exchanged for.
//!
//! Follows the distribution project's token specification (token.md, oauth.md). Tokens live in
//! memory, for the client's lifetime at most.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Uri};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::endpoint::Endpoint;
use crate::error::{Error, Refusal, Result};
use crate::transport::{Transport, full};

/// What a user has shown at a registry's counter before.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Nothing.
    #[default]
    Anonymous,
    /// A user name and a password or access token.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// What `docker login` got in exchange for a password: OAuth 2's refresh token.
    IdentityToken(String),
    /// A token for the registry itself, sent as it is.
    RegistryToken(String),
}

/// Without the secrets: logs are read by others.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

impl Credentials {
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let Self::Password { username, password } = self else { return None };
        let pair = BASE64_STANDARD.encode(format!("{username}:{password}"));
        secret(&format!("Basic {pair}"))
    }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a request needs: `repository:library/busybox:pull`, ... Empty for none.
pub(crate) type Scopes = BTreeSet<String>;

/// A token is asked for again this long before it ends.
const MARGIN: Duration = Duration::from_secs(5);
/// The specification's default and least life of a token.
const LEAST_LIFE: u64 = 60;
/// Nobody's token answer is longer.
const MAX_ANSWER: usize = 1024 * 1024;
const CLIENT_ID: &str = "linkspan";

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    authority: String,
    credentials: Credentials,
    scopes: Scopes,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

/// What registries wanted, and the tokens that were got.
#[derive(Default)]
pub(crate) struct Authorizer {
    challenges: Mutex<HashMap<String, Challenge>>,
    tokens: Mutex<HashMap<Key, Token>>,
}

/// What a token server gave.
pub(crate) struct Exchanged {
    pub(crate) header: HeaderValue,
    until: Instant,
    pub(crate) identity_token: Option<String>,
}

impl Authorizer {
    /// What to send with a request, by what the registry wanted before. None when nothing is
    /// known to be wanted.
    pub(crate) async fn header(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>> {
        if let Credentials::RegistryToken(token) = &endpoint.credentials {
            return Ok(secret(&format!("Bearer {token}")));
        }
        let challenge = self.challenges.lock().get(&endpoint.authority).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(endpoint.credentials.basic()),
            Some(Challenge::Bearer { realm, service, .. }) => {
                let key = key(endpoint, scopes);
                if let Some(token) = self.tokens.lock().get(&key)
                    && token.until > Instant::now()
                {
                    return Ok(Some(token.header.clone()));
                }
                self.renew(transport, endpoint, key, &realm, &service, scopes).await.map(Some)
            }
        }
    }

    /// What to send after this refusal (401). An error if nothing else is left to try.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        scopes: &Scopes,
        challenge: Challenge,
    ) -> Result<Option<HeaderValue>> {
        self.challenges.lock().insert(endpoint.authority.clone(), challenge.clone());
        match challenge {
            Challenge::Basic => Ok(endpoint.credentials.basic()),
            Challenge::Bearer { realm, service, scopes: wanted } => {
                if matches!(endpoint.credentials, Credentials::RegistryToken(_)) {
                    return Ok(None);
                }
                let key = key(endpoint, scopes);
                // The registry knows better what it needs, and the mount knows a second one.
                let scopes = scopes.iter().cloned().chain(wanted).collect();
                self.renew(transport, endpoint, key, &realm, &service, &scopes).await.map(Some)
            }
        }
    }

    async fn renew(
        &self,
        transport: &Transport,
        endpoint: &Endpoint,
        key: Key,
        realm: &str,
        service: &str,
        scopes: &Scopes,
    ) -> Result<HeaderValue> {
        let got = exchange(transport, endpoint, realm, service, scopes, false).await?;
        let mut tokens = self.tokens.lock();
        tokens.retain(|_, token| token.until > Instant::now());
        tokens.insert(key, Token { header: got.header.clone(), until: got.until });
        Ok(got.header)
    }
}

fn key(endpoint: &Endpoint, scopes: &Scopes) -> Key {
    Key {
        authority: endpoint.authority.clone(),
        credentials: endpoint.credentials.clone(),
        scopes: scopes.clone(),
    }
}

/// Asks the token server. With `offline` also for an identity token.
pub(crate) async fn exchange(
    transport: &Transport,
    endpoint: &Endpoint,
    realm: &str,
    service: &str,
    scopes: &Scopes,
    offline: bool,
) -> Result<Exchanged> {
    let bad = |why: String| Error::protocol(&endpoint.authority, why);
    let uri: Uri =
        realm.parse().map_err(|_| bad(format!("its token realm `{realm}` is not a URL")))?;
    let host =
        uri.authority().ok_or_else(|| bad(format!("its token realm `{realm}` has no host")))?;
    let host = host.as_str().to_owned();
    let anonymous = matches!(endpoint.credentials, Credentials::Anonymous);
    if !anonymous && uri.scheme_str() != Some("https") && !transport.is_insecure(&host) {
        return Err(bad(format!("it wants the password sent to `{realm}`, without encryption")));
    }
    let request = token_request(endpoint, &uri, service, scopes, offline)
        .map_err(|error| bad(format!("its token realm `{realm}` cannot be asked: {error}")))?;
    let response = transport.send(&host, request, transport.stall()).await?;
    let status = response.status();
    let headers = response.headers().clone();
    let body = transport.read_all(&host, "the token", response, MAX_ANSWER).await?;
    if !status.is_success() {
        let refusal = Refusal::parse(status.as_u16(), &body, ("NOT_FOUND", "no token server"));
        let retry_after = crate::headers::retry_after(&headers, jiff::Timestamp::now());
        return Err(match status.as_u16() {
            401 | 403 => Error::Unauthorized { refusal },
            429 => Error::TooManyRequests { refusal, retry_after },
            status => Error::Refused { registry: host, status, refusal, retry_after },
        });
    }
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| Error::protocol(&host, format!("its token cannot be read: {error}")))?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Error::protocol(&host, "it gave no token"))?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or(0).clamp(LEAST_LIFE, 86_400));
    Ok(Exchanged {
        header: secret(&format!("Bearer {token}"))
            .ok_or_else(|| Error::protocol(&host, "its token is no header value"))?,
        until: Instant::now() + life - MARGIN,
        identity_token: answer.refresh_token.filter(|token| !token.is_empty()),
    })
}

fn token_request(
    endpoint: &Endpoint,
    realm: &Uri,
    service: &str,
    scopes: &Scopes,
    offline: bool,
) -> Result<http::Request<crate::transport::Body>, http::Error> {
    let mut form = Serializer::new(String::new());
    if !service.is_empty() {
        form.append_pair("service", service);
    }
    form.append_pair("client_id", CLIENT_ID);
    if let Credentials::IdentityToken(token) = &endpoint.credentials {
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("scope", &scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
        form.append_pair("refresh_token", token);
        return http::Request::builder()
            .method(Method::POST)
            .uri(realm)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(full(Bytes::from(form.finish())));
    }
    for scope in scopes {
        form.append_pair("scope", scope);
    }
    if let Credentials::Password { username, .. } = &endpoint.credentials {
        form.append_pair("account", username);
    }
    if offline {
        form.append_pair("offline_token", "true");
    }
    let separator = if realm.query().is_some() { '&' } else { '?' };
    let mut request = http::Request::builder().uri(format!("{realm}{separator}{}", form.finish()));
    if let Some(header) = endpoint.credentials.basic() {
        request = request.header(AUTHORIZATION, header);
    }
    request.body(full(Bytes::new()))
}
