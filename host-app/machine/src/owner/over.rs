//! What becomes of a machine when something is over: a boot, an adoption, a stop, its VM.

use std::{future, sync::Arc};

use futures::FutureExt as _;
use tokio::time::Instant;

use super::{Outcome, Owner};
use crate::{
    adopt::AdoptEnd,
    boot::{BootEnd, BootFailed, Booted},
    command::{Command, answer},
    crash::Crashes,
    driver::VmExit,
    error::MachineError,
    failure::{Failure, FailureKind, Trouble},
    handle::{Started, StopResult},
    held::Held,
    parts::now,
    phase::Phases,
    state::{Crash, Ended, Failed, State, Stopped},
    stop::StopEnd,
};

impl Owner {
    pub(super) async fn over(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Boot(BootEnd::Ready(booted)) => self.runs(*booted, true),
            Outcome::Boot(BootEnd::Failed(failed)) => {
                let crashed =
                    failed.failure.kind == FailureKind::Ended && failed.leftover.is_none();
                // Also when it is the start after a crash that crashes.
                if crashed && self.out.borrow().crash.is_some() {
                    self.crashed(failed.failure, failed.phases);
                } else {
                    self.failed(*failed);
                }
            }
            Outcome::Boot(BootEnd::Interrupted) => {
                self.forget_crashes();
                self.interrupted(StopResult::StartBrokenOff);
            }
            Outcome::Adopt(AdoptEnd::Adopted(booted)) => self.runs(*booted, false),
            Outcome::Adopt(AdoptEnd::Failed(failed)) => self.failed(*failed),
            Outcome::Adopt(AdoptEnd::Killed) => self.interrupted(StopResult::Killed),
            Outcome::Adopt(AdoptEnd::Nothing) => {
                self.publish(State::Stopped(Stopped::default()));
                // Nothing to share: those who wanted it to run still do.
                let starters = std::mem::take(&mut self.starters);
                self.waiting.extend(starters.into_iter().map(|reply| Command::Start { reply }));
            }
            Outcome::Stop(end) => self.stopped(end).await,
        }
    }

    fn runs(&mut self, booted: Booted, fresh: bool) {
        let Booted { vm, lock, running } = booted;
        self.held = Some(Held::new(vm, lock, self.parts.serial()));
        let notices = running.notices.clone();
        self.publish(State::Running(Box::new(running)));
        for reply in std::mem::take(&mut self.starters) {
            answer(reply, Ok(Started { booted: fresh, notices: notices.clone() }));
        }
    }

    fn failed(&mut self, failed: BootFailed) {
        let BootFailed { failure, phases, leftover } = failed;
        let stranded_pid = leftover.as_ref().map(|(vm, _)| vm.pid());
        self.held = leftover.map(|(vm, lock)| Held::new(vm, lock, self.parts.serial()));
        let failure = self.publish_failure(failure, phases, stranded_pid);
        for reply in std::mem::take(&mut self.starters) {
            answer(reply, Err(MachineError::Failed(Arc::clone(&failure))));
        }
    }

    /// `how`: what those hear who broke it off.
    fn interrupted(&mut self, how: StopResult) {
        self.publish(State::Stopped(Stopped { ended: Some(Ended::StartInterrupted) }));
        for reply in std::mem::take(&mut self.starters) {
            answer(reply, Err(MachineError::Interrupted(self.parts.paths.name().clone())));
        }
        for command in std::mem::take(&mut self.waiting) {
            match command {
                Command::Stop { reply, .. } => answer(reply, Ok(how)),
                other => self.waiting.push_back(other),
            }
        }
    }

    async fn stopped(&mut self, end: StopEnd) {
        let name = self.parts.paths.name().clone();
        let result = match end {
            StopEnd::PoweredOff => Ok((Ended::PoweredOff, StopResult::Done)),
            StopEnd::Killed => Ok((Ended::Killed, StopResult::Killed)),
            StopEnd::Stuck(error) => Err(error),
        };
        let result = match result {
            Ok((ended, result)) => {
                self.held = None;
                self.publish(State::Stopped(Stopped { ended: Some(ended) }));
                Ok(result)
            }
            Err(error) => {
                let pid = self.held.as_ref().map(|held| held.vm.pid());
                let source = Arc::new(error);
                let error = MachineError::Kill { machine: name.clone(), source };
                let mut failure = Trouble::Interrupted.into_failure(&name, None);
                failure.cause = error.to_string();
                failure.remedy = format!("end the process {} yourself", pid.unwrap_or_default());
                failure.serial = Arc::clone(&self.parts).evidence().await;
                self.publish_failure(failure, None, pid);
                self.give_up_waiting(&error);
                Err(error)
            }
        };
        for reply in std::mem::take(&mut self.stoppers) {
            answer(reply, result.clone());
        }
    }

    /// A VM that does not die: who waits for its end would kill it again and again.
    fn give_up_waiting(&mut self, error: &MachineError) {
        for command in std::mem::take(&mut self.waiting) {
            match command {
                Command::Remove { reply, .. } => answer(reply, Err(error.clone())),
                Command::Stop { reply, .. } => answer(reply, Err(error.clone())),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// The VM ended and nobody here ended it (or a stop did, and hears of it by itself).
    pub(super) async fn vm_ended(&mut self, exit: VmExit) {
        let Some(mut held) = self.held.take() else { return };
        if self.under_way.is_some() {
            // The stop that is under way still wants the lock held.
            held.exit = future::pending().boxed();
            self.held = Some(held);
            return;
        }
        drop(held.lock);
        self.parts.forget_run().await;
        match exit {
            VmExit::PoweredOff => {
                self.publish(State::Stopped(Stopped { ended: Some(Ended::PoweredOff) }));
            }
            VmExit::Killed => {
                self.publish(State::Stopped(Stopped { ended: Some(Ended::Killed) }));
            }
            VmExit::GuestPanicked | VmExit::Vanished => {
                let ran = self.out.borrow().state.running().is_some();
                let phases = self.out.borrow().state.phases().cloned();
                let crashed = ran && exit == VmExit::GuestPanicked;
                let mut failure = Trouble::Ended(exit).into_failure(self.parts.paths.name(), None);
                failure.serial = Arc::clone(&self.parts).evidence().await;
                if crashed {
                    self.crashed(failure, phases);
                } else {
                    self.publish_failure(failure, phases, None);
                }
            }
        }
    }

    /// The guest crashed, and nothing is left of its VM: another is started, or, after too many,
    /// none.
    fn crashed(&mut self, mut failure: Failure, phases: Option<Phases>) {
        if !self.crashes.note(Instant::now()) {
            failure.cause = format!("{}; {}", failure.cause, Crashes::given_up());
            let leftover = None;
            return self.failed(BootFailed { failure, phases, leftover });
        }
        let machine = self.parts.paths.name();
        let cause = &failure.cause;
        tracing::error!(%machine, cause, serial = ?failure.serial, "crashed, and is started again");
        let notice = format!("machine `{machine}` crashed and is started again: {cause}");
        let crash = Crash { failure: Arc::new(failure), at: now() };
        self.out.send_modify(|snapshot| snapshot.crash = Some(crash));
        self.begin_boot(vec![notice]);
    }

    /// Somebody looks after it again.
    pub(super) fn forget_crashes(&mut self) {
        self.crashes.forget();
        self.out.send_if_modified(|snapshot| snapshot.crash.take().is_some());
    }

    fn publish_failure(
        &self,
        failure: Failure,
        phases: Option<Phases>,
        stranded_pid: Option<u32>,
    ) -> Arc<Failure> {
        let failure = Arc::new(failure);
        let shared = Arc::clone(&failure);
        self.publish(State::Failed(Failed { failure: shared, at: now(), phases, stranded_pid }));
        failure
    }
}
