//! Manifests: by tag, by digest, for a platform; whether they exist; putting them.

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use linkspan_images::{Digest, Platform, Reference};
use serde::Deserialize;

use crate::client::{Call, Repository, Target};
use crate::document::{ACCEPTED, Content, Descriptor, Document};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::headers;
use crate::platform;
use crate::retry::Backoff;

/// The distribution specification asks registries for at least this, and Docker's takes no more.
const MAX_MANIFEST: usize = 4 * 1024 * 1024;
const CONTENT_DIGEST: &str = "docker-content-digest";

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the reference named, if that was an index.
    pub index: Option<Document>,
    /// The manifest.
    pub manifest: Document,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first. A digest may occur more than once.
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// What follows `manifests/`.
fn suffix(reference: &Reference) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

impl Repository {
    /// The index or manifest that the reference names.
    pub async fn document(&self) -> Result<Document> {
        self.document_of(&self.reference).await
    }

    /// The index or manifest with this digest.
    pub async fn document_at(&self, digest: Digest) -> Result<Document> {
        self.document_of(&self.reference.at(digest)).await
    }

    async fn document_of(&self, of: &Reference) -> Result<Document> {
        let sources = self.sources();
        let mut result = Err(Error::protocol(of.domain(), "there is nobody to ask"));
        for (i, endpoint) in sources.iter().enumerate() {
            let last = i + 1 == sources.len();
            result = self.document_from(endpoint, of, last).await;
            match &result {
                Ok(_) => break,
                Err(error) if !last => {
                    tracing::info!(mirror = endpoint.authority, %error, "mirror is passed over");
                }
                Err(_) => {}
            }
        }
        result
    }

    async fn document_from(
        &self,
        endpoint: &Endpoint,
        of: &Reference,
        last: bool,
    ) -> Result<Document> {
        let subject = self.manifest_subject(of, "pull");
        let path = format!("{}/manifests/{}", of.path(), suffix(of));
        let call = Call::new(Method::GET, Target::Path(&path), self.scopes("pull"))
            .with(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let mut backoff = self.backoff(last);
        loop {
            let answer = self.inner.ask(endpoint, &call, &subject, self.backoff(last)).await?;
            let headers = answer.1.headers().clone();
            let transport = &self.inner.transport;
            match transport
                .read_all(&endpoint.authority, &subject.what, answer.1, MAX_MANIFEST)
                .await
            {
                Ok(bytes) => {
                    let media_type = headers::text(&headers, CONTENT_TYPE.as_str());
                    let document =
                        Document::parse(&subject.what, media_type.unwrap_or_default(), bytes)?;
                    let said = headers::text(&headers, CONTENT_DIGEST);
                    check_digest(&subject.what, &document, of, said)?;
                    return Ok(document);
                }
                Err(error) => self.inner.pause(endpoint, error, &mut backoff).await?,
            }
        }
    }

    /// Patience for the last that can be asked; the others have a substitute.
    pub(crate) fn backoff(&self, last: bool) -> Backoff<'_> {
        let retry = &self.inner.settings.retry;
        if last { Backoff::new(retry) } else { Backoff::once(retry) }
    }

    /// The image that the reference names, for a platform. Nothing of its blobs is fetched.
    pub async fn image(&self, wanted: &Platform) -> Result<Image> {
        let named = self.document().await?;
        let (index, manifest) = match &named.content {
            Content::Image { .. } => (None, named),
            Content::Index(entries) => {
                let entry = platform::choose(entries, wanted)?;
                let manifest = self.document_at(entry.digest).await?;
                if manifest.bytes.len() as u64 != entry.size {
                    return Err(Error::corrupt(
                        format!("manifest {}", entry.digest),
                        format!(
                            "it has {} bytes, and its index says {}",
                            manifest.bytes.len(),
                            entry.size
                        ),
                    ));
                }
                (Some(named), manifest)
            }
        };
        match manifest.content.clone() {
            Content::Image { config, layers } => Ok(Image { index, manifest, config, layers }),
            Content::Index(_) => Err(Error::Unsupported {
                what: format!("manifest {}", manifest.digest),
                why: "an index within an index".into(),
            }),
        }
    }

    /// What the reference names, without fetching it; None if the registry does not have it.
    pub async fn head(&self) -> Result<Option<Descriptor>> {
        let sources = self.sources();
        let mut result = Ok(None);
        for (i, endpoint) in sources.iter().enumerate() {
            let last = i + 1 == sources.len();
            result = self.head_at(endpoint, last).await;
            if matches!(result, Ok(Some(_))) {
                break;
            }
        }
        result
    }

    async fn head_at(&self, endpoint: &Endpoint, last: bool) -> Result<Option<Descriptor>> {
        let of = &self.reference;
        let path = format!("{}/manifests/{}", of.path(), suffix(of));
        let call = Call::new(Method::HEAD, Target::Path(&path), self.scopes("pull"))
            .with(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let subject = self.manifest_subject(of, "pull");
        let response = match self.inner.ask(endpoint, &call, &subject, self.backoff(last)).await {
            Ok((_, response)) => response,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let headers = response.headers();
        let digest = headers::text(headers, CONTENT_DIGEST).and_then(|text| text.parse().ok());
        let size = headers::text(headers, "content-length").and_then(|text| text.parse().ok());
        let (Some(digest), Some(size)) = (digest, size) else {
            // Both headers are optional; then only the manifest itself can tell.
            return match self.document_from(endpoint, of, last).await {
                Ok(document) => Ok(Some(document.descriptor())),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let media_type = headers::text(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
        Ok(Some(Descriptor::new(media_type, digest, size)))
    }

    /// Puts an index or manifest where the reference says: under its tag, or, with a digest or
    /// `by_digest`, under its digest alone. What it points to must be there.
    pub async fn put_manifest(
        &self,
        media_type: &str,
        bytes: Bytes,
        by_digest: bool,
    ) -> Result<Digest> {
        let digest = Digest::of(&bytes);
        if let Some(named) = self.reference.digest()
            && named != digest
        {
            return Err(Error::corrupt(
                format!("manifest for {}", self.reference.familiar()),
                format!("its digest is {digest}"),
            ));
        }
        let of = if by_digest { self.reference.at(digest) } else { self.reference.clone() };
        let endpoint = self.target();
        let subject = self.manifest_subject(&of, "push");
        let path = format!("{}/manifests/{}", of.path(), suffix(&of));
        let content_type = HeaderValue::from_str(media_type).map_err(|_| Error::Unsupported {
            what: subject.what.clone(),
            why: format!("`{media_type}` is no media type"),
        })?;
        let mut call = Call::new(Method::PUT, Target::Path(&path), self.scopes("pull,push"))
            .with(CONTENT_TYPE, content_type);
        call.body = bytes;
        let (_, response) = self.inner.ask(&endpoint, &call, &subject, self.backoff(true)).await?;
        let said = headers::text(response.headers(), CONTENT_DIGEST);
        match said {
            Some(said) if said != digest.to_string() => Err(Error::corrupt(
                subject.what,
                format!("its digest is {digest}, and the registry took it as {said}"),
            )),
            _ => Ok(digest),
        }
    }

    /// All tags of the repository, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let endpoint = self.target();
        let subject = self.manifest_subject(&self.reference, "pull");
        let path = format!("{}/tags/list", self.reference.path());
        let mut tags = Vec::new();
        let mut at = self.inner.url(&endpoint, &Target::Path(&path)).await?;
        // More pages than any repository has: a registry whose pages lead in circles.
        for _ in 0..10_000 {
            let call = Call::new(Method::GET, Target::Url(&at), self.scopes("pull"));
            let (uri, response) =
                self.inner.ask(&endpoint, &call, &subject, self.backoff(true)).await?;
            let next = headers::text(response.headers(), "link")
                .and_then(headers::next_link)
                .and_then(|link| headers::resolve(&uri, link));
            let authority = &endpoint.authority;
            let body = self
                .inner
                .transport
                .read_all(authority, "the list of tags", response, MAX_MANIFEST)
                .await?;
            let page: Tags = serde_json::from_slice(&body).map_err(|error| {
                Error::protocol(authority, format!("its list of tags: {error}"))
            })?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                None => return Ok(tags),
                Some(next) if next.authority() == at.authority() => at = next,
                Some(_) => return Err(Error::protocol(authority, "its tags lead elsewhere")),
            }
        }
        Err(Error::protocol(&endpoint.authority, "its list of tags has no end"))
    }
}

fn check_digest(what: &str, document: &Document, of: &Reference, said: Option<&str>) -> Result<()> {
    let is = document.digest;
    if let Some(named) = of.digest()
        && named != is
    {
        return Err(Error::corrupt(what, format!("its digest is {is}")));
    }
    // A digest of another algorithm is not ours to check.
    if let Some(said) = said.and_then(|said| said.parse::<Digest>().ok())
        && said != is
    {
        return Err(Error::corrupt(
            what,
            format!("its digest is {is}, and the registry says {said}"),
        ));
    }
    Ok(())
}
