//! Headers that carry JSON: credentials to us, what is at a path from us.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD as BASE64};
use linkspan_proto::v1::{LoginRequest, PathStat, RegistryCredentials};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::Malformed;
use crate::{json, time};

/// The credentials for one registry, base64 of an [`AuthConfig`] in the alphabet of URLs.
pub const REGISTRY_AUTH: &str = "X-Registry-Auth";
/// The credentials of a build, an object of them by registry.
pub const REGISTRY_CONFIG: &str = "X-Registry-Config";
/// What is at a path of a container, base64 of JSON.
pub const PATH_STAT: &str = "x-docker-container-path-stat";

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

/// `registry.AuthConfig`: also the body of `POST /auth`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct AuthConfig {
    pub username: String,
    pub password: String,
    /// base64 of `NAME:PASSWORD`, instead of both.
    pub auth: String,
    pub serveraddress: String,
    pub identitytoken: String,
    pub registrytoken: String,
}

/// Without the secrets.
impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("serveraddress", &self.serveraddress)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// As the wire has it; none when nothing is said: the registry is asked as anybody then.
    #[must_use]
    pub fn credentials(&self) -> Option<RegistryCredentials> {
        let (mut username, mut password) = (self.username.clone(), self.password.clone());
        let pair = PLAIN.decode(&self.auth).ok().and_then(|pair| String::from_utf8(pair).ok());
        if let (true, Some((name, secret))) =
            (username.is_empty(), pair.as_ref().and_then(|pair| pair.split_once(':')))
        {
            name.clone_into(&mut username);
            secret.trim_end_matches('\0').clone_into(&mut password);
        }
        let credentials = RegistryCredentials {
            username,
            password,
            identity_token: self.identitytoken.clone(),
            registry_token: self.registrytoken.clone(),
        };
        (credentials != RegistryCredentials::default()).then_some(credentials)
    }

    /// `POST /auth`
    #[must_use]
    pub fn login(&self) -> LoginRequest {
        LoginRequest { server: self.serveraddress.clone(), credentials: self.credentials() }
    }
}

/// The credentials of `X-Registry-Auth`; an empty header has none.
///
/// # Errors
/// When it is not base64 of JSON.
pub fn registry_auth(value: &str) -> Result<Option<RegistryCredentials>, Malformed> {
    Ok(decode::<AuthConfig>(REGISTRY_AUTH, value)?.credentials())
}

/// The credentials of `X-Registry-Config` by registry.
///
/// # Errors
/// As [`registry_auth`].
pub fn registry_config(value: &str) -> Result<BTreeMap<String, RegistryCredentials>, Malformed> {
    let all: BTreeMap<String, AuthConfig> = decode(REGISTRY_CONFIG, value)?;
    Ok(all.into_iter().filter_map(|(server, auth)| Some((server, auth.credentials()?))).collect())
}

fn decode<T: DeserializeOwned + Default>(name: &'static str, value: &str) -> Result<T, Malformed> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(T::default());
    }
    let bad = |why: String| Malformed::Header { name, why };
    // Some clients use the other alphabet.
    let bytes = URL.decode(value).or_else(|_| PLAIN.decode(value));
    let bytes = bytes.map_err(|error| bad(error.to_string()))?;
    json::read(&bytes).map_err(|error| bad(error.to_string()))
}

/// The value of `X-Docker-Container-Path-Stat`.
#[must_use]
pub fn path_stat(stat: &PathStat) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Stat<'a> {
        name: &'a str,
        size: u64,
        mode: u32,
        mtime: String,
        link_target: &'a str,
    }
    let stat = Stat {
        name: &stat.name,
        size: stat.size_bytes,
        mode: go_mode(stat.mode),
        mtime: time::rfc3339(stat.modified_unix_nanos),
        link_target: &stat.link_target,
    };
    BASE64.encode(serde_json::to_vec(&stat).unwrap_or_default())
}

/// `st_mode` (inode(7)) as Go's `os.FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        0o020_000 => 1 << 26 | 1 << 21,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go);
    special.fold(kind | (mode & 0o777), |all, go| all | go)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn credentials_are_read_in_all_their_forms() {
        let user = |name: &str, password: &str| RegistryCredentials {
            username: name.into(),
            password: password.into(),
            ..RegistryCredentials::default()
        };
        // Contains what the two alphabets differ in.
        let body = json!({"username": "a", "password": "~~~???", "serveraddress": "x"}).to_string();
        for text in [URL.encode(&body), PLAIN.encode(&body), URL.encode(&body).replace('=', "")] {
            assert_eq!(registry_auth(&text), Ok(Some(user("a", "~~~???"))), "{text}");
        }
        let pair = json!({"auth": BASE64.encode("a:b:c")}).to_string();
        assert_eq!(registry_auth(&URL.encode(pair)), Ok(Some(user("a", "b:c"))));
        let token = URL.encode(r#"{"identitytoken":"t"}"#);
        assert_eq!(registry_auth(&token).unwrap().unwrap().identity_token, "t");
        for none in ["", "e30=", "e30", "bnVsbA=="] {
            assert_eq!(registry_auth(none), Ok(None), "{none}");
        }
        for wrong in ["%", "e3", "W10="] {
            assert!(registry_auth(wrong).is_err(), "{wrong}");
        }
        let all = json!({"r:5000": {"username": "a", "password": "b"}, "empty": {}}).to_string();
        let all = registry_config(&URL.encode(all)).unwrap();
        assert_eq!(all, BTreeMap::from([("r:5000".to_owned(), user("a", "b"))]));
    }

    #[test]
    fn secrets_are_not_printed() {
        let auth = AuthConfig { password: "secret".into(), ..AuthConfig::default() };
        assert!(!format!("{auth:?}").contains("secret"));
    }

    #[test]
    fn what_is_at_a_path_has_gos_mode() {
        let shown = |mode: u32| -> Value {
            let stat = PathStat { name: "x".into(), mode, ..PathStat::default() };
            serde_json::from_slice(&BASE64.decode(path_stat(&stat)).unwrap()).unwrap()
        };
        assert_eq!(
            shown(0o100_644),
            json!({"name": "x", "size": 0, "mode": 420, "mtime": time::ZERO, "linkTarget": ""})
        );
        assert_eq!(shown(0o040_755)["mode"], 2_147_484_141_u32);
        assert_eq!(shown(0o041_777)["mode"], 2_147_484_159_u32 | 1 << 20);
        assert_eq!(shown(0o120_777)["mode"], 134_218_239);
    }
}
