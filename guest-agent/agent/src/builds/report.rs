//! Tells the caller of a build how it goes, and keeps the last lines of each command for the case
//! that it fails.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use linkspan_builder::{Instruction, InstructionState, Progress, StepState};
use linkspan_proto::v1::{self as wire, BuildResponse, BuildStepState, build_response::Kind};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Status;

/// Lines that a failure shows.
const TAIL: usize = 20;
/// Bytes of them.
const LONGEST: usize = 16 * 1024;

pub(super) type Answers = mpsc::Sender<Result<BuildResponse, Status>>;

/// Numbers steps in the order of their appearance. Blocks while the caller does not read.
pub(super) struct Report {
    answers: Answers,
    /// The caller wants to be told of instructions.
    instructions: AtomicBool,
    steps: Mutex<BTreeMap<String, Seen>>,
}

#[derive(Default)]
struct Seen {
    number: u32,
    tail: VecDeque<u8>,
}

pub(super) fn message(kind: Kind) -> Result<BuildResponse, Status> {
    Ok(BuildResponse { kind: Some(kind) })
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Report {
    pub(super) fn new(answers: Answers) -> Self {
        Self { answers, instructions: AtomicBool::new(false), steps: Mutex::default() }
    }

    pub(super) fn tell_instructions(&self, wanted: bool) {
        self.instructions.store(wanted, Ordering::Relaxed);
    }

    pub(super) fn command_failed(&self, command: &str, exit_code: i32) {
        self.say(Kind::CommandFailed(wire::CommandFailed { command: command.into(), exit_code }));
    }

    fn number(&self, title: &str) -> u32 {
        let mut steps = self.steps.lock();
        let next = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(1);
        let seen = Seen { number: next, ..Seen::default() };
        steps.entry(title.to_owned()).or_insert(seen).number
    }

    fn say(&self, kind: Kind) {
        // A caller that has gone is noticed elsewhere.
        let _ = self.answers.blocking_send(message(kind));
    }

    /// The last lines that a command wrote.
    pub(super) fn tail(&self, title: &str) -> Vec<String> {
        let steps = self.steps.lock();
        let Some(seen) = steps.get(title) else { return Vec::new() };
        let bytes: Vec<u8> = seen.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

impl Progress for Report {
    fn step(&self, title: &str, state: StepState, took: Duration) {
        let number = self.number(title);
        let state = match state {
            StepState::Running => BuildStepState::Running,
            StepState::Done => BuildStepState::Done,
            StepState::Cached => BuildStepState::Cached,
            StepState::Failed => BuildStepState::Failed,
        };
        self.say(Kind::Step(wire::BuildStep {
            number,
            title: title.to_owned(),
            state: state.into(),
            duration_us: micros(took),
        }));
    }

    fn instruction(&self, instruction: Instruction<'_>) {
        if !self.instructions.load(Ordering::Relaxed) {
            return;
        }
        let (state, id) = match instruction.state {
            InstructionState::Begins => (BuildStepState::Running, ""),
            InstructionState::Runs(container) => (BuildStepState::Running, container),
            InstructionState::Cached(layer) => (BuildStepState::Cached, layer),
            InstructionState::Done(made) => (BuildStepState::Done, made.unwrap_or_default()),
        };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        self.say(Kind::Instruction(wire::BuildInstruction {
            number: count(instruction.number),
            total: count(instruction.total),
            text: instruction.text.to_owned(),
            state: state.into(),
            id: id.to_owned(),
        }));
    }

    fn output(&self, title: &str, stderr: bool, bytes: &[u8], elapsed: Duration) {
        let number = self.number(title);
        if let Some(seen) = self.steps.lock().get_mut(title) {
            seen.tail.extend(bytes);
            let over = seen.tail.len().saturating_sub(LONGEST);
            seen.tail.drain(..over);
        }
        self.say(Kind::Output(wire::BuildOutput {
            number,
            stderr,
            data: bytes.to_vec().into(),
            elapsed_us: micros(elapsed),
        }));
    }
}
