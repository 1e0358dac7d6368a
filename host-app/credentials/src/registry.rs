//! Which registry a name means, and what Docker calls it in its configuration.

use std::fmt;

/// Docker Hub's key in `auths`: the address of its first interface, which nothing uses any more.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB: &str = "docker.io";
/// Other names of the Hub.
const HUBS: &[&str] = &["index.docker.io", "registry-1.docker.io"];

/// A registry: Docker Hub, or `host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registry(String);

impl Registry {
    /// That of an image's name or of a search term: what is before the first slash, unless it can
    /// be a user of the Hub (github.com/distribution/reference, `splitDockerDomain`).
    #[must_use]
    pub fn of_image(reference: &str) -> Self {
        match reference.split_once('/') {
            Some((first, _)) if is_host(first) => Self::named(first),
            _ => Self::named(HUB),
        }
    }

    /// The one that a user names in `login`, or a key in `auths`: a host, or a URL of whose path
    /// nothing counts. Empty: the Hub.
    #[must_use]
    pub fn of_server(server: &str) -> Self {
        let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
        match rest.split('/').next() {
            None | Some("") => Self::named(HUB),
            Some(host) => Self::named(host),
        }
    }

    fn named(host: &str) -> Self {
        Self(if HUBS.contains(&host) { HUB } else { host }.to_owned())
    }

    /// Whether it is Docker Hub.
    #[must_use]
    pub fn is_hub(&self) -> bool {
        self.0 == HUB
    }

    /// What `docker login` writes into `auths`, and what helpers know it by.
    #[must_use]
    pub fn key(&self) -> &str {
        if self.is_hub() { HUB_KEY } else { &self.0 }
    }

    /// `docker.io`, or `host[:port]`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_host(first: &str) -> bool {
    first.contains(['.', ':'])
        || first == "localhost"
        || first.chars().any(|letter| letter.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_host_is_the_hubs() {
        for (image, host) in [
            ("busybox", "docker.io"),
            ("busybox:1.36", "docker.io"),
            ("someone/app", "docker.io"),
            ("docker.io/library/busybox", "docker.io"),
            ("index.docker.io/a/b", "docker.io"),
            ("quay.io/a/b", "quay.io"),
            ("localhost/app", "localhost"),
            ("localhost:5000/app:1", "localhost:5000"),
            ("[::1]:5000/app", "[::1]:5000"),
            ("Capital/app", "Capital"),
        ] {
            assert_eq!(Registry::of_image(image).host(), host, "{image}");
        }
    }

    #[test]
    fn a_server_by_any_of_its_addresses_is_one_registry() {
        for server in ["", "docker.io", "index.docker.io", "https://index.docker.io/v1/"] {
            let hub = Registry::of_server(server);
            assert!(hub.is_hub(), "{server}");
            assert_eq!(hub.key(), "https://index.docker.io/v1/");
        }
        for server in ["r.example:5000", "https://r.example:5000", "http://r.example:5000/v2/"] {
            assert_eq!(Registry::of_server(server).key(), "r.example:5000", "{server}");
        }
    }
}
