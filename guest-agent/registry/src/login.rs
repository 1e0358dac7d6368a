//! Does a registry take these credentials?

use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Response, Uri};
use hyper::body::Incoming;
use linkspan_images::Reference;

use crate::auth::{Credentials, Scopes, exchange};
use crate::challenge::Challenge;
use crate::client::{Client, Inner, Subject, Target, request};
use crate::endpoint::{Endpoint, Mirrors};
use crate::error::{Error, Result};
use crate::transport::full;

impl Client {
    /// Shows credentials to a registry (`docker.io`, `localhost:5000`). What comes back is an
    /// identity token, if the registry gives one: keep that instead of the password.
    ///
    /// # Errors
    /// [`crate::Error::Unauthorized`] if the registry does not take them.
    pub async fn login(&self, registry: &str, credentials: Credentials) -> Result<Option<String>> {
        let reference = named(registry)?;
        let subject = Subject {
            what: format!("registry {registry}"),
            missing: ("NOT_FOUND", "no registry is there"),
            action: "login",
            reference: &reference,
        };
        let inner = &self.inner;
        let endpoint = Mirrors::target(&inner.settings, reference.domain(), &credentials);
        let uri = inner.url(&endpoint, &Target::Path("")).await?;
        let response = knock(inner, &endpoint, &uri, None).await?;
        let challenge = Challenge::from_headers(response.headers());
        let (header, identity_token) = match challenge {
            Some(challenge) if response.status() == 401 => match challenge {
                Challenge::Basic => (credentials.basic(), None),
                Challenge::Bearer { realm, service, scopes } => {
                    let scopes: Scopes = scopes.into_iter().collect();
                    let transport = &inner.transport;
                    let got =
                        exchange(transport, &endpoint, &realm, &service, &scopes, true).await?;
                    (Some(got.header), got.identity_token)
                }
            },
            // Success means that the registry does not ask who comes.
            _ => return inner.check(&endpoint, response, &subject).await.map(|_| None),
        };
        let response = knock(inner, &endpoint, &uri, header).await?;
        inner.check(&endpoint, response, &subject).await?;
        Ok(identity_token)
    }
}

/// Some repository of this registry, for its domain.
pub(crate) fn named(registry: &str) -> Result<Reference> {
    let reference = Reference::parse(&format!("{registry}/any/name"))?;
    // A name without a dot, a port or a capital would be a part of the path, in the Hub.
    if reference.path() != "any/name" {
        return Err(Error::Setting {
            what: format!("registry `{registry}`"),
            why: "it needs a dot or a port in its name, or to be `localhost`".into(),
        });
    }
    Ok(reference)
}

async fn knock(
    inner: &Inner,
    endpoint: &Endpoint,
    uri: &Uri,
    authorization: Option<HeaderValue>,
) -> Result<Response<Incoming>> {
    let mut headers = HeaderMap::new();
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, value);
    }
    let request = request(endpoint, Method::GET, uri, headers, full(Bytes::new()))?;
    inner.transport.send(&endpoint.authority, request, inner.transport.stall()).await
}
