//! Carries the steps of one build out: what [`linkspan_build::execute`] asks for.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use linkspan_build::{
    Action, Base, CopyStep, Event, FileSource, Hole, Ignore, Plan, RunStep, Source, Step,
    Tree as Files, Trees, Worker,
};
use linkspan_files::{Archive, Folder};
use linkspan_images::{Digest, Held, HeldImage, Scratch};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::command::{Command, Machine};
use crate::context::{self, Context};
use crate::copy;
use crate::error::{Error, Result};
use crate::instruction::{InstructionState, Numbers, address};
use crate::layer::Layer;
use crate::mounts;
use crate::run::{self, Place, RunOptions, Stubs};
use crate::tree::Tree;
use crate::{BUFFER, Builder, Progress, StepState};

/// A layer that a step made.
#[derive(Debug, Clone)]
pub struct StepLayer {
    /// Which.
    pub diff_id: Digest,
    /// Nanoseconds since 1970.
    pub created_unix_nanos: i64,
}

/// One build.
pub struct Build<'a> {
    /// Where it is done.
    pub builder: &'a Builder,
    /// What is done.
    pub plan: &'a Plan,
    /// The context.
    pub context: &'a Context,
    /// The images of the plan, by the digest that it has for them.
    pub images: &'a HashMap<String, HeldImage>,
    /// What all RUNs have in common.
    pub options: RunOptions,
    /// Where commands run.
    pub machine: &'a dyn Machine,
    /// Who is told.
    pub progress: &'a dyn Progress,
    numbers: Numbers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Layers that were found or made stay until the build ends.
    held: Vec<Held>,
    /// When the steps that run began.
    began: HashMap<usize, Instant>,
    /// Downloads, by URL, with their digests.
    downloads: BTreeMap<String, (PathBuf, String)>,
    /// For downloads.
    scratch: Option<Scratch>,
}

type Layers = Files<StepLayer>;

impl<'a> Build<'a> {
    /// Nothing is done yet.
    pub fn new(
        builder: &'a Builder,
        plan: &'a Plan,
        context: &'a Context,
        images: &'a HashMap<String, HeldImage>,
        options: RunOptions,
        machine: &'a dyn Machine,
        progress: &'a dyn Progress,
    ) -> Self {
        let (numbers, state) = (Numbers::of(plan), Mutex::default());
        Self { builder, plan, context, images, options, machine, progress, numbers, state }
    }

    /// All layers of a tree, base first.
    pub(crate) fn layers_of(&self, tree: &Layers) -> Vec<Digest> {
        let mut layers = self.base_of(tree);
        layers.extend(tree.layers.iter().map(|layer| layer.diff_id));
        layers
    }

    /// The layers of the image that a tree begins with.
    pub(crate) fn base_of(&self, tree: &Layers) -> Vec<Digest> {
        let image = tree.image.as_ref().and_then(|image| self.images.get(&image.digest));
        image.map(|image| image.layers.clone()).unwrap_or_default()
    }

    /// The files of a tree; None when there are none.
    pub(crate) fn folder_of(&self, tree: &Layers) -> Result<Option<Folder>> {
        let layers = self.layers_of(tree);
        if layers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Folder::of_layers(&self.builder.store.layer_folders(&layers)?)?))
    }

    fn tree<'t>(&'t self, from: &FileSource, trees: &Trees<StepLayer>) -> Result<Tree<'t>> {
        let files = |folder: Option<Folder>| folder.map_or(Tree::Empty, Tree::Files);
        match from {
            FileSource::Context => Ok(Tree::Context(self.context)),
            FileSource::Scratch => Ok(Tree::Empty),
            FileSource::Stage(stage) => match trees.get(stage) {
                Some(tree) => Ok(files(self.folder_of(tree)?)),
                None => Ok(Tree::Empty),
            },
            FileSource::Image { digest, .. } => {
                let Some(image) = self.images.get(digest) else { return Ok(Tree::Empty) };
                let folders = self.builder.store.layer_folders(&image.layers)?;
                Ok(Tree::Files(Folder::of_layers(&folders)?))
            }
        }
    }

    /// How a source is called in messages.
    fn place(&self, from: &FileSource) -> String {
        match from {
            FileSource::Context => "the build context".to_owned(),
            FileSource::Scratch => "scratch".to_owned(),
            FileSource::Stage(stage) => {
                let name = self.plan.stages.get(*stage).map(|stage| stage.name.as_str());
                format!("stage {}", name.unwrap_or_default())
            }
            FileSource::Image { reference, .. } => reference.clone(),
        }
    }

    fn not_there(&self, path: &str, from: &FileSource) -> Error {
        let relative = path.trim_matches('/');
        let ignored = *from == FileSource::Context && self.context.ignore.ignores(relative);
        Error::NotThere { path: path.to_owned(), place: self.place(from), ignored }
    }

    /// The digest of files, remembered where that is safe: layers do not change.
    fn files_digest(
        &self,
        from: &FileSource,
        paths: &[String],
        excludes: &[String],
        trees: &Trees<StepLayer>,
    ) -> Result<String> {
        let fresh = || -> Result<String> {
            let ignore = Ignore::of(excludes).unwrap_or_default();
            self.tree(from, trees)?.digest(paths, &ignore, |path| self.not_there(path, from))
        };
        let FileSource::Stage(stage) = from else { return fresh() };
        let layers = trees.get(stage).map(|tree| self.layers_of(tree)).unwrap_or_default();
        let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
        let what = serde_json::to_vec(&(layers, paths, excludes)).unwrap_or_default();
        let what = hex::encode(Sha256::digest(what));
        if let Some(known) = self.builder.cache.content(&what) {
            return Ok(known);
        }
        let found = fresh()?;
        self.builder.cache.remember(what, &found);
        Ok(found)
    }

    /// Downloads a file once a build: where it is, and its digest.
    fn download(&self, url: &str) -> Result<(PathBuf, String)> {
        if let Some(known) = self.state.lock().downloads.get(url) {
            return Ok(known.clone());
        }
        let scratch = self.builder.store.scratch("download")?;
        let path = scratch.path().join("file");
        let failed = |why| Error::Download { url: url.to_owned(), why };
        self.machine.fetch(url, &path).map_err(failed)?;
        let file = std::fs::File::open(&path).map_err(Error::io("open", &path))?;
        let digest = context::digest(file).map_err(Error::io("read", &path))?;
        let mut state = self.state.lock();
        let folder = match &state.scratch {
            Some(folder) => folder.path().to_owned(),
            None => {
                let folder = self.builder.store.scratch("downloads")?;
                let path = folder.path().to_owned();
                state.scratch = Some(folder);
                path
            }
        };
        let kept = folder.join(state.downloads.len().to_string());
        std::fs::rename(&path, &kept).map_err(Error::io("create", &kept))?;
        state.downloads.insert(url.to_owned(), (kept.clone(), digest.clone()));
        Ok((kept, digest))
    }

    fn fetch(&self, url: &str, checksum: Option<&str>) -> Result<PathBuf> {
        let (path, digest) = self.download(url)?;
        match checksum {
            Some(wanted) if wanted != format!("sha256:{digest}") => Err(Error::Checksum {
                url: url.to_owned(),
                found: format!("sha256:{digest}"),
                wanted: wanted.to_owned(),
            }),
            _ => Ok(path),
        }
    }

    fn copy(
        &self,
        step: &CopyStep,
        below: &Layers,
        trees: &Trees<StepLayer>,
        write: &mut dyn FnMut(Layer<'_>) -> Result<StepLayer>,
    ) -> Result<StepLayer> {
        let scratch = self.builder.store.scratch("copy")?;
        let below = if step.link { None } else { self.folder_of(below)? };
        let tree = |source: &Source| match source {
            Source::Files { from, .. } => self.tree(from, trees),
            _ => Ok(Tree::Empty),
        };
        let around = copy::Around {
            below: below.as_ref(),
            epoch: self.plan.epoch,
            tree: &tree,
            fetch: &|url, checksum| self.fetch(url, checksum),
            scratch: &scratch,
        };
        for source in &step.sources {
            if let Source::Files {
                from: from @ (FileSource::Image { .. } | FileSource::Scratch),
                path,
                required: true,
                parents: None,
                ..
            } = source
                && self.tree(from, trees)?.matches(path)?.is_empty()
            {
                return Err(self.not_there(path, from));
            }
        }
        write(copy::copy(step, &around)?)
    }

    fn run(
        &self,
        step: &Step,
        command: &RunStep,
        key: &str,
        below: &Layers,
        trees: &Trees<StepLayer>,
    ) -> Result<StepLayer> {
        let words = command.arguments.join(" ");
        let store = &self.builder.store;
        let scratch = store.scratch("run")?;
        let memory = self.builder.memory_folder()?;
        let tree = |from: &FileSource| self.tree(from, trees);
        let around = mounts::Around {
            options: &self.options,
            cache: &self.builder.cache,
            caches: &self.builder.mounts,
            tree: &tree,
            place: &|from| self.place(from),
            scratch: scratch.path(),
            memory: memory.path(),
            cancelled: &|| self.machine.is_cancelled(),
            ssh_agent: &|id, socket| self.machine.ssh_agent(id, socket),
        };
        let (bound, held) = mounts::prepare(command, &around)?;
        let lower = store.layer_folders(&self.layers_of(below))?;
        let below = self.folder_of(below)?;
        let place = Place { lower, scratch: &scratch };
        let id = self.builder.new_id();
        let plan = run::plan(&id, command, &self.options, &place, bound)?;
        let stubs = Stubs::of(&plan, below.as_ref())?;
        let began = self.state.lock().began.get(&address(step)).copied();
        let began = began.unwrap_or_else(Instant::now);
        self.instruction(step, &step.text, InstructionState::Runs(&id));
        let output = |stderr, bytes: &[u8]| {
            self.progress.output(&step.title, stderr, bytes, began.elapsed());
        };
        let asked = Command {
            id,
            plan,
            confined: !command.insecure,
            network: command.network,
            extra_hosts: &self.options.extra_hosts,
            folder: scratch.path(),
        };
        let failed = |why| Error::Command { command: words.clone(), why };
        let ended = self.machine.run(asked, &output).map_err(failed)?;
        drop(held);
        if self.machine.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if ended.code != 0 {
            if ended.out_of_memory {
                return Err(failed("the machine has not enough memory for it".to_owned()));
            }
            return Err(Error::Exit { command: words, code: ended.code });
        }
        let upper = scratch.path().join("upper");
        stubs.remove(&upper, below.as_ref())?;
        self.made(key, step, |out| {
            let mut archive = Archive::new(std::io::BufWriter::with_capacity(BUFFER, out))
                .with_latest(self.plan.epoch);
            archive.add_layer(&upper, &|_| false)?;
            let mut out = archive.finish()?;
            std::io::Write::flush(&mut out).map_err(linkspan_files::Error::Write)?;
            Ok(())
        })
    }

    fn instruction<T>(&self, of: &T, text: &str, state: InstructionState<'_>) {
        self.progress.instruction(self.numbers.instruction(of, text, state));
    }

    /// Keeps what is written as a layer, under the key.
    fn made(
        &self,
        key: &str,
        step: &Step,
        write: impl FnOnce(std::io::PipeWriter) -> Result<()>,
    ) -> Result<StepLayer> {
        let made = self.builder.store.make_layer(&step.title, write)?;
        let record = self.builder.cache.keep(key, made.diff_id, made.size_bytes, &step.title)?;
        self.state.lock().held.push(made.held);
        let created_unix_nanos = record.created_unix_nanos;
        Ok(StepLayer { diff_id: made.diff_id, created_unix_nanos })
    }
}

impl Worker for Build<'_> {
    type Layer = StepLayer;
    type Error = Error;

    fn content(&self, hole: &Hole, trees: &Trees<StepLayer>) -> Result<String> {
        match hole {
            Hole::ContextFiles { paths, excludes } => {
                self.files_digest(&FileSource::Context, paths, excludes, trees)
            }
            Hole::StageFiles { stage, paths, excludes } => {
                self.files_digest(&FileSource::Stage(*stage), paths, excludes, trees)
            }
            Hole::Url(url) => self.download(url).map(|(_, digest)| digest),
            Hole::Commit { .. } => Err(Error::Unsupported {
                what: "ADD of a git repository".to_owned(),
                why: "there is no git in the machine",
            }),
        }
    }

    fn find(&self, key: &str) -> Result<Option<StepLayer>> {
        let Some(record) = self.builder.cache.find(key) else { return Ok(None) };
        let Some(held) = self.builder.store.hold(&[record.diff_id]) else {
            self.builder.cache.forget(key);
            return Ok(None);
        };
        self.state.lock().held.push(held);
        let created_unix_nanos = record.created_unix_nanos;
        Ok(Some(StepLayer { diff_id: record.diff_id, created_unix_nanos }))
    }

    fn perform(
        &self,
        step: &Step,
        key: &str,
        below: &Layers,
        trees: &Trees<StepLayer>,
    ) -> Result<StepLayer> {
        if self.machine.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mut write = |layer: Layer<'_>| self.made(key, step, |out| layer.write(out));
        let result = match &step.action {
            Action::Run(command) => self.run(step, command, key, below, trees),
            Action::Copy(copy) => self.copy(copy, below, trees, &mut write),
            Action::Folder(folder) => {
                let below = self.folder_of(below)?;
                write(copy::folder(folder, below.as_ref(), self.plan.epoch)?)
            }
            Action::Configure => unreachable!("a step that changes no files is not performed"),
        };
        if result.is_err() {
            let began = self.state.lock().began.remove(&address(step));
            self.progress.step(&step.title, StepState::Failed, elapsed(began));
        }
        result
    }

    fn tell(&self, event: Event<'_, StepLayer>) {
        match event {
            Event::Stage(stage, layer) => {
                self.instruction(stage, &stage.text, InstructionState::Begins);
                let base = match &stage.base {
                    Base::Image { digest, .. } => Some(digest.clone()),
                    Base::Scratch | Base::Stage(_) => layer.map(|layer| layer.diff_id.to_string()),
                };
                let done = InstructionState::Done(base.as_deref());
                self.instruction(stage, &stage.text, done);
            }
            Event::Begins(step) => {
                self.state.lock().began.insert(address(step), Instant::now());
                self.progress.step(&step.title, StepState::Running, Duration::ZERO);
                self.instruction(step, &step.text, InstructionState::Begins);
            }
            Event::Found(step, layer) => {
                self.progress.step(&step.title, StepState::Cached, Duration::ZERO);
                let layer = layer.diff_id.to_string();
                self.instruction(step, &step.text, InstructionState::Cached(&layer));
            }
            Event::Done(step, layer) => {
                let began = self.state.lock().began.remove(&address(step));
                self.progress.step(&step.title, StepState::Done, elapsed(began));
                let layer = layer.diff_id.to_string();
                self.instruction(step, &step.text, InstructionState::Done(Some(&layer)));
            }
            Event::Configured(step) => {
                self.instruction(step, &step.text, InstructionState::Begins);
                self.instruction(step, &step.text, InstructionState::Done(None));
            }
        }
    }
}

fn elapsed(began: Option<Instant>) -> Duration {
    began.map(|began| began.elapsed()).unwrap_or_default()
}
