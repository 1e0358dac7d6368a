//! `login`.

use std::io::{IsTerminal as _, Read as _, Write as _};

use clap::Args;
use linkspan_client::RegistryCalls;
use linkspan_credentials::{DockerConfig, Kept, Registry, RegistryCredentials};
use linkspan_proto::error::Failure;
use linkspan_proto::v1::{LoginRequest, LoginResponse};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Log in to a registry
///
/// The credentials are checked and then kept where Docker keeps them: by the credential helper that
/// `~/.docker/config.json` names, else in that file.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password or access token. Others can see it: use --password-stdin
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The registry. Docker Hub when not given
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Login {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let registry = Registry::of_server(self.server.as_deref().unwrap_or_default());
        let given = self.given()?;
        let config = DockerConfig::discover().map_err(Failure::from)?;
        let existing = config.get(&registry).await.map_err(Failure::from)?;
        let client = context.running().await?;
        let mut calls = client.registry(context.machine());
        if self.username.is_none()
            && given.is_none()
            && let Some(existing) = &existing
        {
            render::line("Authenticating with existing credentials...")?;
            match check(&mut calls, &registry, existing.clone()).await {
                Ok(answer) => return keep(&config, &registry, existing.clone(), answer).await,
                Err(error) => {
                    error.report(&mut std::io::stderr(), false);
                }
            }
        }
        let usual = existing.map(|existing| existing.username).unwrap_or_default();
        let username = match self.username {
            Some(username) => username,
            None => asked("Username", usual, true).await?,
        };
        let password = match given {
            Some(password) => password,
            None => asked("Password", String::new(), false).await?,
        };
        let credentials = RegistryCredentials { username, password, ..Default::default() };
        let answer = check(&mut calls, &registry, credentials.clone()).await?;
        keep(&config, &registry, credentials, answer).await
    }

    /// The password of the command line or of standard input.
    fn given(&self) -> Result<Option<String>, Error> {
        if self.password.is_some() && self.password_stdin {
            return Err(Error::invalid("--password and --password-stdin are mutually exclusive"));
        }
        if let Some(password) = &self.password {
            say!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            return Ok(Some(password.clone()));
        }
        if !self.password_stdin {
            return Ok(None);
        }
        if self.username.is_none() {
            return Err(Error::invalid("must provide --username with --password-stdin"));
        }
        let mut password = String::new();
        std::io::stdin()
            .read_to_string(&mut password)
            .map_err(|error| Error::invalid(format!("cannot read the password: {error}")))?;
        let line = password.strip_suffix('\n').unwrap_or(&password);
        Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
    }
}

async fn check(
    calls: &mut RegistryCalls,
    registry: &Registry,
    credentials: RegistryCredentials,
) -> Result<LoginResponse, Error> {
    let request = LoginRequest { server: registry.host().into(), credentials: Some(credentials) };
    Ok(calls.login(request).await?.into_inner())
}

/// Keeps what was found good. An identity token stands for the password, which is then not kept.
async fn keep(
    config: &DockerConfig,
    registry: &Registry,
    mut credentials: RegistryCredentials,
    answer: LoginResponse,
) -> Outcome {
    if !answer.identity_token.is_empty() {
        credentials.password = String::new();
        credentials.identity_token = answer.identity_token;
    }
    let kept = config.put(registry, &credentials).await.map_err(Failure::from)?;
    if let (Kept::File(path), false) = (kept, credentials.password.is_empty()) {
        say!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential \
             helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        );
    }
    render::line(&answer.status)?;
    Ok(0)
}

/// An answer of the person at the terminal; `usual` when it is empty.
async fn asked(what: &'static str, usual: String, visible: bool) -> Result<String, Error> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::invalid("cannot perform an interactive login from a non TTY device"));
    }
    let prompt = if usual.is_empty() { format!("{what}: ") } else { format!("{what} ({usual}): ") };
    let ask = move || {
        if !visible {
            return rpassword::prompt_password_with_config(prompt, terminal());
        }
        print!("{prompt}");
        std::io::stdout().flush()?;
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        Ok(line.trim().to_owned())
    };
    let answer = tokio::task::spawn_blocking(ask).await.map_err(std::io::Error::other).flatten();
    let answer =
        answer.map_err(|error| Error::invalid(format!("cannot ask for the {what}: {error}")))?;
    match (answer.is_empty(), usual.is_empty()) {
        (false, _) => Ok(answer),
        (true, false) => Ok(usual),
        (true, true) => Err(Error::invalid(format!("{} is required", what.to_lowercase()))),
    }
}

/// The terminal that standard input is, which need not be the one that the process belongs to.
fn terminal() -> rpassword::Config {
    let terminal = rpassword::ConfigBuilder::new().output_writer(std::io::stdout());
    if cfg!(unix) { terminal.input_file_path("/dev/stdin").build() } else { terminal.build() }
}
