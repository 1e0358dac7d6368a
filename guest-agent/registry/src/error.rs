//! What can go wrong between here and a registry, in the words that Docker's users know.

use std::io;
use std::time::Duration;

use linkspan_images::{Digest, ReferenceError};
use serde::Deserialize;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of any kind, as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be used.
    #[error("{what}: {why}")]
    Setting {
        /// The setting with its value.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not an image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Not a platform.
    #[error("invalid platform `{text}`: {why}")]
    Platform {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The registry does not have it (404).
    #[error("{what} not found: {refusal}")]
    NotFound {
        /// `manifest for busybox:1`, `repository app`, `blob sha256:...`.
        what: String,
        /// What the registry said.
        refusal: Refusal,
    },
    /// The registry does not let this user see the repository, or it does not exist: many
    /// registries do not say which (401 or 403 with `DENIED`).
    #[error(
        "{action} access denied for {name}, repository does not exist or may require 'docker login': {refusal}"
    )]
    Denied {
        /// `pull` or `push`.
        action: &'static str,
        /// The repository in its familiar form.
        name: String,
        /// What the registry said.
        refusal: Refusal,
    },
    /// The registry wants to know who asks, or does not believe it (401).
    #[error("{refusal}")]
    Unauthorized {
        /// What the registry said.
        refusal: Refusal,
    },
    /// Too many requests (429), after the tries that the settings allow.
    #[error("{refusal}")]
    TooManyRequests {
        /// What the registry said.
        refusal: Refusal,
        /// For how long it wants no more.
        retry_after: Option<Duration>,
    },
    /// Any other status that is not success.
    #[error("registry `{registry}` answered {status}: {refusal}")]
    Refused {
        /// Its authority.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        refusal: Refusal,
        /// For how long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// No connection.
    #[error("cannot reach registry `{registry}`")]
    Unreachable {
        /// Its authority.
        registry: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// No trust: the certificate is not valid, or what answers does not speak TLS.
    #[error("cannot trust registry `{registry}`")]
    Tls {
        /// Its authority.
        registry: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// A connection ended early or was silent for too long.
    #[error("the connection to registry `{registry}` broke")]
    Broken {
        /// Its authority.
        registry: String,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// An answer that makes no sense by the distribution specification.
    #[error("registry `{registry}` gave a bad answer: {why}")]
    Protocol {
        /// Its authority.
        registry: String,
        /// What does not fit.
        why: String,
    },
    /// A blob or manifest is not what its descriptor says.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// `blob sha256:...`, `manifest for busybox:1`.
        what: String,
        /// What does not fit.
        why: String,
    },
    /// An index without an image for the platform.
    #[error("no matching manifest for {wanted} in the manifest list entries (it has {})", if has.is_empty() { "none".to_owned() } else { has.join(", ") })]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What the index lists.
        has: Vec<String>,
    },
    /// Well-formed, but not something that this client handles.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The thing.
        what: String,
        /// Why not.
        why: String,
    },
    /// The place where a blob goes to failed.
    #[error("cannot keep blob {digest}")]
    Sink {
        /// The blob.
        digest: Digest,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// The place where a blob comes from failed.
    #[error("cannot read blob {digest}")]
    Source {
        /// The blob.
        digest: Digest,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// The registry's own words: the first entry of `errors` in its answer (distribution
/// specification, "Error codes"), or what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `MANIFEST_UNKNOWN`, `DENIED`, ...; what the status means when the registry gave no code.
    pub code: String,
    /// For people.
    pub message: String,
    /// Anything, as JSON; empty without.
    pub detail: String,
}

/// `manifest unknown: manifest unknown`: code and message as Docker prints them.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.to_ascii_lowercase().replace('_', " ");
        if self.message.is_empty() {
            return f.write_str(&code);
        }
        write!(f, "{code}: {}", self.message)
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
    /// Token servers say `details` (or OAuth 2's `error_description`) instead.
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    detail: serde_json::Value,
}

/// Text of a server that goes to a terminal: one line, not endless, no control characters.
fn printable(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

impl Refusal {
    /// From the body of an answer that is not success.
    /// `missing` is what a 404 without words means.
    pub(crate) fn parse(status: u16, body: &[u8], missing: (&str, &str)) -> Self {
        let (code, message) = match status {
            401 => ("UNAUTHORIZED", "authentication required"),
            403 => ("DENIED", "requested access to the resource is denied"),
            404 => missing,
            429 => ("TOOMANYREQUESTS", "too many requests"),
            _ => ("UNKNOWN", "unknown error"),
        };
        let mut refusal =
            Self { code: code.into(), message: message.into(), detail: String::new() };
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return refusal };
        if let Some(entry) = body.errors.into_iter().next() {
            if let Some(code) = entry.code.as_str().filter(|code| !code.is_empty()) {
                refusal.code = printable(code);
                refusal.message = String::new();
            }
            if let Some(message) = entry.message {
                refusal.message = printable(&message);
            }
            if !entry.detail.is_null() {
                refusal.detail = printable(&entry.detail.to_string());
            }
        } else if let Some(details) = body.details.or(body.error_description) {
            refusal.message = printable(&details);
        }
        refusal
    }
}

impl Error {
    pub(crate) fn protocol(registry: &str, why: impl Into<String>) -> Self {
        Self::Protocol { registry: registry.to_owned(), why: why.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), why: why.into() }
    }

    /// May the same request succeed in a while?
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } | Self::Unreachable { .. } | Self::Broken { .. } => true,
            // 408, and the 5xx that are not about what was asked (RFC 9110, section 15).
            Self::Refused { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Refused { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: (&str, &str) = ("MANIFEST_UNKNOWN", "manifest unknown");

    #[test]
    fn a_refusal_is_worded_as_docker_words_it() {
        for (status, body, words) in [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
                "manifest unknown: manifest unknown",
            ),
            (
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}"#,
                "unauthorized: authentication required",
            ),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "unauthorized: incorrect username or password",
            ),
            (401, "<html>", "unauthorized: authentication required"),
            (404, "404 page not found", "manifest unknown: manifest unknown"),
            (403, "", "denied: requested access to the resource is denied"),
            (
                429,
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#,
                "toomanyrequests: You have reached your pull rate limit.",
            ),
            (429, "slow down", "toomanyrequests: too many requests"),
            (500, r#"{"errors":[{"code":7}]}"#, "unknown: unknown error"),
            (400, r#"{"errors":[{"code":"X","message":"a\u001b[2Jb\n"}]}"#, "x: a [2Jb"),
            (400, r#"{"errors":[]}"#, "unknown: unknown error"),
        ] {
            assert_eq!(Refusal::parse(status, body.as_bytes(), MISSING).to_string(), words);
        }
        let refusal =
            Refusal::parse(404, br#"{"errors":[{"code":"A","detail":{"Tag":"x"}}]}"#, MISSING);
        assert_eq!(refusal.detail, r#"{"Tag":"x"}"#);
    }
}
