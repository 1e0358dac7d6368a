//! Instructions as values, and how each reads its line.

use super::flags::Flags;
use super::lines::Line;
use super::{command, files, table, words};
use crate::error::{Error, Problem, Result, Suggestion};
use crate::source::Span;

pub(crate) use command::{CommandLine, Health, Run};
pub(crate) use files::Copy;

/// NAME=VALUE of ENV and LABEL, not expanded.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// NAME or NAME=VALUE of ARG, not expanded.
#[derive(Debug, Clone)]
pub(crate) struct ArgDefinition {
    pub(crate) name: String,
    pub(crate) default: Option<String>,
}

/// FROM.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) base: String,
    /// In small letters.
    pub(crate) name: Option<String>,
    pub(crate) platform: Option<String>,
}

/// An instruction, read but not evaluated.
#[derive(Debug, Clone)]
pub(crate) enum Instruction {
    From(Stage),
    Arg(Vec<ArgDefinition>),
    /// `legacy`: ENV NAME VALUE.
    Env {
        pairs: Vec<Pair>,
        legacy: bool,
    },
    Label {
        pairs: Vec<Pair>,
        legacy: bool,
    },
    Run(Run),
    /// COPY and ADD.
    Copy(Copy),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    Shell(Vec<String>),
    Healthcheck(Health),
    Expose(Vec<String>),
    Volume(Vec<String>),
    User(String),
    Workdir(String),
    Stopsignal(String),
    Maintainer(String),
    /// The trigger's text.
    Onbuild(String),
}

/// An instruction and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) instruction: Instruction,
    /// In capitals.
    pub(crate) name: &'static str,
    /// Continuations joined, without heredocs.
    pub(crate) original: String,
    pub(crate) span: Span,
    pub(crate) has_empty_continuation: bool,
    /// It comes from the base's ONBUILD; the span is that of FROM.
    pub(crate) is_trigger: bool,
}

impl Statement {
    /// An error of this instruction. That of a trigger names it: it is not in the user's file.
    pub(crate) fn error(&self, problem: Problem) -> Error {
        if !self.is_trigger {
            return Error::at(problem, self.span);
        }
        let (trigger, problem) = (self.original.clone(), Box::new(problem));
        Error::at(Problem::Trigger { trigger, problem }, self.span)
    }
}

/// Reads one line as an instruction.
pub(crate) fn parse(line: &Line, escape: char) -> Result<Statement> {
    let (spec, instruction) =
        read(line, escape).map_err(|problem| Error::reading(problem, line.span))?;
    Ok(Statement {
        instruction,
        name: spec.name,
        original: line.original.trim().to_owned(),
        span: line.span,
        has_empty_continuation: line.has_empty_continuation,
        is_trigger: false,
    })
}

/// Reads an ONBUILD trigger of a base for the stage that begins there. An error has the span of
/// the FROM: the trigger's own text is in no file that the user has.
pub(crate) fn parse_trigger(trigger: &str, from: Span) -> Result<Statement> {
    let wrap = |problem: Problem| {
        let problem = Problem::Trigger { trigger: trigger.to_owned(), problem: Box::new(problem) };
        Error::at(problem, from)
    };
    let lines = super::read(trigger).map_err(|error| wrap(*error.problem))?;
    let [line] = lines.lines.as_slice() else {
        return Err(Error::at(Problem::OnbuildNotSingle { trigger: trigger.to_owned() }, from));
    };
    forbidden_trigger(&line.keyword).map_err(wrap)?;
    let statement = parse(line, lines.escape).map_err(|error| wrap(*error.problem))?;
    Ok(Statement { span: from, is_trigger: true, ..statement })
}

fn read(
    line: &Line,
    escape: char,
) -> Result<(&'static table::InstructionSpec, Instruction), Problem> {
    let Some(spec) = table::find(&line.keyword) else {
        let names = table::INSTRUCTIONS.iter().map(|spec| spec.name);
        let suggestion = Suggestion::nearest(&line.keyword, names);
        return Err(Problem::UnknownInstruction { name: line.keyword.clone(), suggestion });
    };
    let name = spec.name;
    // The flags of a trigger are those of its instruction.
    let flags = Flags::parse(spec, &line.flags)?;
    let rest = line.rest.as_str();
    let one = || match rest {
        "" => Err(Problem::ExactlyOne { name }),
        rest => Ok(rest.to_owned()),
    };
    let instruction = match name {
        "FROM" => Instruction::From(stage(rest, &flags)?),
        "ARG" => Instruction::Arg(arguments(rest, escape)?),
        "ENV" => {
            let (pairs, legacy) = pairs(name, rest, escape)?;
            Instruction::Env { pairs, legacy }
        }
        "LABEL" => {
            let (pairs, legacy) = pairs(name, rest, escape)?;
            Instruction::Label { pairs, legacy }
        }
        "RUN" => Instruction::Run(command::run(line, &flags)?),
        "COPY" | "ADD" => Instruction::Copy(files::copy(name, line, &flags)?),
        "CMD" => Instruction::Cmd(CommandLine::parse(rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(CommandLine::parse(rest)?),
        "SHELL" => Instruction::Shell(command::shell(rest)?),
        "HEALTHCHECK" => Instruction::Healthcheck(command::health(rest, &flags)?),
        "EXPOSE" => {
            let mut ports = at_least_one(name, words::plain(rest))?;
            ports.sort();
            Instruction::Expose(ports)
        }
        "VOLUME" => {
            let volumes = match words::json(rest)? {
                Some(list) => list,
                None => words::plain(rest),
            };
            if volumes.iter().any(|volume| volume.trim().is_empty()) {
                return Err(Problem::EmptyVolume);
            }
            Instruction::Volume(at_least_one(name, volumes)?)
        }
        "USER" => Instruction::User(one()?),
        "WORKDIR" => Instruction::Workdir(one()?),
        "STOPSIGNAL" => Instruction::Stopsignal(one()?),
        "MAINTAINER" => Instruction::Maintainer(one()?),
        _ => Instruction::Onbuild(trigger(line)?),
    };
    Ok((spec, instruction))
}

fn at_least_one(name: &'static str, words: Vec<String>) -> Result<Vec<String>, Problem> {
    if words.is_empty() { Err(Problem::AtLeastOne { name }) } else { Ok(words) }
}

fn stage(rest: &str, flags: &Flags) -> Result<Stage, Problem> {
    let words = words::plain(rest);
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let first = lower.starts_with(|c: char| c.is_ascii_lowercase());
            let others =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            if !first || !lower.chars().all(others) {
                return Err(Problem::StageName { name: name.clone() });
            }
            (base, Some(lower))
        }
        _ => return Err(Problem::FromArguments),
    };
    Ok(Stage { base: base.clone(), name, platform: flags.text("platform") })
}

fn arguments(rest: &str, escape: char) -> Result<Vec<ArgDefinition>, Problem> {
    let definition = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(Problem::BlankName { name: "ARG" }),
        Some((name, default)) => {
            Ok(ArgDefinition { name: name.to_owned(), default: Some(default.to_owned()) })
        }
        None => Ok(ArgDefinition { name: word, default: None }),
    };
    at_least_one("ARG", words::quoted(rest, escape))?.into_iter().map(definition).collect()
}

/// `A=1 B=2`, or the old `A the rest of the line`.
fn pairs(name: &'static str, rest: &str, escape: char) -> Result<(Vec<Pair>, bool), Problem> {
    let words = at_least_one(name, words::quoted(rest, escape))?;
    if !words.first().is_some_and(|word| word.contains('=')) {
        let Some((key, value)) = rest.split_once(['\t', '\u{b}', '\u{c}', '\r', ' ']) else {
            return Err(Problem::TwoArguments { name });
        };
        let pair = Pair { name: key.to_owned(), value: value.trim_start().to_owned() };
        return Ok((vec![pair], true));
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(Problem::BlankName { name }),
        Some((key, value)) => Ok(Pair { name: key.to_owned(), value: value.to_owned() }),
        None => Err(Problem::NoEqualSign { word }),
    };
    Ok((words.into_iter().map(pair).collect::<Result<_, _>>()?, false))
}

/// The trigger's text with its heredocs; it is read here only to find what is wrong with it.
fn trigger(line: &Line) -> Result<String, Problem> {
    let (keyword, _, _) = words::command(&line.rest);
    if keyword.is_empty() {
        return Err(Problem::AtLeastOne { name: "ONBUILD" });
    }
    forbidden_trigger(&keyword)?;
    let mut text = line.rest.clone();
    for heredoc in &line.heredocs {
        text += &format!("\n{}{}", heredoc.content, heredoc.name);
    }
    parse_trigger(&text, line.span).map_err(|error| match *error.problem {
        Problem::Trigger { problem, .. } => *problem,
        problem => problem,
    })?;
    Ok(text)
}

fn forbidden_trigger(keyword: &str) -> Result<(), Problem> {
    match keyword.to_ascii_uppercase().as_str() {
        "ONBUILD" => Err(Problem::OnbuildChain),
        name @ ("FROM" | "MAINTAINER") => Err(Problem::OnbuildForbidden { name: name.to_owned() }),
        _ => Ok(()),
    }
}
