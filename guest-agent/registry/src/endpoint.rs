//! Where a registry is: mirrors and the Hub for `docker.io`, else the name itself.

use http::Uri;

use crate::auth::Credentials;
use crate::error::{Error, Result};
use crate::settings::{Mirror, Settings};

const HUB: &str = "docker.io";
const HUB_API: &str = "registry-1.docker.io";

/// How to speak with a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Http,
    /// HTTPS if it answers that, else HTTP: Docker's way with insecure registries.
    Either,
}

/// One place that serves the registry API.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// `host` or `host:port`.
    pub(crate) authority: String,
    pub(crate) scheme: Scheme,
    /// Before `/v2/`: empty or `/...` without a slash at the end.
    pub(crate) prefix: String,
    /// What to say there.
    pub(crate) credentials: Credentials,
}

impl Endpoint {
    fn named(settings: &Settings, domain: &str, credentials: Credentials) -> Self {
        let authority = if domain == HUB { HUB_API } else { domain };
        let insecure = settings.is_insecure(authority);
        Self {
            authority: authority.to_owned(),
            scheme: if insecure { Scheme::Either } else { Scheme::Https },
            prefix: String::new(),
            credentials,
        }
    }

    fn mirror(mirror: &Mirror) -> Result<Self> {
        let fail = |why: &str| Error::Setting {
            what: format!("mirror `{}`", mirror.url),
            why: why.to_owned(),
        };
        let uri: Uri = mirror.url.parse().map_err(|_| fail("it is not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            _ => return Err(fail("it must begin with `https://` or `http://`")),
        };
        let authority = uri.authority().ok_or_else(|| fail("it has no host"))?.as_str();
        if authority.contains('@') {
            return Err(fail("credentials do not belong into the URL"));
        }
        if uri.query().is_some() {
            return Err(fail("it must not have a query"));
        }
        Ok(Self {
            authority: authority.to_owned(),
            scheme,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            credentials: mirror.credentials.clone(),
        })
    }

    /// The URL of `path` (which follows `/v2/`).
    pub(crate) fn url(&self, scheme: Scheme, path: &str) -> String {
        let scheme = if scheme == Scheme::Http { "http" } else { "https" };
        format!("{scheme}://{}{}/v2/{path}", self.authority, self.prefix)
    }
}

/// The mirrors of the settings, up to the first whose word is final. With that one, nothing
/// else is asked, the Hub included.
#[derive(Debug)]
pub(crate) struct Mirrors {
    endpoints: Vec<Endpoint>,
    authoritative: bool,
}

impl Mirrors {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let mut mirrors = Self { endpoints: Vec::new(), authoritative: false };
        for mirror in &settings.mirrors {
            let endpoint = Endpoint::mirror(mirror)?;
            if !mirrors.authoritative {
                mirrors.endpoints.push(endpoint);
                mirrors.authoritative = mirror.authoritative;
            }
        }
        Ok(mirrors)
    }

    /// Whom to ask for something of this registry, in this order. Never empty.
    pub(crate) fn sources(
        &self,
        settings: &Settings,
        domain: &str,
        credentials: &Credentials,
    ) -> Vec<Endpoint> {
        if domain != HUB {
            return vec![Endpoint::named(settings, domain, credentials.clone())];
        }
        let mut all = self.endpoints.clone();
        if !self.authoritative {
            all.push(Endpoint::named(settings, domain, credentials.clone()));
        }
        all
    }

    /// Where something goes to: mirrors are for reading.
    pub(crate) fn target(settings: &Settings, domain: &str, credentials: &Credentials) -> Endpoint {
        Endpoint::named(settings, domain, credentials.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(url: &str, authoritative: bool) -> Mirror {
        Mirror { url: url.into(), authoritative, credentials: Credentials::Anonymous }
    }

    fn urls(mirrors: Vec<Mirror>, domain: &str) -> Vec<String> {
        let settings = Settings { mirrors, ..Settings::default() };
        let mirrors = Mirrors::new(&settings).unwrap();
        let sources = mirrors.sources(&settings, domain, &Credentials::Anonymous);
        sources.iter().map(|source| source.url(source.scheme, "x")).collect()
    }

    #[test]
    fn mirrors_are_asked_before_the_hub_and_an_authoritative_one_instead_of_it() {
        let two = || vec![mirror("http://a:5000/", false), mirror("https://b/hub/", false)];
        assert_eq!(
            urls(two(), "docker.io"),
            ["http://a:5000/v2/x", "https://b/hub/v2/x", "https://registry-1.docker.io/v2/x"]
        );
        assert_eq!(urls(two(), "quay.example"), ["https://quay.example/v2/x"]);
        let mut three = two();
        three.insert(1, mirror("http://final", true));
        assert_eq!(urls(three, "docker.io"), ["http://a:5000/v2/x", "http://final/v2/x"]);
    }

    #[test]
    fn a_mirror_that_is_no_url_is_refused() {
        for bad in ["a:5000", "ftp://a", "", "http://", "http://u:p@a", "http://a/?q=1"] {
            let settings = Settings { mirrors: vec![mirror(bad, false)], ..Settings::default() };
            assert!(matches!(Mirrors::new(&settings), Err(Error::Setting { .. })), "{bad}");
        }
    }
}
