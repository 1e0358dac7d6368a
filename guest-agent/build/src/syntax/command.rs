//! RUN, CMD, ENTRYPOINT, SHELL and HEALTHCHECK.

use super::flags::Flags;
use super::heredoc::Heredoc;
use super::lines::Line;
use super::mount;
use super::words;
use crate::error::Problem;
use crate::format;

/// A command: a JSON list, or a text for the shell.
#[derive(Debug, Clone)]
pub(crate) enum CommandLine {
    /// As it is.
    Exec(Vec<String>),
    /// Goes to the shell as one argument.
    Shell(String),
}

impl CommandLine {
    pub(crate) fn parse(rest: &str) -> Result<Self, Problem> {
        Ok(match words::json(rest)? {
            Some(arguments) => Self::Exec(arguments),
            None => Self::Shell(rest.to_owned()),
        })
    }
}

/// RUN.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) command: CommandLine,
    pub(crate) heredocs: Vec<Heredoc>,
    /// The texts of --mount, which are expanded before they are read.
    pub(crate) mounts: Vec<String>,
    /// What each mount is from, if it says so: a stage makes a dependency.
    pub(crate) mount_sources: Vec<Option<String>>,
    pub(crate) network: Option<String>,
    pub(crate) security: Option<String>,
}

pub(crate) fn run(line: &Line, flags: &Flags) -> Result<Run, Problem> {
    if line.rest.is_empty() {
        return Err(Problem::AtLeastOne { name: "RUN" });
    }
    let mounts = flags.all("mount");
    let mount_sources = mounts.iter().map(|text| mount::source(text)).collect::<Result<_, _>>()?;
    Ok(Run {
        command: CommandLine::parse(&line.rest)?,
        heredocs: line.heredocs.clone(),
        mounts,
        mount_sources,
        network: flags.text("network"),
        security: flags.text("security"),
    })
}

pub(crate) fn shell(rest: &str) -> Result<Vec<String>, Problem> {
    match words::json(rest)? {
        Some(words) if words.is_empty() => Err(Problem::AtLeastOne { name: "SHELL" }),
        Some(words) => Ok(words),
        None if rest.is_empty() => Err(Problem::AtLeastOne { name: "SHELL" }),
        None => Err(Problem::NotJson { name: "SHELL" }),
    }
}

/// HEALTHCHECK. Spans are nanoseconds; 0 is the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    pub(crate) test: Vec<String>,
    pub(crate) interval: i64,
    pub(crate) timeout: i64,
    pub(crate) start_period: i64,
    pub(crate) start_interval: i64,
    pub(crate) retries: i64,
}

pub(crate) fn health(rest: &str, flags: &Flags) -> Result<Health, Problem> {
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim_start();
    let test = match kind.to_ascii_uppercase().as_str() {
        "" => return Err(Problem::AtLeastOne { name: "HEALTHCHECK" }),
        "NONE" if command.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return Err(Problem::HealthNone),
        "CMD" => match CommandLine::parse(command)? {
            CommandLine::Exec(words) if words.is_empty() => return Err(Problem::HealthNoCommand),
            CommandLine::Shell(text) if text.is_empty() => return Err(Problem::HealthNoCommand),
            CommandLine::Exec(words) => [vec!["CMD".to_owned()], words].concat(),
            CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
        },
        _ => return Err(Problem::HealthType { kind: kind.to_owned() }),
    };
    Ok(Health {
        test,
        interval: span(flags, "interval")?,
        timeout: span(flags, "timeout")?,
        start_period: span(flags, "start-period")?,
        start_interval: span(flags, "start-interval")?,
        retries: retries(flags)?,
    })
}

/// Docker's limit: nothing between 0 and a millisecond.
fn span(flags: &Flags, flag: &'static str) -> Result<i64, Problem> {
    const LEAST: i64 = 1_000_000;
    let Some(value) = flags.text(flag) else { return Ok(0) };
    let why = match format::parse_duration(&value) {
        Some(nanos) if nanos == 0 || nanos >= LEAST => return Ok(nanos),
        Some(_) => "it cannot be less than 1ms",
        None => "it is not a duration as in 1m30s",
    };
    Err(Problem::FlagValue { flag, value, why: why.to_owned() })
}

fn retries(flags: &Flags) -> Result<i64, Problem> {
    let Some(value) = flags.text("retries") else { return Ok(0) };
    let why = match value.parse::<i32>() {
        Ok(retries) if retries >= 0 => return Ok(i64::from(retries)),
        Ok(_) => "it cannot be negative",
        Err(_) => "it is not a number",
    };
    Err(Problem::FlagValue { flag: "retries", value, why: why.to_owned() })
}
