//! A build told instruction by instruction, as the Dockerfile has them: for callers that show the file
//! and not the graph.

use std::collections::HashMap;

use linkspan_build::{Plan, PlannedStage, Step};

/// An instruction begins or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction<'a> {
    /// From 1, over all stages that are built.
    pub number: usize,
    /// How many there are.
    pub total: usize,
    /// As it is written.
    pub text: &'a str,
    /// What has become of it.
    pub state: InstructionState<'a>,
}

/// What has become of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionState<'a> {
    /// It begins.
    Begins,
    /// Its command runs in the container of this id.
    Runs(&'a str),
    /// What it comes to was there: a layer.
    Cached(&'a str),
    /// It is done: an image, a layer, or None when it changes no files.
    Done(Option<&'a str>),
}

/// The place of each instruction of a plan, by its address: a plan does not move while it is carried
/// out.
pub(crate) struct Numbers(HashMap<usize, usize>);

pub(crate) fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

impl Numbers {
    pub(crate) fn of(plan: &Plan) -> Self {
        let instructions = plan.stages.iter().flat_map(|stage| {
            std::iter::once(address::<PlannedStage>(stage))
                .chain(stage.steps.iter().map(address::<Step>))
        });
        Self(instructions.zip(1..).collect())
    }

    /// Of a stage: its FROM. Of a step: itself.
    pub(crate) fn instruction<'a, T>(
        &self,
        of: &T,
        text: &'a str,
        state: InstructionState<'a>,
    ) -> Instruction<'a> {
        let number = self.0.get(&address(of)).copied().unwrap_or_default();
        Instruction { number, total: self.0.len(), text, state }
    }
}
