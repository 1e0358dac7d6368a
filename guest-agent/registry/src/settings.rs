//! What a client is told: mirrors, insecure registries, proxies, certificates, patience.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::auth::Credentials;
use crate::error::{Error, Result};

/// The settings of a [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Asked in this order for images of `docker.io`, before the Hub itself.
    pub mirrors: Vec<Mirror>,
    /// Registries whose certificate is not checked and that may speak plain HTTP, beyond
    /// `localhost`, 127.0.0.0/8, `::1` and [`Self::loopback_at`].
    pub insecure: Vec<Insecure>,
    /// Where loopback addresses lead. In a virtual machine `localhost:5000` means the host's
    /// loopback, and this is the host's address as the machine sees it.
    pub loopback_at: Option<IpAddr>,
    /// The proxies.
    pub proxies: Proxies,
    /// Certificate authorities in PEM, trusted beyond those of Mozilla's list. A text may hold
    /// several.
    pub authorities: Vec<String>,
    /// What happens after failures that may pass.
    pub retry: Retry,
    /// How long silence is borne.
    pub timeouts: Timeouts,
    /// Blobs that are downloaded at once.
    pub parallel_downloads: usize,
    /// Blobs that are uploaded at once.
    pub parallel_uploads: usize,
    /// Blobs are uploaded in pieces of this many bytes, so that a broken connection costs one
    /// piece. Without it, or when a blob is smaller, a blob is one request: every registry
    /// takes that.
    pub upload_chunk: Option<u64>,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            loopback_at: None,
            proxies: Proxies::default(),
            authorities: Vec::new(),
            retry: Retry::default(),
            timeouts: Timeouts::default(),
            // Docker's `max-concurrent-downloads` and `max-concurrent-uploads`.
            parallel_downloads: 3,
            parallel_uploads: 5,
            upload_chunk: None,
            user_agent: concat!("linkspan/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A mirror of `docker.io`.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// `https://mirror.example` or `http://host:5000/prefix`, as in Docker's `registry-mirrors`.
    pub url: String,
    /// Its word is final: what it does not have does not exist, and nothing is asked elsewhere.
    pub authoritative: bool,
    /// Its own. The Hub's are never sent to a mirror.
    pub credentials: Credentials,
}

/// The proxies, each as in the environment variable of the name. `localhost` and loopback
/// addresses are never reached through one.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// `http_proxy`: for plain HTTP.
    pub http: Option<String>,
    /// `https_proxy`: for HTTPS.
    pub https: Option<String>,
    /// `no_proxy`: hosts, domains and networks, separated by commas.
    pub no_proxy: Option<String>,
}

/// How often and how fast something is tried again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Tries in a row without a byte of progress, the first included.
    pub attempts: u32,
    /// Up to this long before the second try; doubled with each further one.
    pub first_wait: Duration,
    /// The longest wait. A registry that asks for a longer one (`Retry-After`) is not waited for.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// How long nothing may happen.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For each address, until the connection stands, TLS included.
    pub connect: Duration,
    /// Until the next byte comes or is taken.
    pub stall: Duration,
    /// Until a registry has answered a whole upload: it may copy the blob first.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            commit: Duration::from_secs(300),
        }
    }
}

/// One registry, or all within a network, that may be insecure. A network matches registries
/// that are named by address: an answer from a name server must not turn certificates off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insecure {
    /// `host` (any port) or `host:port`.
    Host(String),
    /// `10.1.0.0/16`.
    Network(IpNet),
}

impl FromStr for Insecure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        if text.is_empty() || text.contains('/') || text.contains(char::is_whitespace) {
            return Err(Error::Setting {
                what: format!("insecure registry `{text}`"),
                why: "it needs the form `host`, `host:port` or `address/bits`".into(),
            });
        }
        Ok(Self::Host(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => f.write_str(host),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Settings {
    /// May this registry have a bad certificate or none? `authority` is `host` or `host:port`.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let host = host_of(&authority);
        let address = host.parse::<IpAddr>().ok();
        if is_loopback(host) || (address.is_some() && address == self.loopback_at) {
            return true;
        }
        self.insecure.iter().any(|rule| match rule {
            Insecure::Host(name) => *name == authority || name == host,
            Insecure::Network(network) => address.is_some_and(|a| network.contains(&a)),
        })
    }
}

/// The host of `host:port` or `[address]:port`, without brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(host, _)| host);
    }
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

/// `localhost` (RFC 6761, section 6.3) or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_hosts_address_may_be_insecure_and_others_by_setting() {
        let settings = Settings {
            loopback_at: Some("10.0.2.2".parse().unwrap()),
            insecure: ["lab.example", "one.example:5000", "10.1.0.0/16", "fd00::/8"]
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            ..Settings::default()
        };
        for yes in [
            "localhost:5000",
            "LOCALHOST",
            "127.9.9.9",
            "[::1]:5000",
            "10.0.2.2:5000",
            "lab.example",
            "lab.example:81",
            "one.example:5000",
            "10.1.2.3:5000",
            "[fd00::1]:5000",
        ] {
            assert!(settings.is_insecure(yes), "{yes}");
        }
        for no in
            ["docker.io", "one.example", "10.0.2.3", "10.2.0.1", "localhost.example", "128.0.0.1"]
        {
            assert!(!settings.is_insecure(no), "{no}");
        }
        assert!(!Settings::default().is_insecure("10.0.2.2:5000"));
        assert!("http://x".parse::<Insecure>().is_err());
        assert!("".parse::<Insecure>().is_err());
    }
}
