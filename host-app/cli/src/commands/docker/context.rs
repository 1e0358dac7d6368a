//! `docker context`: an entry in Docker's own configuration, in the files and the shape that the
//! docker CLI keeps (`github.com/docker/cli/cli/context/store`):
//!
//! ```text
//! ~/.docker/config.json                              {"currentContext": "NAME", ...}
//! ~/.docker/contexts/meta/SHA256-OF-NAME/meta.json   {"Name": ..., "Metadata": ..., "Endpoints": ...}
//! ```
//!
//! These files are the user's: nothing is written unless asked for, nothing else in them changes.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use linkspan_proto::error::{ErrorCode, Failure};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{host, run};
use crate::commands::confirm::confirm;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// What the context is called.
const NAME: &str = "linkspan";

#[derive(Debug, Args)]
pub(crate) struct ContextCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write the docker context `linkspan`
    Install(Install),
    /// Make Docker's tools use the context `linkspan` unless told otherwise
    Use(Agreed),
    /// Remove the docker context `linkspan`
    #[command(visible_alias = "rm")]
    Remove(Agreed),
    /// All other words go to the docker CLI
    #[command(external_subcommand)]
    Docker(Vec<OsString>),
}

#[derive(Debug, Args)]
struct Install {
    /// And make Docker's tools use it
    #[arg(long = "use")]
    use_it: bool,
    #[command(flatten)]
    agreed: Agreed,
}

#[derive(Debug, Args)]
struct Agreed {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Agreed {
    fn ask(&self, what: &str) -> Result<(), Error> {
        if self.yes || confirm(what) { Ok(()) } else { Err(Error::Exit(1)) }
    }
}

impl ContextCommand {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Docker(args) => {
                let all: Vec<_> = std::iter::once("context".into()).chain(args).collect();
                return run::run(&context, &all).await;
            }
            Verb::Install(verb) => {
                let files = Files::discover()?;
                let host = host(&context).await?;
                let also = if verb.use_it { " and makes it the one in use" } else { "" };
                verb.agreed.ask(&format!(
                    "This writes the docker context `{NAME}` ({host}) to `{}`{also}.",
                    files.folder.display()
                ))?;
                files.install(&host)?;
                if verb.use_it {
                    files.set_current(Some(NAME))?;
                }
            }
            Verb::Use(agreed) => {
                let files = Files::discover()?;
                if !files.meta().exists() {
                    let message = format!("there is no docker context `{NAME}` yet");
                    return Err(Failure::new(ErrorCode::NotFound, message)
                        .hint("write it with `linkspan docker context install --use`")
                        .into());
                }
                agreed.ask(&format!(
                    "This makes `{NAME}` the current context in `{}`.",
                    files.config().display()
                ))?;
                files.set_current(Some(NAME))?;
            }
            Verb::Remove(agreed) => {
                let files = Files::discover()?;
                agreed.ask(&format!(
                    "This removes the docker context `{NAME}` from `{}`.",
                    files.folder.display()
                ))?;
                files.remove()?;
            }
        }
        render::print(&format!("{NAME}\n"))?;
        Ok(0)
    }
}

/// Docker's folder.
struct Files {
    folder: PathBuf,
}

fn failed<'a>(what: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |error| {
        let message = format!("cannot {what} `{}`: {error}", path.display());
        Failure::new(ErrorCode::Internal, message)
    }
}

impl Files {
    /// As the docker CLI finds it.
    fn discover() -> Result<Self, Failure> {
        let named = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
        let folder = match named {
            Some(folder) => Some(PathBuf::from(folder)),
            None => std::env::home_dir().map(|home| home.join(".docker")),
        };
        folder.map(|folder| Self { folder }).ok_or_else(|| {
            Failure::new(ErrorCode::NotFound, "this user has no home folder")
                .hint("say where Docker's configuration is with DOCKER_CONFIG")
        })
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    fn meta(&self) -> PathBuf {
        let name: String = Sha256::digest(NAME).iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join("contexts").join("meta").join(name).join("meta.json")
    }

    fn install(&self, host: &str) -> Result<(), Failure> {
        let meta = json!({
            "Name": NAME,
            "Metadata": {"Description": "Linkspan"},
            "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}},
        });
        write(&self.meta(), &meta)
    }

    fn remove(&self) -> Result<(), Failure> {
        let meta = self.meta();
        let folder = meta.parent().unwrap_or(&meta);
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", folder)(error));
            }
            _ => {}
        }
        if self.current()?.as_deref() == Some(NAME) {
            self.set_current(None)?;
        }
        Ok(())
    }

    fn read_config(&self) -> Result<Map<String, Value>, Failure> {
        let path = self.config();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        serde_json::from_slice(&text).map_err(|error| failed("understand", &path)(error.into()))
    }

    fn current(&self) -> Result<Option<String>, Failure> {
        let config = self.read_config()?;
        Ok(config.get("currentContext").and_then(Value::as_str).map(str::to_owned))
    }

    fn set_current(&self, name: Option<&str>) -> Result<(), Failure> {
        let mut config = self.read_config()?;
        match name {
            Some(name) => config.insert("currentContext".into(), name.into()),
            None => config.remove("currentContext"),
        };
        // A link to a file elsewhere stays one.
        let path = self.config();
        let target = path.canonicalize().unwrap_or(path);
        write(&target, &Value::Object(config))
    }
}

/// All or nothing, readable by the user alone: credentials may be in it.
fn write(path: &Path, value: &Value) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let mut text = format!("{value:#}");
    text.push('\n');
    let file = tempfile::NamedTempFile::new_in(folder).map_err(failed("write in", folder))?;
    let written = std::fs::write(file.path(), text).and_then(|()| file.as_file().sync_all());
    written.map_err(failed("write", path))?;
    file.persist(path).map_err(|error| failed("write", path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { folder: folder.path().join("docker") };
        (folder, files)
    }

    fn json(path: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn the_context_is_where_docker_looks_for_it() {
        let (_folder, files) = files();
        files.install("unix:///x.sock").unwrap();
        let meta = files.meta();
        assert!(meta.ends_with(
            // sha256sum of `linkspan`
            "contexts/meta/b0e97b3081170ee1b0d0f436e989b249596b2153ae834f304f6a6c63897e339e/meta.json"
        ), "{}", meta.display());
        assert_eq!(json(&meta)["Endpoints"]["docker"]["Host"], "unix:///x.sock");
        assert!(!files.config().exists());
    }

    #[test]
    fn other_settings_of_docker_stay_as_they_are() {
        let (_folder, files) = files();
        std::fs::create_dir_all(&files.folder).unwrap();
        let before = json!({"auths": {"r.example": {"auth": "eDp5"}}, "currentContext": "other"});
        std::fs::write(files.config(), before.to_string()).unwrap();
        files.install("unix:///x.sock").unwrap();
        // Removing one that is not in use does not touch what is.
        files.remove().unwrap();
        assert_eq!(json(&files.config()), before);

        files.install("unix:///x.sock").unwrap();
        files.set_current(Some(NAME)).unwrap();
        assert_eq!(json(&files.config())["auths"], before["auths"]);
        assert_eq!(files.current().unwrap().as_deref(), Some(NAME));
        files.remove().unwrap();
        assert_eq!(json(&files.config()), json!({"auths": before["auths"]}));
        assert!(!files.meta().exists());
        files.remove().unwrap();
    }

    #[test]
    fn a_configuration_that_is_not_json_is_left_alone() {
        let (_folder, files) = files();
        std::fs::create_dir_all(&files.folder).unwrap();
        std::fs::write(files.config(), "{").unwrap();
        let error = files.set_current(Some(NAME)).unwrap_err();
        assert!(error.message.contains("config.json"), "{error}");
        assert_eq!(std::fs::read_to_string(files.config()).unwrap(), "{");
    }
}
