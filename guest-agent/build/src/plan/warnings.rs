//! What is odd, by the rules of BuildKit's checks, and the check directive that governs them.

use std::collections::BTreeSet;

use super::arguments::{Globals, PROXIES};
use super::graph::Graph;
use super::types::{Options, Warning};
use crate::error::{Error, Problem, Result};
use crate::source::Span;
use crate::syntax::table::{ARGUMENTS, Support};
use crate::syntax::{Directives, Instruction, Statement};

/// The warnings so far, and which are wanted.
pub(super) struct Warnings {
    found: Vec<Warning>,
    skip: Vec<String>,
    skip_all: bool,
    are_errors: bool,
}

impl Warnings {
    /// `# check=skip=Rule,Rule;error=true`.
    pub(super) fn new(directives: &Directives) -> Result<Self> {
        let mut warnings =
            Self { found: Vec::new(), skip: Vec::new(), skip_all: false, are_errors: false };
        let (Some(value), Some(span)) = (&directives.check, directives.span) else {
            return Ok(warnings);
        };
        let fail = |why| Error::reading(Problem::Check { value: value.clone(), why }, span);
        for part in value.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some(("skip", "all")) => warnings.skip_all = true,
                Some(("skip", rules)) => {
                    warnings.skip.extend(rules.split(',').map(|rule| rule.trim().to_owned()));
                }
                Some(("error", "true")) => warnings.are_errors = true,
                Some(("error", "false")) => warnings.are_errors = false,
                Some(("error", _)) => return Err(fail("error is true or false")),
                // A rule of a later kind of check: there are none here that it could switch on.
                Some(("experimental", _)) => {}
                _ => return Err(fail("it has skip=RULE,... and error=BOOL")),
            }
        }
        Ok(warnings)
    }

    pub(super) fn add(&mut self, rule: &'static str, message: String, span: Span) {
        self.push(rule, message, Some(span));
    }

    fn push(&mut self, rule: &'static str, message: String, span: Option<Span>) {
        if !self.skip_all && !self.skip.iter().any(|skip| skip.eq_ignore_ascii_case(rule)) {
            self.found.push(Warning { rule, message, span });
        }
    }

    /// What can be seen without evaluating anything.
    pub(super) fn about_text(&mut self, statements: &[Statement]) {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut once: BTreeSet<&str> = BTreeSet::new();
        for statement in statements {
            let span = statement.span;
            if statement.has_empty_continuation {
                let message = "empty continuation line: it will become an error".to_owned();
                self.add("NoEmptyContinuation", message, span);
            }
            match &statement.instruction {
                Instruction::From(stage) => {
                    once.clear();
                    let Some(name) = stage.name.as_deref() else { continue };
                    if matches!(name, "context" | "scratch") {
                        let message =
                            format!("stage name should not use the reserved name {name:?}");
                        self.add("ReservedStageName", message, span);
                    }
                    if !names.insert(name) {
                        let message = format!("duplicate stage name {name:?}: the last one counts");
                        self.add("DuplicateStageName", message, span);
                    }
                }
                Instruction::Env { legacy: true, .. } | Instruction::Label { legacy: true, .. } => {
                    let name = statement.name;
                    let message =
                        format!("\"{name} key=value\" should be used, not \"{name} key value\"");
                    self.add("LegacyKeyValueFormat", message, span);
                }
                Instruction::Maintainer(_) => {
                    let message = "MAINTAINER is deprecated: use LABEL".to_owned();
                    self.add("MaintainerDeprecated", message, span);
                }
                Instruction::Cmd(_) | Instruction::Entrypoint(_) | Instruction::Healthcheck(_)
                    if !once.insert(statement.name) =>
                {
                    let message = format!("{} again: only the last one counts", statement.name);
                    self.add("MultipleInstructionsDisallowed", message, span);
                }
                _ => {}
            }
        }
    }

    /// What can be seen when the bases are known.
    pub(super) fn about_stages(&mut self, graph: &Graph, images: &super::Images) {
        for number in &graph.reachable {
            let node = &graph.nodes[*number];
            let super::graph::NodeBase::Image(request) = &node.base else { continue };
            let Some(info) = images.get(request) else { continue };
            let (wanted, found) = (&request.platform.architecture, &info.config.architecture);
            if !found.is_empty() && found != wanted {
                let reference = &request.reference;
                let message = format!("{reference} is for {found}, and {wanted} was asked for");
                self.add("InvalidBaseImagePlatform", message, node.span);
            }
        }
    }

    /// COPY of what is not there. With exceptions in the file it cannot be known here.
    pub(super) fn about_ignored(
        &mut self,
        options: &Options,
        is_add: bool,
        path: &str,
        span: Span,
    ) {
        let path = path.trim_start_matches('/');
        if !path.is_empty() && !options.ignore.has_exceptions() && options.ignore.ignores(path) {
            let verb = if is_add { "add" } else { "copy" };
            let message = format!("attempting to {verb} {path:?}, which .dockerignore leaves out");
            self.add("CopyIgnoredFile", message, span);
        }
    }

    /// `--build-arg` for nobody.
    pub(super) fn about_arguments(&mut self, graph: &Graph, globals: &Globals, options: &Options) {
        let declared: BTreeSet<&str> = graph
            .nodes
            .iter()
            .flat_map(|node| &node.statements)
            .filter_map(|statement| match &statement.instruction {
                Instruction::Arg(definitions) => Some(definitions),
                _ => None,
            })
            .flatten()
            .map(|definition| definition.name.as_str())
            .collect();
        for name in options.build_args.keys() {
            let proxy = PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
            if proxy || declared.contains(name.as_str()) || globals.env.get(name).is_some() {
                continue;
            }
            let named = ARGUMENTS.iter().find(|argument| argument.name == name.as_str());
            let message = match named.map(|argument| argument.support) {
                Some(Support::Refused(why)) => format!("--build-arg {name} has no effect: {why}"),
                Some(Support::Yes) => continue,
                None => format!("--build-arg {name}: no ARG declares it"),
            };
            self.push("UnusedBuildArg", message, None);
        }
    }

    pub(super) fn finish(self) -> Result<Vec<Warning>> {
        match self.found.first() {
            Some(first) if self.are_errors => {
                let (count, text) = (self.found.len(), first.message.clone());
                let problem = Problem::Warnings { count, first: text };
                Err(first.span.map_or_else(
                    || Error::whole(problem.clone()),
                    |span| Error::at(problem.clone(), span),
                ))
            }
            _ => Ok(self.found),
        }
    }
}
