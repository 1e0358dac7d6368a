//! The command line, in the convention that runc and crun share.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt as _};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
linkspan-init oci [--root DIR] [--log FILE] [--log-format text|json] COMMAND

  create [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] [--preserve-fds N] ID
  start ID
  run    [--detach] and the options of create
  state ID
  kill [--all] ID [SIGNAL]
  delete [--force] ID
  list [--quiet] [--format table|json]
  spec [--bundle DIR]
  features
";

/// Where containers are kept when nobody says where.
const ROOT: &str = "/run/linkspan/oci";

/// The options in front of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Global {
    /// A folder with one folder for each container.
    pub(crate) root: PathBuf,
    /// Where errors and warnings go beside standard error.
    pub(crate) log: Option<PathBuf>,
    /// As JSON, one object a line.
    pub(crate) log_json: bool,
}

impl Default for Global {
    fn default() -> Self {
        Self { root: ROOT.into(), log: None, log_json: false }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Version,
    Create(Create),
    Run { create: Create, detach: bool },
    Start { id: String },
    State { id: String },
    Kill { id: String, signal: String, all: bool },
    Delete { id: String, force: bool },
    List { quiet: bool, json: bool },
    Spec { bundle: PathBuf },
    Features,
}

/// `create`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Create {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) preserve_fds: u32,
}

/// A command line that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error(transparent)]
    Syntax(#[from] lexopt::Error),
    #[error("`{option}` is not supported: {reason}")]
    Unsupported { option: &'static str, reason: &'static str },
    #[error("there is no command `{0}`; see `linkspan-init oci --help`")]
    UnknownCommand(String),
    #[error("`{0}` needs the ID of a container")]
    NoId(&'static str),
    #[error("no command was given; see `linkspan-init oci --help`")]
    NoCommand,
    #[error("`{value}` is not a format of {option}: there are {known}")]
    Format { option: &'static str, value: String, known: &'static str },
}

/// Reads the arguments behind `linkspan-init oci`.
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Global, Command), UsageError> {
    let mut parser = Parser::from_args(args);
    let mut global = Global::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("root") => global.root = parser.value()?.into(),
            Arg::Long("log") => global.log = Some(parser.value()?.into()),
            Arg::Long("log-format") => {
                global.log_json = match &*parser.value()?.string()? {
                    "json" => true,
                    "text" => false,
                    other => {
                        let (option, value) = ("`--log-format`", other.to_owned());
                        return Err(UsageError::Format { option, value, known: "text, json" });
                    }
                };
            }
            // There are no messages below warnings.
            Arg::Long("debug") => {}
            Arg::Long("systemd-cgroup") => {
                return Err(UsageError::Unsupported {
                    option: "--systemd-cgroup",
                    reason: "there is no systemd in the machine, cgroups are made directly",
                });
            }
            Arg::Long("version") | Arg::Short('v') => return Ok((global, Command::Version)),
            Arg::Long("help") | Arg::Short('h') => return Ok((global, Command::Help)),
            Arg::Value(name) => {
                let command = command(&name.string()?, &mut parser)?;
                return Ok((global, command));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Err(UsageError::NoCommand)
}

fn command(name: &str, parser: &mut Parser) -> Result<Command, UsageError> {
    match name {
        "create" => Ok(Command::Create(create("create", parser)?.0)),
        "run" => create("run", parser).map(|(create, detach)| Command::Run { create, detach }),
        "start" => Ok(Command::Start { id: only_id("start", parser)? }),
        "state" => Ok(Command::State { id: only_id("state", parser)? }),
        "kill" => kill(parser),
        "delete" => delete(parser),
        "list" => list(parser),
        "spec" => spec(parser),
        "features" => match parser.next()? {
            None => Ok(Command::Features),
            Some(arg) => Err(arg.unexpected().into()),
        },
        "help" => Ok(Command::Help),
        other => Err(UsageError::UnknownCommand(other.to_owned())),
    }
}

fn create(name: &'static str, parser: &mut Parser) -> Result<(Create, bool), UsageError> {
    let mut create = Create { bundle: ".".into(), ..Create::default() };
    let (mut detach, mut id) = (false, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bundle") | Arg::Short('b') => create.bundle = parser.value()?.into(),
            Arg::Long("pid-file") => create.pid_file = Some(parser.value()?.into()),
            Arg::Long("console-socket") => create.console_socket = Some(parser.value()?.into()),
            Arg::Long("preserve-fds") => create.preserve_fds = parser.value()?.parse()?,
            // No session keyring is ever made.
            Arg::Long("no-new-keyring") => {}
            Arg::Long("no-pivot") => {
                return Err(UsageError::Unsupported {
                    option: "--no-pivot",
                    reason: "a container always has a root of its own",
                });
            }
            Arg::Long("detach") | Arg::Short('d') if name == "run" => detach = true,
            Arg::Value(value) if id.is_none() => id = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    create.id = id.ok_or(UsageError::NoId(name))?;
    Ok((create, detach))
}

fn only_id(name: &'static str, parser: &mut Parser) -> Result<String, UsageError> {
    let mut id = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(value) if id.is_none() => id = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    id.ok_or(UsageError::NoId(name))
}

fn kill(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut id, mut signal, mut all) = (None, None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("all") | Arg::Short('a') => all = true,
            Arg::Value(value) if id.is_none() => id = Some(value.string()?),
            Arg::Value(value) if signal.is_none() => signal = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let id = id.ok_or(UsageError::NoId("kill"))?;
    Ok(Command::Kill { id, signal: signal.unwrap_or_else(|| "SIGTERM".to_owned()), all })
}

fn delete(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut id, mut force) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("force") | Arg::Short('f') => force = true,
            Arg::Value(value) if id.is_none() => id = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Delete { id: id.ok_or(UsageError::NoId("delete"))?, force })
}

fn list(parser: &mut Parser) -> Result<Command, UsageError> {
    let (mut quiet, mut json) = (false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("quiet") | Arg::Short('q') => quiet = true,
            Arg::Long("format") | Arg::Short('f') => {
                json = match &*parser.value()?.string()? {
                    "json" => true,
                    "table" => false,
                    other => {
                        let (option, value) = ("`--format`", other.to_owned());
                        return Err(UsageError::Format { option, value, known: "table, json" });
                    }
                };
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::List { quiet, json })
}

fn spec(parser: &mut Parser) -> Result<Command, UsageError> {
    let mut bundle = PathBuf::from(".");
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("bundle") | Arg::Short('b') => bundle = parser.value()?.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Spec { bundle })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Global, Command), String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_in_runcs_convention() {
        let (global, command) = read(
            "--root /r --log=/l --log-format json create --bundle /b --pid-file /p \
             --console-socket /c --preserve-fds 2 one",
        )
        .unwrap();
        let expected = Global { root: "/r".into(), log: Some("/l".into()), log_json: true };
        assert_eq!(global, expected);
        let create = Create {
            id: "one".into(),
            bundle: "/b".into(),
            pid_file: Some("/p".into()),
            console_socket: Some("/c".into()),
            preserve_fds: 2,
        };
        assert_eq!(command, Command::Create(create));
        let kill = Command::Kill { id: "one".into(), signal: "KILL".into(), all: true };
        assert_eq!(read("kill one KILL --all").unwrap().1, kill);
        let delete = Command::Delete { id: "one".into(), force: true };
        assert_eq!(read("delete --force one").unwrap(), (Global::default(), delete));
    }

    #[test]
    fn what_is_missing_or_not_supported_is_said_by_name() {
        for (line, part) in [
            ("state", "`state` needs the ID"),
            ("create --bundle /b", "`create` needs the ID"),
            ("--systemd-cgroup state x", "--systemd-cgroup"),
            ("create --no-pivot x", "--no-pivot"),
            ("checkpoint x", "checkpoint"),
            ("", "no command"),
            ("start x y", "y"),
            ("run --preserve-fds many x", "many"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
