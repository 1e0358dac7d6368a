//! `--ssh`: the SSH agents of this host that commands of a build may reach. Each connection that a
//! command opens comes on a byte stream of its own and is connected here; what is said on it is not
//! looked into.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use linkspan_client::Client;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::SshWanted;
use tokio::io::copy_bidirectional;

use crate::error::Error;

/// Where the user's agent listens.
const VARIABLE: &str = "SSH_AUTH_SOCK";

/// Sockets by id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agents(BTreeMap<String, PathBuf>);

#[cfg(unix)]
async fn connect(socket: &Path) -> io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(socket).await
}

/// OpenSSH's agent for Windows listens on a named pipe.
#[cfg(windows)]
async fn connect(pipe: &Path) -> io::Result<tokio::net::windows::named_pipe::NamedPipeClient> {
    tokio::net::windows::named_pipe::ClientOptions::new().open(pipe)
}

/// Where an agent is, if nobody says.
fn usual() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| cfg!(windows).then(|| PathBuf::from(r"\\.\pipe\openssh-ssh-agent")))
}

impl Agents {
    /// What the flags say.
    ///
    /// # Errors
    /// A flag that names no agent.
    pub(super) fn parse(flags: &[String]) -> Result<Self, Error> {
        Self::parse_with(flags, usual)
    }

    fn parse_with(flags: &[String], usual: impl Fn() -> Option<PathBuf>) -> Result<Self, Error> {
        let mut agents = BTreeMap::new();
        for flag in flags {
            let bad = |why: &str| Error::invalid(format!("cannot use --ssh `{flag}`: {why}"));
            let (id, path) = match flag.split_once('=') {
                Some((id, path)) => (id, PathBuf::from(path)),
                None => (flag.as_str(), usual().ok_or_else(|| bad("SSH_AUTH_SOCK is not set"))?),
            };
            if id.is_empty() {
                return Err(bad("it is default or ID[=SOCKET]"));
            }
            check(&path).map_err(|why| bad(&why))?;
            if agents.insert(id.to_owned(), path).is_some() {
                return Err(bad("there is one of that id before"));
            }
        }
        Ok(Self(agents))
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Connects a byte stream of a command's with the agent that it wants. Answers what carries it,
    /// or why the agent cannot be reached: the command then finds its connection closed.
    ///
    /// # Errors
    /// When the machine asks for what it was not offered, or cannot be reached.
    pub(super) async fn connect(
        &self,
        client: &Client,
        machine: Option<&str>,
        wanted: &SshWanted,
    ) -> Result<Result<impl Future<Output = ()> + Send + use<>, String>, Error> {
        let Some(socket) = self.0.get(&wanted.id) else {
            let what = format!("the machine asked for the SSH agent `{}`", wanted.id);
            return Err(Failure::new(ErrorCode::Internal, what).into());
        };
        let bad = |_| Error::invalid("the machine named no byte stream");
        let id = wanted.stream_id.parse::<uuid::Uuid>().map_err(bad)?;
        let near = connect(socket).await;
        let mut far = client.duplex(machine, id).await?;
        Ok(match near {
            Ok(mut near) => Ok(async move {
                if let Err(error) = copy_bidirectional(&mut near, &mut far).await {
                    tracing::debug!(%error, "a connection to the SSH agent broke off");
                }
            }),
            Err(error) => {
                Err(format!("cannot connect to the SSH agent `{}`: {error}", socket.display()))
            }
        })
    }
}

/// Whether there can be an agent.
#[cfg(unix)]
fn check(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt as _;
    let found = path.metadata().map_err(|error| format!("`{}`: {error}", path.display()))?;
    if found.file_type().is_socket() {
        return Ok(());
    }
    Err(format!(
        "`{}` is no socket: keys are used through an agent, which `ssh-add` gives them to",
        path.display()
    ))
}

/// A pipe is found when it is opened; what is a file now is a key.
#[cfg(not(unix))]
fn check(path: &Path) -> Result<(), String> {
    if path.is_file() {
        return Err(format!(
            "`{}` is no pipe: keys are used through an agent, which `ssh-add` gives them to",
            path.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(flag: &str, usual: Option<&Path>) -> String {
        let parsed = Agents::parse_with(&[flag.to_owned()], || usual.map(Path::to_owned));
        let Err(Error::Failure(failure)) = parsed else { panic!("{flag}: {parsed:?}") };
        failure.message
    }

    #[test]
    #[cfg(unix)]
    fn an_agent_is_a_socket_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let named = format!("work={}", socket.display());
        let agents =
            Agents::parse_with(&["default".into(), named.clone()], || Some(socket.clone()))
                .unwrap();
        assert_eq!(agents.ids(), ["default", "work"]);
        assert!(Agents::parse_with(&[named.clone(), named], || None).is_err());
        let key = folder.path().join("id_ed25519");
        std::fs::write(&key, "").unwrap();
        assert!(words(&format!("default={}", key.display()), None).contains("ssh-add"));
        assert!(words("default=/no/such/socket", None).contains("/no/such/socket"));
        assert!(words("default", None).contains("SSH_AUTH_SOCK"));
        assert!(words("=x", None).contains("ID"));
    }
}
