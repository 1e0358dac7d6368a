//! Evaluates the statements of a stage, one after the other.

use std::collections::BTreeMap;

use linkspan_images::Platform;

use super::arguments::{Globals, PROXIES, created, expand};
use super::files;
use super::graph::{From, Graph, NodeBase};
use super::key::{Key, Parent};
use super::ports;
use super::run;
use super::titles::Titles;
use super::types::{Action, Base, FileSource, FolderStep, Images, Options, PlannedStage, Step};
use super::warnings::Warnings;
use crate::config::{History, ImageConfig};
use crate::env::Env;
use crate::error::{Error, Problem, Result};
use crate::syntax::{CommandLine, Instruction, Statement};

/// What BuildKit gives a stage whose image has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Tools tell images of BuildKit's wording by this.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// What all statements see.
pub(super) struct Scope<'p> {
    pub(super) graph: &'p Graph,
    pub(super) globals: &'p Globals,
    pub(super) options: &'p Options,
    pub(super) images: &'p Images,
    pub(super) escape: char,
    /// From a stage's number to its index in the plan, for those before this one.
    pub(super) indices: &'p BTreeMap<usize, usize>,
}

/// The state of a stage between two statements.
#[derive(Clone)]
pub(super) struct State {
    /// All variables: those of the image and the build arguments declared so far.
    pub(super) env: Env,
    pub(super) image: ImageConfig,
    pub(super) platform: Platform,
    /// Declared build arguments with their values at that time, in order.
    pub(super) arguments: Vec<(String, Option<String>)>,
    pub(super) parent: Parent,
    workdir_set: bool,
    pub(super) cmd_set: bool,
}

/// The states of stages that others begin with, each until its last user has it: a long chain of
/// stages is then planned in the memory of one.
struct Bases {
    states: BTreeMap<usize, State>,
    users: BTreeMap<usize, usize>,
}

impl Bases {
    fn new(graph: &Graph) -> Self {
        let mut users = BTreeMap::from([(graph.target, 1)]);
        for number in &graph.reachable {
            if let NodeBase::Stage(base) = graph.nodes[*number].base {
                *users.entry(base).or_default() += 1;
            }
        }
        Self { states: BTreeMap::new(), users }
    }

    fn keep(&mut self, number: usize, state: State) {
        if self.users.contains_key(&number) {
            self.states.insert(number, state);
        }
    }

    fn take(&mut self, number: usize) -> Option<State> {
        let users = self.users.get_mut(&number)?;
        *users = users.saturating_sub(1);
        if *users == 0 { self.states.remove(&number) } else { self.states.get(&number).cloned() }
    }
}

/// Plans the stages that the target needs, in the order of the Dockerfile, and the configuration of
/// the target.
pub(super) fn plan_all(
    graph: &Graph,
    globals: &Globals,
    options: &Options,
    images: &Images,
    escape: char,
    warnings: &mut Warnings,
) -> Result<(Vec<PlannedStage>, ImageConfig)> {
    let mut indices = BTreeMap::new();
    let mut bases = Bases::new(graph);
    let mut stages = Vec::new();
    for number in &graph.reachable {
        let scope = Scope { graph, globals, options, images, escape, indices: &indices };
        let (state, stage) = scope.stage(*number, &mut bases, warnings)?;
        indices.insert(*number, stages.len());
        bases.keep(*number, state);
        stages.push(stage);
    }
    let mut config = ImageConfig::default();
    if let Some(state) = bases.take(graph.target) {
        config = state.image;
        config.created = globals.epoch.and_then(created);
        config.os = state.platform.os;
        config.architecture = state.platform.architecture;
        config.variant = state.platform.variant;
    }
    Ok((stages, config))
}

impl Scope<'_> {
    fn stage(
        &self,
        number: usize,
        bases: &mut Bases,
        warnings: &mut Warnings,
    ) -> Result<(State, PlannedStage)> {
        let node = &self.graph.nodes[number];
        let (mut state, base) = self.begin(number, bases)?;
        let mut titles = Titles::new(self.graph, number);
        let title = titles.first(&base);
        let mut steps = Vec::new();
        let no_cache = self.options.no_cache
            || node.name.as_ref().is_some_and(|name| self.options.no_cache_stages.contains(name));
        for statement in &node.statements {
            if !state.workdir_set && is_relative_workdir(&statement.instruction) {
                warnings.add(
                    "WorkdirRelativePath",
                    format!("{}: there is no absolute WORKDIR before", statement.original),
                    statement.span,
                );
            }
            let (action, key) = self
                .apply(number, statement, &mut state, warnings)
                .map_err(|problem| statement.error(problem))?;
            let changes_files = key.is_some();
            steps.push(Step {
                text: statement.original.clone(),
                title: titles.next(statement, &state.env, self.escape, changes_files),
                span: statement.span,
                is_trigger: statement.is_trigger,
                action,
                key,
                ignore_cache: no_cache && changes_files,
            });
            if changes_files {
                let stage = self.indices.len();
                state.parent = Parent::Step { stage, step: steps.len() - 1 };
            }
        }
        let needs = self.graph.needs(number)?;
        let mut needs: Vec<usize> =
            needs.iter().filter_map(|(stage, _)| self.indices.get(stage).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        let (name, platform) = (node.label(number), state.platform.clone());
        let (text, span) = (node.text.clone(), node.span);
        Ok((state, PlannedStage { number, name, platform, base, title, text, span, needs, steps }))
    }

    fn begin(&self, number: usize, bases: &mut Bases) -> Result<(State, Base)> {
        let node = &self.graph.nodes[number];
        let (mut state, base) = match &node.base {
            NodeBase::Stage(stage) => {
                // Bases come before: a name is known only after its FROM.
                let (Some(mut state), Some(index)) = (bases.take(*stage), self.indices.get(stage))
                else {
                    let stage = self.graph.nodes[*stage].label(*stage);
                    return Err(Error::at(Problem::Circular { stage }, node.span));
                };
                state.image.config.on_build.clear();
                state.cmd_set = false;
                (state, Base::Stage(*index))
            }
            NodeBase::Scratch => {
                (self.state(ImageConfig::default(), node.platform.clone(), None), Base::Scratch)
            }
            NodeBase::Image(request) => {
                let info = self.images.get(request).cloned().unwrap_or_default();
                let base = Base::Image {
                    reference: request.reference.clone(),
                    digest: info.digest.clone(),
                };
                let mut image = info.config;
                image.config.on_build.clear();
                (self.state(image, node.platform.clone(), Some(info.digest)), base)
            }
        };
        if state.env.get("PATH").is_none() && state.platform.os != "windows" {
            state.image.config.set_env("PATH", DEFAULT_PATH);
            state.env.set("PATH", DEFAULT_PATH);
        }
        Ok((state, base))
    }

    fn state(&self, image: ImageConfig, platform: Platform, digest: Option<String>) -> State {
        State {
            env: Env::of(&image.config.env),
            image,
            platform,
            arguments: Vec::new(),
            parent: digest.map_or(Parent::Nothing, Parent::Image),
            workdir_set: false,
            cmd_set: false,
        }
    }

    /// One statement. What changes files has a key.
    fn apply(
        &self,
        number: usize,
        statement: &Statement,
        state: &mut State,
        warnings: &mut Warnings,
    ) -> Result<(Action, Option<Key>), Problem> {
        match &statement.instruction {
            Instruction::Run(run) => return run::plan(self, number, run, state),
            Instruction::Copy(copy) => {
                return files::plan(self, number, copy, state, statement.span, warnings);
            }
            Instruction::Workdir(path) => return self.workdir(path, state),
            Instruction::Env { pairs, .. } => self.env(pairs, state)?,
            Instruction::Label { pairs, .. } => self.label(pairs, state)?,
            Instruction::Arg(definitions) => self.arg(definitions, state)?,
            Instruction::Cmd(line) => self.cmd(line, state),
            Instruction::Entrypoint(line) => self.entrypoint(line, state),
            Instruction::Shell(words) => {
                state.image.config.shell.clone_from(words);
                self.remember(state, format!("SHELL [{}]", words.join(" ")), false);
            }
            Instruction::Healthcheck(health) => self.health(health, state),
            Instruction::Expose(ports) => self.expose(ports, state)?,
            Instruction::Volume(volumes) => self.volume(volumes, state)?,
            Instruction::User(user) => {
                let user = self.expand(user, state)?;
                self.remember(state, format!("USER {user}"), false);
                state.image.config.user = user;
            }
            Instruction::Stopsignal(signal) => {
                let signal = self.expand(signal, state)?;
                if !ports::is_signal(&signal) {
                    return Err(Problem::Signal { signal });
                }
                self.remember(state, format!("STOPSIGNAL {signal}"), false);
                state.image.config.stop_signal = signal;
            }
            Instruction::Maintainer(author) => {
                state.image.author.clone_from(author);
                self.remember(state, format!("MAINTAINER {author}"), false);
            }
            Instruction::Onbuild(trigger) => {
                state.image.config.on_build.push(trigger.clone());
            }
            // A FROM begins a stage and is in none.
            Instruction::From(_) => {}
        }
        Ok((Action::Configure, None))
    }

    /// Puts the variables of the stage in.
    pub(super) fn expand(&self, text: &str, state: &State) -> Result<String, Problem> {
        expand(text, &state.env, self.escape)
    }

    /// What a name in COPY --from or a mount means to the executor.
    pub(super) fn source(&self, name: &str, number: usize) -> Result<FileSource, Problem> {
        match self.graph.from(name)? {
            From::Scratch => Ok(FileSource::Scratch),
            From::Stage(stage) => match self.indices.get(&stage) {
                Some(index) => Ok(FileSource::Stage(*index)),
                None => Err(Problem::NotBefore {
                    from: name.to_owned(),
                    stage: self.graph.nodes[number].label(number),
                }),
            },
            From::Image(request) => {
                let digest = self.images.get(&request).map(|info| info.digest.clone());
                let digest = digest.unwrap_or_default();
                Ok(FileSource::Image { reference: request.reference, digest })
            }
        }
    }

    /// One more line of the history.
    pub(super) fn remember(&self, state: &mut State, created_by: String, has_layer: bool) {
        state.image.history.push(History {
            created: self.globals.epoch.and_then(created),
            created_by,
            author: String::new(),
            comment: HISTORY_COMMENT.to_owned(),
            empty_layer: !has_layer,
        });
    }

    fn workdir(&self, path: &str, state: &mut State) -> Result<(Action, Option<Key>), Problem> {
        let path = self.expand(path, state)?;
        let path = linkspan_images::absolute_path(&state.image.config.working_dir, &path);
        state.image.config.working_dir.clone_from(&path);
        state.workdir_set = true;
        self.remember(state, format!("WORKDIR {path}"), path != "/");
        if path == "/" {
            return Ok((Action::Configure, None));
        }
        let owner = state.image.config.user.clone();
        let mut known = vec![("folder", path.clone()), ("owner", owner.clone())];
        known.extend(self.globals.epoch.map(|epoch| ("epoch", epoch.to_string())));
        let key = Key { parent: state.parent.clone(), known, holes: Vec::new() };
        Ok((Action::Folder(FolderStep { path, owner }), Some(key)))
    }
}

/// What a variable or quotes stand for is not known, and is not warned of.
fn is_relative_workdir(instruction: &Instruction) -> bool {
    match instruction {
        Instruction::Workdir(path) => !path.starts_with(['/', '$', '"', '\'']),
        _ => false,
    }
}

/// The command as it runs.
pub(super) fn with_shell(line: &CommandLine, state: &State) -> Vec<String> {
    match line {
        CommandLine::Exec(words) => words.clone(),
        CommandLine::Shell(text) => {
            let mut words = state.image.config.shell.clone();
            if words.is_empty() {
                words = vec!["/bin/sh".to_owned(), "-c".to_owned()];
            }
            words.push(text.clone());
            words
        }
    }
}

impl State {
    /// The variables that RUN's line of the history begins with: `|2 A=1 B=2`.
    pub(super) fn arguments_for_history(&self) -> Option<String> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.arguments {
            let proxy = PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
            if !proxy && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return None;
        }
        let value = |name: &&str| format!("{name}={}", self.env.get(name).unwrap_or_default());
        let values: Vec<String> = names.iter().map(value).collect();
        Some(format!("|{} {}", values.len(), values.join(" ")))
    }
}
