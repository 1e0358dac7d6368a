//! Image references: `[domain/]path[:tag][@digest]`, by Docker's rules.
//!
//! The grammar is that of the distribution project (`reference/reference.go`, `normalize.go`):
//! a first component without `.`, `:` and capitals that is not `localhost` belongs to the path; no
//! domain means `docker.io`; one path component there means `library/`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// `RepositoryNameTotalLengthMax` of the distribution project.
const MAX_PATH: usize = 255;
/// The reference grammar: `[\w][\w.-]{0,127}`.
const MAX_TAG: usize = 128;

/// A parsed reference: always with its domain, never without being valid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference `{text}`: {why}")]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Reference {
    /// Parses what people type. Adds the domain, not the tag.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let fail = |why: &str| ReferenceError { text: text.to_owned(), why: why.to_owned() };
        if text.is_empty() {
            return Err(fail("it is empty"));
        }
        // A full id would otherwise read as a name in the official library.
        if Digest::from_hex(text).is_ok() {
            return Err(fail("64 hexadecimal digits are an image id, not a name"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse::<Digest>().map_err(|error| fail(&error.to_string()))?))
            }
            None => (text, None),
        };
        // A colon before the last slash belongs to the domain's port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].split_once(':') {
            Some((last, tag)) => (&rest[..name_end + last.len()], Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag).map_err(|why| fail(&why))?;
        }
        let (domain, path) = split_domain(name);
        check_domain(&domain).map_err(|why| fail(&why))?;
        check_path(&path).map_err(|why| fail(&why))?;
        Ok(Self { domain, path, tag: tag.map(str::to_owned), digest })
    }

    /// The registry: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, if one was given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Domain and path: `docker.io/library/busybox`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The same with the tag `latest`, unless it has a tag or a digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository by digest, without a tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            domain: self.domain.clone(),
            path: self.path.clone(),
            tag: None,
            digest: Some(digest),
        }
    }

    /// The repository as people write it: `busybox`, `localhost:5000/app`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people write it: `busybox:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

/// `splitDockerDomain` of the distribution project.
fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn check_domain(domain: &str) -> Result<(), String> {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if !address.bytes().all(|c| c.is_ascii_hexdigit() || c == b':') || address.is_empty() {
                return Err(format!("`[{address}]` is not an IPv6 address"));
            }
            (None, rest.strip_prefix(':').or((!rest.is_empty()).then_some("x")))
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    if let Some(port) = port
        && (port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()))
    {
        return Err(format!("`{domain}` has no valid port"));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match host {
        Some(host) if !host.split('.').all(label) => Err(format!("`{domain}` is not a host name")),
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.len() > MAX_PATH {
        return Err(format!("the repository name is longer than {MAX_PATH} characters"));
    }
    if path.bytes().any(|c| c.is_ascii_uppercase()) {
        return Err("the repository name must be lower case".to_owned());
    }
    for component in path.split('/') {
        if !is_path_component(component) {
            return Err(format!(
                "`{component}` is not a name: a-z and 0-9, separated by `.`, `_`, `__` or `-`"
            ));
        }
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(|c| alphanumeric(*c))
        || !bytes.last().is_some_and(|c| alphanumeric(*c))
    {
        return false;
    }
    bytes.split(|c| alphanumeric(*c)).filter(|separator| !separator.is_empty()).all(|separator| {
        matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|c| *c == b'-')
    })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let valid = tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|c| word(c) || c == b'.' || c == b'-');
    if valid {
        return Ok(());
    }
    Err(format!(
        "`{tag}` is not a tag: up to {MAX_TAG} letters, digits, `_`, `.`, `-`, not beginning with `.` or `-`"
    ))
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// The whole reference with its domain, as it is stored.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("linkspan/hello", "docker.io/linkspan/hello:latest", "linkspan/hello:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a/b:T", "localhost:5000/a/b:T", "localhost:5000/a/b:T"),
            ("ghcr.io/o/p", "ghcr.io/o/p:latest", "ghcr.io/o/p:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("Registry/a", "Registry/a:latest", "Registry/a:latest"),
            ("a__b/c.d-e--f_g", "docker.io/a__b/c.d-e--f_g:latest", "a__b/c.d-e--f_g:latest"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ] {
            let reference = Reference::parse(text).unwrap().with_default_tag();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(
                Reference::parse(full).unwrap(),
                reference,
                "the full form parses to itself"
            );
            assert_eq!(Reference::parse(familiar).unwrap(), reference, "and so does the familiar");
        }
    }

    #[test]
    fn a_digest_takes_the_place_of_the_default_tag() {
        let reference = Reference::parse(&format!("busybox@{D}")).unwrap().with_default_tag();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.familiar(), format!("busybox@{D}"));
        let both = Reference::parse(&format!("localhost:5000/busybox:1@{D}")).unwrap();
        assert_eq!((both.tag(), both.digest()), (Some("1"), Some(D.parse().unwrap())));
    }

    #[test]
    fn what_is_not_a_reference_is_refused_with_the_reason() {
        let long_tag = format!("a:{}", "t".repeat(129));
        let long_path = "p/".repeat(128) + "p";
        for (text, why) in [
            ("", "empty"),
            ("Busybox", "lower case"),
            ("a/B", "lower case"),
            (":tag", "not a name"),
            ("a:", "not a tag"),
            ("a:.x", "not a tag"),
            ("a:-x", "not a tag"),
            ("a:x y", "not a tag"),
            (long_tag.as_str(), "not a tag"),
            (long_path.as_str(), "longer than"),
            ("a//b", "not a name"),
            ("/a", "not a name"),
            ("a/", "not a name"),
            ("a_", "not a name"),
            ("a..b", "not a name"),
            ("a___b", "not a name"),
            ("../a", "host name"),
            ("a@sha256:12", "64 hexadecimal"),
            ("a@md5:12", "only sha256"),
            ("host:port/a", "port"),
            ("host:/a", "port"),
            ("-x.y/a", "host name"),
            ("[zz]/a", "not a name"),
            (&D[7..], "image id"),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert!(error.why.contains(why), "{text}: {}", error.why);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_parses_prints_to_itself(text in "[a-zA-Z0-9:/@._\\-\\[\\]é]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                proptest::prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                proptest::prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }
    }
}
