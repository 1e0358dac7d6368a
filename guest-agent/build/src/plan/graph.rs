//! Which stages there are, what each needs, and which of them the target needs.

use std::collections::{BTreeMap, BTreeSet};

use linkspan_images::{Platform, Reference};

use super::arguments::{Globals, expand};
use super::types::{ImageInfo, ImageRequest, Images, Options};
use crate::error::{Error, Problem, Result, Suggestion};
use crate::platform;
use crate::source::Span;
use crate::syntax::{self, Instruction, Statement};

/// Triggers of all stages together: each stage on top of a base runs all that it has.
const MAX_TRIGGERED: usize = 100_000;

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeBase {
    Scratch,
    Stage(usize),
    Image(ImageRequest),
}

/// A stage, its FROM evaluated.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Option<String>,
    pub(super) base: NodeBase,
    /// What FROM --platform says, or the target.
    pub(super) platform: Platform,
    /// The FROM as it is written.
    pub(super) text: String,
    pub(super) span: Span,
    pub(super) statements: Vec<Statement>,
}

impl Node {
    pub(super) fn label(&self, number: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{number}"))
    }
}

/// What a COPY or a mount is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    Scratch,
    Stage(usize),
    Image(ImageRequest),
}

/// All stages of the Dockerfile.
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// The number of what is built.
    pub(super) target: usize,
    /// The numbers of what the target needs, itself too.
    pub(super) reachable: BTreeSet<usize>,
    /// The last stage of each name.
    names: BTreeMap<String, usize>,
    /// Names that mean an image, whatever the Dockerfile says.
    named: BTreeMap<String, String>,
    platform: Platform,
}

impl Graph {
    pub(super) fn new(
        statements: Vec<Statement>,
        escape: char,
        globals: &Globals,
        options: &Options,
    ) -> Result<Self> {
        let mut graph = Self {
            nodes: Vec::new(),
            target: 0,
            reachable: BTreeSet::new(),
            names: BTreeMap::new(),
            named: options.named_images.clone(),
            platform: globals.platform.clone(),
        };
        for statement in statements {
            if let Instruction::From(stage) = &statement.instruction {
                let node = graph
                    .node(stage, &statement, escape, globals, options)
                    .map_err(|problem| Error::at(problem, statement.span))?;
                // A name is known from the next stage on: FROM a AS a is from the image.
                if let Some(name) = node.name.clone() {
                    graph.names.insert(name, graph.nodes.len());
                }
                graph.nodes.push(node);
            } else if let Some(node) = graph.nodes.last_mut() {
                node.statements.push(statement);
            }
        }
        if graph.nodes.is_empty() {
            return Err(Error::whole(Problem::NoStages));
        }
        graph.target = graph.find_target(options.target.as_deref())?;
        graph.check_cycles()?;
        Ok(graph)
    }

    fn node(
        &self,
        stage: &syntax::Stage,
        statement: &Statement,
        escape: char,
        globals: &Globals,
        options: &Options,
    ) -> Result<Node, Problem> {
        let name = expand(&stage.base, &globals.env, escape)?;
        if name.is_empty() {
            return Err(Problem::BlankBase { name: stage.base.clone() });
        }
        let asked = match &stage.platform {
            None => None,
            Some(text) => {
                let value = expand(text, &globals.env, escape)?;
                if value.is_empty() {
                    return Err(Problem::EmptyPlatform { text: text.clone() });
                }
                let parsed = platform::parse(&value, &options.build_platform);
                Some(parsed.map_err(|why| Problem::Platform { text: value.clone(), why })?)
            }
        };
        let named = self.named.get(&name.to_lowercase());
        let number = match named {
            Some(_) => None,
            None => self.names.get(&name.to_lowercase()).copied(),
        };
        let mut platform = asked.unwrap_or_else(|| globals.platform.clone());
        let base = match number {
            Some(number) => {
                platform = self.nodes[number].platform.clone();
                NodeBase::Stage(number)
            }
            None if name == "scratch" && named.is_none() => {
                platform = globals.platform.clone();
                NodeBase::Scratch
            }
            None => NodeBase::Image(request(named.unwrap_or(&name), platform.clone())?),
        };
        let (name, text, span) = (stage.name.clone(), statement.original.clone(), statement.span);
        Ok(Node { name, base, platform, text, span, statements: Vec::new() })
    }

    fn find_target(&self, wanted: Option<&str>) -> Result<usize> {
        let Some(wanted) = wanted else { return Ok(self.nodes.len() - 1) };
        let by_name = self.names.get(&wanted.to_lowercase()).copied();
        let by_number = || wanted.parse().ok().filter(|number| *number < self.nodes.len());
        by_name.or_else(by_number).ok_or_else(|| {
            let suggestion = Suggestion::nearest(wanted, self.names.keys().map(String::as_str));
            Error::whole(Problem::Target { name: wanted.to_owned(), suggestion })
        })
    }

    /// What a name in COPY --from or a mount means.
    pub(super) fn from(&self, name: &str) -> Result<From, Problem> {
        if let Some(image) = self.named.get(&name.to_lowercase()) {
            return request(image, self.platform.clone()).map(From::Image);
        }
        if let Some(number) = self.names.get(&name.to_lowercase()) {
            return Ok(From::Stage(*number));
        }
        if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
            let number = name.parse().ok().filter(|number| *number < self.nodes.len());
            let unknown = || Problem::StageIndex { index: name.to_owned() };
            return number.map(From::Stage).ok_or_else(unknown);
        }
        if name == "scratch" {
            return Ok(From::Scratch);
        }
        request(name, self.platform.clone()).map(From::Image)
    }

    /// What a statement reads beside its own stage and the context.
    pub(super) fn sources(&self, statement: &Statement) -> Result<Vec<From>, Problem> {
        match &statement.instruction {
            Instruction::Copy(copy) => match &copy.from {
                Some(from) if from.contains('$') => Err(Problem::FromVariable),
                Some(from) => Ok(vec![self.from(from)?]),
                None => Ok(Vec::new()),
            },
            Instruction::Run(run) => {
                run.mount_sources.iter().flatten().map(|from| self.from(from)).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The stages that a stage needs, each with the line that says so.
    pub(super) fn needs(&self, number: usize) -> Result<Vec<(usize, Span)>> {
        let node = &self.nodes[number];
        let mut needs = Vec::new();
        if let NodeBase::Stage(base) = node.base {
            needs.push((base, node.span));
        }
        for statement in &node.statements {
            let sources = self.sources(statement).map_err(|problem| statement.error(problem))?;
            needs.extend(sources.into_iter().filter_map(|from| match from {
                From::Stage(stage) => Some((stage, statement.span)),
                From::Scratch | From::Image(_) => None,
            }));
        }
        Ok(needs)
    }

    /// Also among stages that the target does not need, as BuildKit has it.
    fn check_cycles(&self) -> Result<()> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.nodes.len()];
        for start in 0..self.nodes.len() {
            // A stack of our own: a Dockerfile may have thousands of stages.
            let mut stack = vec![(start, self.needs(start)?)];
            if marks[start] != Mark::New {
                continue;
            }
            marks[start] = Mark::Open;
            while let Some((number, needs)) = stack.last_mut() {
                let Some((next, span)) = needs.pop() else {
                    marks[*number] = Mark::Done;
                    stack.pop();
                    continue;
                };
                match marks[next] {
                    Mark::Open => {
                        let stage = self.nodes[start].label(start);
                        return Err(Error::at(Problem::Circular { stage }, span));
                    }
                    Mark::New => {
                        marks[next] = Mark::Open;
                        let needs = self.needs(next)?;
                        stack.push((next, needs));
                    }
                    Mark::Done => {}
                }
            }
        }
        Ok(())
    }

    /// Puts the triggers of bases in, and finds what the target needs. Returns the images that the
    /// caller must bring first.
    pub(super) fn resolve(&mut self, images: &Images) -> Result<Vec<ImageRequest>> {
        let mut missing = Vec::new();
        let mut want = |request: &ImageRequest| match images.get(request) {
            Some(info) => Some(info),
            None => {
                if !missing.contains(request) {
                    missing.push(request.clone());
                }
                None
            }
        };
        let mut added = 0;
        let mut queue = vec![self.target];
        while let Some(number) = queue.pop() {
            if !self.reachable.insert(number) {
                continue;
            }
            let triggers = self.triggers(number, &mut want);
            let from = self.nodes[number].span;
            let parsed = triggers
                .iter()
                .map(|trigger| syntax::parse_trigger(trigger, from))
                .collect::<Result<Vec<_>>>()?;
            added += parsed.len();
            if added > MAX_TRIGGERED {
                let problem = Problem::TooManyInstructions { limit: MAX_TRIGGERED };
                return Err(Error::at(problem, from));
            }
            self.nodes[number].statements.splice(0..0, parsed);
            queue.extend(self.needs(number)?.into_iter().map(|(stage, _)| stage));
            for statement in &self.nodes[number].statements {
                let sources =
                    self.sources(statement).map_err(|problem| statement.error(problem))?;
                for source in sources {
                    if let From::Image(request) = source {
                        want(&request);
                    }
                }
            }
        }
        // Triggers may have closed a circle.
        self.check_cycles()?;
        self.check_platforms(images)?;
        Ok(missing)
    }

    fn triggers<'i>(
        &self,
        number: usize,
        want: &mut impl FnMut(&ImageRequest) -> Option<&'i ImageInfo>,
    ) -> Vec<String> {
        match &self.nodes[number].base {
            NodeBase::Scratch => Vec::new(),
            NodeBase::Image(request) => {
                want(request).map(|info| info.config.config.on_build.clone()).unwrap_or_default()
            }
            NodeBase::Stage(base) => {
                let trigger = |statement: &Statement| match &statement.instruction {
                    Instruction::Onbuild(trigger) => Some(trigger.clone()),
                    _ => None,
                };
                self.nodes[*base].statements.iter().filter_map(trigger).collect()
            }
        }
    }

    /// A base that FROM --platform asks for must be of that system at least.
    fn check_platforms(&self, images: &Images) -> Result<()> {
        for number in &self.reachable {
            let node = &self.nodes[*number];
            let NodeBase::Image(request) = &node.base else { continue };
            let Some(info) = images.get(request) else { continue };
            let (os, wanted) = (&info.config.os, &request.platform.os);
            if !os.is_empty() && !wanted.is_empty() && os != wanted {
                let found = format!("{os}/{}", info.config.architecture);
                let problem = Problem::WrongPlatform {
                    reference: request.reference.clone(),
                    platform: request.platform.to_string(),
                    found,
                };
                return Err(Error::at(problem, node.span));
            }
        }
        Ok(())
    }
}

fn request(name: &str, platform: Platform) -> Result<ImageRequest, Problem> {
    let reference = Reference::parse(name)
        .map_err(|error| Problem::Reference { name: name.to_owned(), why: error.why })?;
    Ok(ImageRequest { reference: reference.with_default_tag().to_string(), platform })
}
