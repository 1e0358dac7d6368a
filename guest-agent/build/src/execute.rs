//! Carries a plan out: which step when, and which not at all because its result is there.
//!
//! Owns the order, the cache keys and the end after a failure. What a step does to files is a
//! [`Worker`]'s business: it makes layers, finds them again, and knows what is in them.
//!
//! A tree of files is what it begins with and the layers above. An image is only named: a build of
//! which every step is found again reads no file of its bases.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use crate::plan::{Base, Hole, Parent, Plan, PlannedStage, Step};

/// Makes layers.
pub trait Worker: Sync {
    /// What one step adds to the files below it.
    type Layer: Clone + Send + Sync;
    /// Why a step failed.
    type Error: Send;

    /// The digest of what a hole stands for.
    ///
    /// # Errors
    /// It cannot be read; the step that needs it has failed.
    fn content(&self, hole: &Hole, trees: &Trees<Self::Layer>) -> Result<String, Self::Error>;

    /// The layer that a step with this key has made before, if it is still there.
    ///
    /// # Errors
    /// The cache cannot be read.
    fn find(&self, key: &str) -> Result<Option<Self::Layer>, Self::Error>;

    /// Does a step on top of these files, and keeps its layer under the key. Called from several
    /// threads, for steps of stages that do not need each other. Never for [`Action::Configure`].
    ///
    /// # Errors
    /// The step failed; nothing of it is kept.
    ///
    /// [`Action::Configure`]: crate::Action::Configure
    fn perform(
        &self,
        step: &Step,
        key: &str,
        below: &Tree<Self::Layer>,
        trees: &Trees<Self::Layer>,
    ) -> Result<Self::Layer, Self::Error>;

    /// Told before a step is done, and of one that need not be.
    fn tell(&self, _event: Event<'_, Self::Layer>) {}
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub enum Event<'p, L> {
    /// A stage begins, on this layer of another one.
    Stage(&'p PlannedStage, Option<&'p L>),
    /// A step begins.
    Begins(&'p Step),
    /// Its layer was there.
    Found(&'p Step, &'p L),
    /// It has been done.
    Done(&'p Step, &'p L),
    /// It changes no files: there is nothing to do.
    Configured(&'p Step),
}

/// Files: a base, and layers above it from the lowest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree<L> {
    /// The image below; None: nothing.
    pub image: Option<ImageName>,
    /// Above it.
    pub layers: Vec<L>,
}

/// An image as a tree names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// With domain and tag or digest.
    pub reference: String,
    /// Of the manifest.
    pub digest: String,
}

/// The trees of stages that are done, by their index in the plan.
pub type Trees<L> = BTreeMap<usize, Tree<L>>;

/// The step that failed.
#[derive(Debug)]
pub struct Failure<E> {
    /// The index of its stage in the plan.
    pub stage: usize,
    /// Its index in the stage; its span says where it stands.
    pub step: usize,
    /// Why.
    pub error: E,
}

/// A build that has ended well.
#[derive(Debug)]
pub struct Built<L> {
    /// The files of the target.
    pub tree: Tree<L>,
    /// How many steps were done, and how many were found.
    pub performed: usize,
    /// Found in the cache.
    pub found: usize,
}

/// Carries a plan out on at most so many threads.
///
/// After a failure no further step begins, those of other stages that run are waited for, and the
/// failure is returned that came first.
///
/// # Errors
/// A step failed.
pub fn execute<W: Worker>(
    plan: &Plan,
    worker: &W,
    threads: usize,
) -> Result<Built<W::Layer>, Failure<W::Error>> {
    let state = State {
        waiting: (0..plan.stages.len()).collect(),
        trees: Trees::new(),
        keys: BTreeMap::new(),
        failure: None,
        performed: 0,
        found: 0,
    };
    let build = Build { plan, worker, state: Mutex::new(state), changed: Condvar::new() };
    let threads = threads.clamp(1, plan.stages.len().max(1));
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| build.work());
        }
        build.work();
    });
    let mut state = build.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match (state.failure.take(), state.trees.remove(&plan.target)) {
        (None, Some(tree)) => Ok(Built { tree, performed: state.performed, found: state.found }),
        (Some(failure), _) => Err(failure),
        // The stages end one by one, in an order that their needs allow, until all are done.
        (None, None) => unreachable!("a build without a failure has built its target"),
    }
}

struct Build<'p, W: Worker> {
    plan: &'p Plan,
    worker: &'p W,
    state: Mutex<State<W>>,
    /// A stage is done, or something failed.
    changed: Condvar,
}

struct State<W: Worker> {
    /// Stages that nobody has begun.
    waiting: Vec<usize>,
    trees: Trees<W::Layer>,
    /// Of each step that has one, by stage and step.
    keys: BTreeMap<(usize, usize), String>,
    failure: Option<Failure<W::Error>>,
    performed: usize,
    found: usize,
}

/// A worker that panics must not leave the others waiting for its stage: the panic goes on only
/// when all threads have ended.
struct WakeOnPanic<'b, 'p, W: Worker>(&'b Build<'p, W>);

impl<W: Worker> Drop for WakeOnPanic<'_, '_, W> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().waiting.clear();
            self.0.changed.notify_all();
        }
    }
}

impl<W: Worker> Build<'_, W> {
    /// One thread: takes stages whose needs are done until there are none.
    fn work(&self) {
        let _guard = WakeOnPanic(self);
        while let Some((stage, trees)) = self.next_stage() {
            let result = self.stage(stage, &trees);
            let mut state = self.lock();
            match result {
                Ok(Some(tree)) => {
                    state.trees.insert(stage, tree);
                }
                // Another stage failed meanwhile.
                Ok(None) => {}
                Err(failure) => {
                    state.failure.get_or_insert(failure);
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_stage(&self) -> Option<(usize, Trees<W::Layer>)> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.waiting.is_empty() {
                return None;
            }
            let is_ready = |stage: &usize| {
                self.plan.stages[*stage].needs.iter().all(|need| state.trees.contains_key(need))
            };
            if let Some(place) = state.waiting.iter().position(is_ready) {
                let stage = state.waiting.remove(place);
                let needs = self.plan.stages[stage].needs.iter();
                let trees = needs.filter_map(|need| Some((*need, state.trees.get(need)?.clone())));
                return Some((stage, trees.collect()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// All steps of a stage; None if another stage's failure ended it.
    fn stage(
        &self,
        index: usize,
        trees: &Trees<W::Layer>,
    ) -> Result<Option<Tree<W::Layer>>, Failure<W::Error>> {
        let stage = &self.plan.stages[index];
        let mut tree = match &stage.base {
            Base::Scratch => Tree { image: None, layers: Vec::new() },
            Base::Image { reference, digest } => {
                let (reference, digest) = (reference.clone(), digest.clone());
                Tree { image: Some(ImageName { reference, digest }), layers: Vec::new() }
            }
            // It is one of the needs.
            Base::Stage(base) => trees[base].clone(),
        };
        self.worker.tell(Event::Stage(stage, tree.layers.last()));
        for (number, step) in stage.steps.iter().enumerate() {
            if self.lock().failure.is_some() {
                return Ok(None);
            }
            let layer = self
                .step((index, number), step, &tree, trees)
                .map_err(|error| Failure { stage: index, step: number, error })?;
            tree.layers.extend(layer);
        }
        Ok(Some(tree))
    }

    fn step(
        &self,
        place: (usize, usize),
        step: &Step,
        below: &Tree<W::Layer>,
        trees: &Trees<W::Layer>,
    ) -> Result<Option<W::Layer>, W::Error> {
        let Some(inputs) = &step.key else {
            self.worker.tell(Event::Configured(step));
            return Ok(None);
        };
        let parent = match inputs.parent {
            Parent::Step { stage, step } => self.lock().keys.get(&(stage, step)).cloned(),
            Parent::Nothing | Parent::Image(_) => None,
        };
        let mut contents = Vec::new();
        for hole in &inputs.holes {
            contents.push((hole, self.worker.content(hole, trees)?));
        }
        let fill = |hole: &Hole| {
            contents.iter().find(|(other, _)| *other == hole).map(|(_, content)| content.clone())
        };
        // Every hole is filled, so there is a key.
        let key = inputs.digest(&parent.unwrap_or_default(), fill).unwrap_or_default();
        let found = if step.ignore_cache { None } else { self.worker.find(&key)? };
        let was_found = found.is_some();
        let layer = if let Some(layer) = found {
            self.worker.tell(Event::Found(step, &layer));
            layer
        } else {
            self.worker.tell(Event::Begins(step));
            let layer = self.worker.perform(step, &key, below, trees)?;
            self.worker.tell(Event::Done(step, &layer));
            layer
        };
        let mut state = self.lock();
        state.found += usize::from(was_found);
        state.performed += usize::from(!was_found);
        state.keys.insert(place, key);
        Ok(Some(layer))
    }
}
