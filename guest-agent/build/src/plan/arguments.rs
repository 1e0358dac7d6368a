//! Build arguments: the predefined ones, and those before the first FROM.

use linkspan_images::Platform;

use super::types::Options;
use crate::env::Env;
use crate::error::{Error, Problem, Result};
use crate::expand::Lexer;
use crate::syntax::{Instruction, Statement};

/// What is known before any stage.
pub(super) struct Globals {
    /// Usable in FROM, and the values of an ARG without a default.
    pub(super) env: Env,
    /// What is built for.
    pub(super) platform: Platform,
    pub(super) epoch: Option<i64>,
    /// Proxies among the build arguments.
    pub(super) proxies: Vec<String>,
}

/// Set for RUN without an ARG, in capitals or small letters.
pub(super) const PROXIES: &[&str] =
    &["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

impl Globals {
    pub(super) fn new(statements: &[Statement], escape: char, options: &Options) -> Result<Self> {
        let platform = options.platform.clone().unwrap_or_else(|| options.build_platform.clone());
        let last = statements.iter().rev().find_map(|statement| match &statement.instruction {
            Instruction::From(stage) => Some(stage.name.as_deref()),
            _ => None,
        });
        let target = options.target.as_deref().or(last.flatten()).unwrap_or("default");
        let mut env = predefined(&platform, target, options);
        for statement in statements {
            let definitions = match &statement.instruction {
                Instruction::Arg(definitions) => definitions,
                Instruction::From(_) => break,
                _ => {
                    let problem = Problem::BeforeFrom { name: statement.name.to_owned() };
                    return Err(Error::reading(problem, statement.span));
                }
            };
            for definition in definitions {
                let value = match (options.build_args.get(&definition.name), &definition.default) {
                    (Some(value), _) => value.clone(),
                    (None, None) => continue,
                    (None, Some(text)) => expand(text, &env, escape)
                        .map_err(|problem| Error::at(problem, statement.span))?,
                };
                env.set(&definition.name, &value);
            }
        }
        let given = options.build_args.get("SOURCE_DATE_EPOCH").map(String::as_str);
        let epoch = match given.or_else(|| env.get("SOURCE_DATE_EPOCH")) {
            None | Some("") => None,
            Some(value) => {
                let seconds = value.parse().ok().filter(|s| created(*s).is_some());
                let problem = || Problem::Epoch { value: value.to_owned() };
                Some(seconds.ok_or_else(|| Error::whole(problem()))?)
            }
        };
        let proxies = options.build_args.iter().filter_map(|(name, value)| {
            let known = PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
            known.then(|| format!("{name}={value}"))
        });
        Ok(Self { epoch, proxies: both_cases(proxies), env, platform })
    }
}

/// A program reads one spelling or the other.
fn both_cases(entries: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for entry in entries {
        let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
        for name in [name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
            let prefix = format!("{name}=");
            all.retain(|other| !other.starts_with(&prefix));
            all.push(format!("{prefix}{value}"));
        }
    }
    all
}

/// Puts variables into a text and takes its quotes away.
pub(super) fn expand(text: &str, env: &Env, escape: char) -> Result<String, Problem> {
    Lexer::new(escape, env)
        .word(text)
        .map_err(|why| Problem::Expansion { text: text.to_owned(), why })
}

/// `SOURCE_DATE_EPOCH` as an image has times.
pub(super) fn created(epoch: i64) -> Option<String> {
    jiff::Timestamp::from_second(epoch).ok().map(|time| time.to_string())
}

fn predefined(platform: &Platform, target: &str, options: &Options) -> Env {
    let mut env = Env::default();
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", platform)] {
        for (name, value) in [
            ("PLATFORM", &platform.to_string()),
            ("OS", &platform.os),
            ("ARCH", &platform.architecture),
            ("VARIANT", &platform.variant),
        ] {
            env.set(&format!("{prefix}{name}"), value);
        }
    }
    env.set("TARGETSTAGE", target);
    let overridden: Vec<String> = env
        .entries()
        .iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(n, _)| n.into())
        .collect();
    for name in overridden {
        if let Some(value) = options.build_args.get(&name) {
            env.set(&name, value);
        }
    }
    env
}
