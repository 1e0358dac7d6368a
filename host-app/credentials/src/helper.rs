//! Programs that keep secrets for Docker: `docker-credential-NAME get|store|erase`, a server or JSON
//! on standard input, JSON or a complaint on standard output.
//! Rule: <https://github.com/docker/docker-credential-helpers>, "Development".

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use linkspan_proto::v1::RegistryCredentials;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use crate::{CredentialError, Registry};

/// A keychain may ask its user to unlock it.
const DEADLINE: Duration = Duration::from_secs(60);
/// What every helper says when it does not know the server.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// As user name: the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// One helper, found.
#[derive(Debug)]
pub(crate) struct Helper {
    name: String,
    path: PathBuf,
    deadline: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// The helper of this name (`pass`, `osxkeychain`) in the folders of a `PATH`.
    pub(crate) fn find(name: &str, search_path: &OsStr) -> Option<Self> {
        let name = program(name);
        let path = find(&name, search_path)?;
        Some(Self { name, path, deadline: DEADLINE })
    }

    #[cfg(test)]
    pub(crate) fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// What it has for a registry.
    pub(crate) async fn get(
        &self,
        registry: &Registry,
    ) -> Result<Option<RegistryCredentials>, CredentialError> {
        let fail = |why: String| self.failed("get", registry, why);
        let answer = match self.run("get", registry, registry.key().as_bytes()).await? {
            Ok(answer) => answer,
            Err(why) if why == NOT_FOUND => return Ok(None),
            Err(why) => return Err(fail(why)),
        };
        // The error of the parser could quote the secret.
        let entry: Entry =
            serde_json::from_slice(&answer).map_err(|_| fail("its answer is no JSON".into()))?;
        let Entry { username, secret, .. } = entry;
        Ok(Some(if username == TOKEN_USER {
            RegistryCredentials { identity_token: secret, ..Default::default() }
        } else {
            RegistryCredentials { username, password: secret, ..Default::default() }
        }))
    }

    /// Gives it what to keep for a registry.
    pub(crate) async fn store(
        &self,
        registry: &Registry,
        credentials: &RegistryCredentials,
    ) -> Result<(), CredentialError> {
        let (username, secret) = match credentials.identity_token.as_str() {
            "" => (credentials.username.as_str(), credentials.password.as_str()),
            token => (TOKEN_USER, token),
        };
        let entry = Entry {
            server_url: registry.key().into(),
            username: username.into(),
            secret: secret.into(),
        };
        let fail = |why: String| self.failed("store", registry, why);
        let entry = serde_json::to_vec(&entry).map_err(|error| fail(error.to_string()))?;
        self.run("store", registry, &entry).await?.map(drop).map_err(fail)
    }

    /// Lets it forget a registry. That it did not know it is no failure.
    pub(crate) async fn erase(&self, registry: &Registry) -> Result<(), CredentialError> {
        match self.run("erase", registry, registry.key().as_bytes()).await? {
            Err(why) if why != NOT_FOUND => Err(self.failed("erase", registry, why)),
            _ => Ok(()),
        }
    }

    fn failed(&self, action: &'static str, registry: &Registry, why: String) -> CredentialError {
        let program = self.name.clone();
        CredentialError::Helper { program, action, registry: registry.key().into(), why }
    }

    /// Runs it. Inside: its standard output, or its complaint.
    async fn run(
        &self,
        action: &'static str,
        registry: &Registry,
        input: &[u8],
    ) -> Result<Result<Vec<u8>, String>, CredentialError> {
        let fail = |why: String| self.failed(action, registry, why);
        let mut child = Command::new(&self.path)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| fail(error.to_string()))?;
        let stdin = child.stdin.take();
        let work = async {
            if let Some(mut stdin) = stdin {
                // One that does not read its input still says why.
                let _ = stdin.write_all(input).await;
            }
            child.wait_with_output().await
        };
        let output = timeout(self.deadline, work)
            .await
            .map_err(|_| fail(format!("it took longer than {} s", self.deadline.as_secs_f64())))?
            .map_err(|error| fail(error.to_string()))?;
        if output.status.success() {
            return Ok(Ok(output.stdout));
        }
        // They complain on standard output; a script may do it on the other.
        let words = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let said = words.into_iter().find(|words| !words.is_empty());
        Ok(Err(said.unwrap_or_else(|| format!("it ended with {}", output.status))))
    }
}

/// The name of a helper's program.
pub(crate) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// A program in the folders of a `PATH`.
pub(crate) fn find(program: &str, search_path: &OsStr) -> Option<PathBuf> {
    // A name out of a file must not lead elsewhere.
    if Path::new(program).components().count() != 1 {
        return None;
    }
    let program = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(search_path)
        .map(|folder| folder.join(&program))
        .find(|candidate| candidate.is_file())
}
