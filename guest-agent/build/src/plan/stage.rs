//! Evaluates the statements of a stage, one after the other.

use std::collections::BTreeMap;

use linkspan_images::Platform;

use super::arguments::{Globals, PROXIES, created, expand};
use super::files;
use super::graph::{From, Graph, NodeBase};
use super::key::{Key, Parent};
use super::ports;
use super::run;
use super::types::{Action, Base, FileSource, FolderStep, Images, Options, PlannedStage, Step};
use super::warnings::Warnings;
use crate::config::{Healthcheck, History, ImageConfig};
use crate::env::Env;
use crate::error::{Error, Problem, Result};
use crate::expand::Lexer;
use crate::format;
use crate::syntax::{ArgDefinition, CommandLine, Health, Instruction, Pair, Statement};

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
    cmd_set: bool,
}

/// Plans the stages that the target needs, in the order of the Dockerfile.
pub(super) fn plan_all(
    graph: &Graph,
    globals: &Globals,
    options: &Options,
    images: &Images,
    escape: char,
    warnings: &mut Warnings,
) -> Result<Vec<PlannedStage>> {
    let mut indices = BTreeMap::new();
    let mut states: BTreeMap<usize, State> = BTreeMap::new();
    let mut stages = Vec::new();
    for number in &graph.reachable {
        let scope = Scope { graph, globals, options, images, escape, indices: &indices };
        let (state, stage) = scope.stage(*number, &states, warnings)?;
        indices.insert(*number, stages.len());
        states.insert(*number, state);
        stages.push(stage);
    }
    Ok(stages)
}

impl Scope<'_> {
    fn stage(
        &self,
        number: usize,
        states: &BTreeMap<usize, State>,
        warnings: &mut Warnings,
    ) -> Result<(State, PlannedStage)> {
        let node = &self.graph.nodes[number];
        let (mut state, base) = self.begin(number, states)?;
        let mut titles = Titles::new(self.graph, number);
        let mut steps = Vec::new();
        let no_cache = self.options.no_cache
            || node.name.as_ref().is_some_and(|name| self.options.no_cache_stages.contains(name));
        for statement in &node.statements {
            let relative = matches!(&statement.instruction, Instruction::Workdir(path) if !path.starts_with(['/', '$', '"', '\'']));
            if relative && !state.workdir_set {
                warnings.add(
                    "WorkdirRelativePath",
                    format!("{}: there is no absolute WORKDIR before", statement.original),
                    statement.span,
                );
            }
            let before = state.env.clone();
            let (action, key) = self
                .apply(number, statement, &mut state, warnings)
                .map_err(|problem| statement.error(problem))?;
            let changes_files = key.is_some();
            steps.push(Step {
                text: statement.original.clone(),
                title: titles.next(statement, &before, self.escape, changes_files),
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
        let mut config = state.image.clone();
        config.created = self.globals.epoch.and_then(created);
        config.os.clone_from(&state.platform.os);
        config.architecture.clone_from(&state.platform.architecture);
        config.variant.clone_from(&state.platform.variant);
        let (name, platform, span) = (node.label(number), state.platform.clone(), node.span);
        Ok((state, PlannedStage { number, name, platform, base, span, needs, steps, config }))
    }

    fn begin(&self, number: usize, states: &BTreeMap<usize, State>) -> Result<(State, Base)> {
        let node = &self.graph.nodes[number];
        let (mut state, base) = match &node.base {
            NodeBase::Stage(stage) => {
                // Bases come before: a name is known only after its FROM.
                let (Some(state), Some(index)) = (states.get(stage), self.indices.get(stage))
                else {
                    let stage = self.graph.nodes[*stage].label(*stage);
                    return Err(Error::at(Problem::Circular { stage }, node.span));
                };
                let mut state = state.clone();
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
        let path = files::absolute(&state.image.config.working_dir, &path);
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

    fn env(&self, pairs: &[Pair], state: &mut State) -> Result<(), Problem> {
        // All of an instruction see the values of before it.
        let mut line = "ENV".to_owned();
        for (name, value) in self.expand_pairs(pairs, state)? {
            line += &format!(" {name}={value}");
            state.env.set(&name, &value);
            state.image.config.set_env(&name, &value);
        }
        self.remember(state, line, false);
        Ok(())
    }

    fn label(&self, pairs: &[Pair], state: &mut State) -> Result<(), Problem> {
        let mut line = "LABEL".to_owned();
        for (name, value) in self.expand_pairs(pairs, state)? {
            line += &format!(" {name}={value}");
            state.image.config.labels.insert(name, value);
        }
        self.remember(state, line, false);
        Ok(())
    }

    fn expand_pairs(
        &self,
        pairs: &[Pair],
        state: &State,
    ) -> Result<Vec<(String, String)>, Problem> {
        let expanded =
            |pair: &Pair| Ok((self.expand(&pair.name, state)?, self.expand(&pair.value, state)?));
        pairs.iter().map(expanded).collect()
    }

    fn arg(&self, definitions: &[ArgDefinition], state: &mut State) -> Result<(), Problem> {
        let mut line = "ARG".to_owned();
        for ArgDefinition { name, default } in definitions {
            // What the user gives, before the default here, before what was said before FROM.
            let value = match (self.options.build_args.get(name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(text)) => Some(self.expand(text, state)?),
                (None, None) => self.globals.env.get(name).map(str::to_owned),
            };
            line += &format!(" {name}");
            if let Some(value) = &value {
                line += &format!("={value}");
                state.env.set(name, value);
            }
            state.arguments.push((name.clone(), value));
        }
        self.remember(state, line, false);
        Ok(())
    }

    fn cmd(&self, line: &CommandLine, state: &mut State) {
        let words = with_shell(line, state);
        self.remember(state, format!("CMD {}", format::quoted_list(&words)), false);
        state.image.config.cmd = Some(words);
        state.cmd_set = true;
    }

    fn entrypoint(&self, line: &CommandLine, state: &mut State) {
        let words = with_shell(line, state);
        self.remember(state, format!("ENTRYPOINT {}", format::quoted_list(&words)), false);
        state.image.config.entrypoint = Some(words);
        // The base's command is no arguments for this program.
        if !state.cmd_set {
            state.image.config.cmd = None;
        }
    }

    fn health(&self, health: &Health, state: &mut State) {
        let line = format!(
            "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} \
             Retries:{}}}",
            health.test.join(" "),
            format::duration(health.interval),
            format::duration(health.timeout),
            format::duration(health.start_period),
            format::duration(health.start_interval),
            health.retries,
        );
        self.remember(state, line, false);
        state.image.config.healthcheck = Some(Healthcheck {
            test: health.test.clone(),
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries,
        });
    }

    fn expose(&self, words: &[String], state: &mut State) -> Result<(), Problem> {
        let mut all = Vec::new();
        for text in words {
            let expanded = Lexer::new(self.escape, &state.env).words(text);
            let problem = |why| Problem::Expansion { text: text.clone(), why };
            for word in expanded.map_err(problem)? {
                all.extend(ports::parse(&word)?);
            }
        }
        self.remember(state, format!("EXPOSE [{}]", all.join(" ")), false);
        let exposed = &mut state.image.config.exposed_ports;
        exposed.extend(all.into_iter().map(|port| (port, crate::config::Empty {})));
        Ok(())
    }

    fn volume(&self, volumes: &[String], state: &mut State) -> Result<(), Problem> {
        let mut all = Vec::new();
        for volume in volumes {
            let volume = self.expand(volume, state)?;
            if volume.trim().is_empty() {
                return Err(Problem::EmptyVolume);
            }
            all.push(volume);
        }
        self.remember(state, format!("VOLUME [{}]", all.join(" ")), false);
        let volumes = &mut state.image.config.volumes;
        volumes.extend(all.into_iter().map(|volume| (volume, crate::config::Empty {})));
        Ok(())
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

/// The titles of a stage's steps: `[build 2/5] RUN make`.
struct Titles {
    prefix: String,
    done: usize,
    total: usize,
}

impl Titles {
    fn new(graph: &Graph, number: usize) -> Self {
        let node = &graph.nodes[number];
        let from_image = usize::from(matches!(node.base, NodeBase::Image(_)));
        let counts = |statement: &&Statement| {
            use Instruction::{Copy, Run, Workdir};
            matches!(statement.instruction, Run(_) | Copy(_) | Workdir(_))
        };
        let total = from_image + node.statements.iter().filter(counts).count();
        let several = graph.nodes.len() > 1;
        let prefix = if several { format!("{} ", node.label(number)) } else { String::new() };
        Self { prefix, done: from_image, total }
    }

    fn next(
        &mut self,
        statement: &Statement,
        env: &Env,
        escape: char,
        changes_files: bool,
    ) -> String {
        if !changes_files {
            return String::new();
        }
        self.done += 1;
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..Lexer::new(escape, env) };
        let text = lexer.word(&statement.original).unwrap_or_else(|_| statement.original.clone());
        let rest = text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
        let trigger = if statement.is_trigger { "ONBUILD " } else { "" };
        let width = self.total.to_string().len();
        let (prefix, done, total, name) = (&self.prefix, self.done, self.total, statement.name);
        format!("[{prefix}{done:width$}/{total}] {trigger}{name} {rest}")
    }
}
