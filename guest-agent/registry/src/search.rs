//! Searching, where a registry has that: the Hub's old `/v1/search`, which Docker uses. The
//! distribution specification knows no search.

use form_urlencoded::Serializer;
use http::{Method, Uri};
use serde::Deserialize;

use crate::auth::{Credentials, Scopes};
use crate::client::{Call, Client, Subject, Target};
use crate::endpoint::{Mirrors, Scheme};
use crate::error::{Error, Result};
use crate::login::named;
use crate::retry::Backoff;

/// The Hub answers searches here.
const HUB_INDEX: &str = "index.docker.io";
/// The Hub gives 100 results at most.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// `busybox`, `someone/app`.
    pub name: String,
    /// What its owner says of it.
    #[serde(default)]
    pub description: String,
    /// How many people like it.
    #[serde(default)]
    pub star_count: u64,
    /// Kept by the registry's owner.
    #[serde(default)]
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Found>,
}

impl Client {
    /// The repositories of a registry (`docker.io`) that fit a term, at most `limit`, in the
    /// registry's order.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the registry has no search.
    pub async fn search(
        &self,
        registry: &str,
        term: &str,
        limit: u32,
        credentials: Credentials,
    ) -> Result<Vec<Found>> {
        let reference = named(registry)?;
        let inner = &self.inner;
        let hub = reference.domain() == "docker.io";
        let host = if hub { HUB_INDEX } else { reference.domain() };
        let endpoint = Mirrors::target(&inner.settings, host, &credentials);
        let query = Serializer::new(String::new())
            .append_pair("q", term)
            .append_pair("n", &limit.to_string())
            .finish();
        let scheme = match inner.scheme(&endpoint).await? {
            Scheme::Http => "http",
            Scheme::Https | Scheme::Either => "https",
        };
        let uri: Uri = format!("{scheme}://{host}/v1/search?{query}")
            .parse()
            .map_err(|_| Error::protocol(host, "its search is no URL"))?;
        let subject = Subject {
            what: "search".into(),
            missing: ("UNSUPPORTED", "the registry has no search"),
            action: "search",
            reference: &reference,
        };
        let call = Call::new(Method::GET, Target::Url(&uri), Scopes::new());
        let backoff = Backoff::new(&inner.settings.retry);
        let response = match inner.ask(&endpoint, &call, &subject, backoff).await {
            Ok((_, response)) => response,
            Err(Error::NotFound { .. }) => {
                return Err(Error::Unsupported {
                    what: format!("search in `{registry}`"),
                    why: "the registry has none".into(),
                });
            }
            Err(error) => return Err(error),
        };
        let body = inner.transport.read_all(host, response, MAX_ANSWER).await?;
        let mut answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| Error::protocol(host, format!("its search result: {error}")))?;
        answer.results.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(answer.results)
    }
}
