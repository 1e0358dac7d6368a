//! What a registry wants before it answers: `WWW-Authenticate` (RFC 9110, section 11.6.1, and
//! the distribution project's token specification).

use http::header::{HeaderMap, WWW_AUTHENTICATE};
use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;

/// The way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token of this server.
    Bearer {
        realm: String,
        service: String,
        /// What the refused request needs.
        scopes: Vec<String>,
    },
    /// User name and password.
    Basic,
}

impl Challenge {
    /// The best that the headers offer.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            // Up to what cannot be read: other schemes need not look like parameters.
            for challenge in ChallengeParser::new(text).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(bearer) = Self::bearer(&challenge)
                {
                    return Some(bearer);
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }

    fn bearer(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let scope = parameter("scope").unwrap_or_default();
        Some(Self::Bearer {
            realm: parameter("realm").filter(|realm| !realm.is_empty())?,
            service: parameter("service").unwrap_or_default(),
            scopes: scope.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

/// Does a refusal say that the token is good, but not for this (RFC 6750, section 3.1)?
pub(crate) fn insufficient_scope(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).any(|text| {
        ChallengeParser::new(text).map_while(Result::ok).any(|challenge| {
            challenge.params.iter().any(|(name, value)| {
                name.eq_ignore_ascii_case("error") && value.to_unescaped() == "insufficient_scope"
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        Challenge::from_headers(&headers)
    }

    #[test]
    fn a_token_is_preferred_and_its_parameters_are_read() {
        let bearer = |service: &str, scopes: &[&str]| {
            Some(Challenge::Bearer {
                realm: "https://a.example/token".into(),
                service: service.into(),
                scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            })
        };
        for (values, challenge) in [
            (
                &[
                    r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull,push""#,
                ][..],
                bearer("r.example", &["repository:a/b:pull,push"]),
            ),
            (&[r#"bearer scope="a b", REALM="https://a.example/token""#], bearer("", &["a", "b"])),
            (
                &[r#"Basic realm="x", Bearer realm="https://a.example/token",service="s""#],
                bearer("s", &[]),
            ),
            (
                &[r#"Basic realm="x""#, r#"Bearer realm="https://a.example/token",service="s""#],
                bearer("s", &[]),
            ),
            (&["Basic realm=\"Registry Realm\""], Some(Challenge::Basic)),
            (&["Negotiate", "basic"], Some(Challenge::Basic)),
            (&[r#"Bearer service="no realm""#], None),
            (&["Negotiate"], None),
            (&["\"\"\"=,,=\\"], None),
            (&[], None),
        ] {
            assert_eq!(read(values), challenge, "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_challenge_panics(text in "(Bearer |Basic )?[ -~\t]{0,60}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.append(WWW_AUTHENTICATE, value);
            }
            let _ = (Challenge::from_headers(&headers), insufficient_scope(&headers));
        }
    }
}
