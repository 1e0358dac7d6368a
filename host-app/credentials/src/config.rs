//! `~/.docker/config.json`: the part of it that is about credentials. The rest is kept as it is.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use linkspan_proto::v1::RegistryCredentials;
use serde::Serialize as _;
use serde_json::{Map, Value};

use crate::{
    CredentialError, Registry,
    helper::{self, Helper},
};

/// The variable that names another folder than `~/.docker`.
const FOLDER_VARIABLE: &str = "DOCKER_CONFIG";

/// Docker's configuration of one user. Read anew by each call: other tools change it too.
#[derive(Debug, Clone)]
pub struct DockerConfig {
    path: PathBuf,
    /// Where helpers are looked for: a `PATH`.
    search_path: OsString,
}

/// Where credentials were put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// By a credential helper.
    Helper,
    /// In this file, not encrypted.
    File(PathBuf),
}

impl DockerConfig {
    /// That of `DOCKER_CONFIG`, else `~/.docker/config.json`. The file need not exist.
    ///
    /// # Errors
    /// [`CredentialError::NoHome`].
    pub fn discover() -> Result<Self, CredentialError> {
        let named = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        let folder = match named {
            Some(folder) => PathBuf::from(folder),
            None => std::env::home_dir().ok_or(CredentialError::NoHome)?.join(".docker"),
        };
        Ok(Self::at(&folder, std::env::var_os("PATH").unwrap_or_default()))
    }

    /// That of a folder, with the helpers of a `PATH`.
    #[must_use]
    pub fn at(folder: &Path, search_path: OsString) -> Self {
        Self { path: folder.join("config.json"), search_path }
    }

    /// What this user has for a registry; `None`: nothing.
    ///
    /// # Errors
    /// A file that is malformed, a helper that fails.
    pub async fn get(
        &self,
        registry: &Registry,
    ) -> Result<Option<RegistryCredentials>, CredentialError> {
        let file = self.read().await?;
        let found = match self.helper(&file, registry)? {
            Some(helper) => helper.get(registry).await?,
            None => self.entry(&file, registry)?,
        };
        Ok(found.filter(|found| *found != RegistryCredentials::default()))
    }

    /// Keeps credentials for a registry, where Docker would.
    ///
    /// # Errors
    /// As [`Self::get`]; a file that cannot be written.
    pub async fn put(
        &self,
        registry: &Registry,
        credentials: &RegistryCredentials,
    ) -> Result<Kept, CredentialError> {
        let mut file = self.read().await?;
        let helper = self.helper(&file, registry)?;
        if let Some(helper) = &helper {
            helper.store(registry, credentials).await?;
        }
        // With a helper an empty entry stays, as Docker does it: it tells that there is a login.
        let entry = if helper.is_some() { Map::new() } else { encode(credentials) };
        if let Some(store) = self.default_store(&file) {
            file.insert("credsStore".into(), store.into());
        }
        let auths = file.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(auths) = auths else {
            return Err(self.malformed("`auths` is no object"));
        };
        auths.retain(|key, _| Registry::of_server(key) != *registry);
        auths.insert(registry.key().into(), Value::Object(entry));
        self.write(file).await?;
        Ok(if helper.is_some() { Kept::Helper } else { Kept::File(self.path.clone()) })
    }

    /// Forgets a registry. Nothing to forget is no failure.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn erase(&self, registry: &Registry) -> Result<(), CredentialError> {
        let mut file = self.read().await?;
        if let Some(helper) = self.helper(&file, registry)? {
            helper.erase(registry).await?;
        }
        let Some(Value::Object(auths)) = file.get_mut("auths") else { return Ok(()) };
        let before = auths.len();
        auths.retain(|key, _| Registry::of_server(key) != *registry);
        if auths.len() == before {
            return Ok(());
        }
        self.write(file).await
    }

    /// The helper for a registry; `None`: the file itself.
    fn helper(
        &self,
        file: &Map<String, Value>,
        registry: &Registry,
    ) -> Result<Option<Helper>, CredentialError> {
        let own = file
            .get("credHelpers")
            .and_then(Value::as_object)
            .and_then(|helpers| {
                helpers.iter().find(|(key, _)| Registry::of_server(key) == *registry)
            })
            .and_then(|(_, name)| name.as_str());
        let name = own.or_else(|| file.get("credsStore").and_then(Value::as_str));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let usual = self.default_store(file);
            return Ok(usual.and_then(|name| Helper::find(name, &self.search_path)));
        };
        let found = Helper::find(name, &self.search_path);
        found.map(Some).ok_or_else(|| CredentialError::NoHelper {
            program: helper::program(name),
            path: self.path.clone(),
        })
    }

    /// The system's keychain, for a configuration that has no credentials yet and says nothing
    /// about where to keep them. As Docker chooses it (docker/cli, `DetectDefaultStore`).
    fn default_store(&self, file: &Map<String, Value>) -> Option<&'static str> {
        let has = |key: &str| match file.get(key) {
            Some(Value::Object(entries)) => !entries.is_empty(),
            Some(Value::String(name)) => !name.is_empty(),
            _ => false,
        };
        if ["auths", "credsStore", "credHelpers"].into_iter().any(has) {
            return None;
        }
        let name = match std::env::consts::OS {
            "macos" => "osxkeychain",
            "windows" => "wincred",
            _ if helper::find("pass", &self.search_path).is_some() => "pass",
            _ => "secretservice",
        };
        Helper::find(name, &self.search_path).map(|_| name)
    }

    fn entry(
        &self,
        file: &Map<String, Value>,
        registry: &Registry,
    ) -> Result<Option<RegistryCredentials>, CredentialError> {
        let Some(Value::Object(auths)) = file.get("auths") else { return Ok(None) };
        // Older versions of Docker wrote other addresses of the same registry.
        let exact = auths.get_key_value(registry.key());
        let found =
            exact.or_else(|| auths.iter().find(|(key, _)| Registry::of_server(key) == *registry));
        let Some((key, entry)) = found else { return Ok(None) };
        let decoded = decode(entry);
        decoded.map(Some).ok_or_else(|| self.malformed(&format!("`auth` of `{key}` is invalid")))
    }

    async fn read(&self) -> Result<Map<String, Value>, CredentialError> {
        let text = match tokio::fs::read(&self.path).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(source) => return Err(CredentialError::Read { path: self.path.clone(), source }),
        };
        // Where, but not what: the parser's own words can quote a secret.
        serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            self.malformed(&format!("it is not a JSON object (line {line}, column {column})"))
        })
    }

    fn malformed(&self, why: &str) -> CredentialError {
        CredentialError::Malformed { path: self.path.clone(), why: why.into() }
    }

    async fn write(&self, file: Map<String, Value>) -> Result<(), CredentialError> {
        let failed = |source| CredentialError::Write { path: self.path.clone(), source };
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || replace(&path, &file))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)
    }
}

/// One entry of `auths`. `None`: `auth` is not what it should be.
fn decode(entry: &Value) -> Option<RegistryCredentials> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut credentials = RegistryCredentials {
        username: text("username"),
        password: text("password"),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
    };
    let auth = text("auth");
    if !auth.is_empty() {
        let pair = String::from_utf8(BASE64_STANDARD.decode(auth).ok()?).ok()?;
        let (username, password) = pair.split_once(':')?;
        credentials.username = username.into();
        // Docker once padded it.
        credentials.password = password.trim_matches('\0').into();
    }
    Some(credentials)
}

fn encode(credentials: &RegistryCredentials) -> Map<String, Value> {
    let RegistryCredentials { username, password, identity_token, registry_token } = credentials;
    let mut entry = Map::new();
    if !username.is_empty() || !password.is_empty() {
        let pair = BASE64_STANDARD.encode(format!("{username}:{password}"));
        entry.insert("auth".into(), pair.into());
    }
    for (key, value) in [("identitytoken", identity_token), ("registrytoken", registry_token)] {
        if !value.is_empty() {
            entry.insert(key.into(), value.as_str().into());
        }
    }
    entry
}

/// Replaces the file as a whole, readable by its owner alone. A link to it stays one.
fn replace(path: &Path, file: &Map<String, Value>) -> io::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Mode 0600 is tempfile's default; the rename keeps it.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    let mut text = Vec::new();
    // Indented as Docker does.
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    file.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    temporary.write_all(&text)?;
    temporary.as_file().sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests;
