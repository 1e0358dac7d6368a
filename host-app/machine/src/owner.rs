//! The one task that owns a machine: one order at a time from its queue, one thing under way at
//! a time (a boot, an adoption, a stop), every change out through one `watch`.
//!
//! It never waits inside an order: what takes time is a future that it polls beside its queue,
//! so a kill always gets through.

mod over;

use std::{collections::VecDeque, future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use linkspan_state::{Lock, SettingsPatch, StateError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    adopt::{self, AdoptEnd},
    boot::{Boot, BootEnd},
    command::{Command, Reply, answer},
    crash::Crashes,
    driver::VmExit,
    error::MachineError,
    handle::{Started, StopOrder, StopResult},
    held::Held,
    parts::{Parts, blocking, now},
    phase::Phases,
    policy::{Decision, Refusal, decide},
    settings::{MachineFile, Settings},
    state::{Snapshot, Starting, State, Stopped, Stopping},
    stop::{self, StopEnd, Way},
};

/// What was under way and is over.
enum Outcome {
    Boot(BootEnd),
    Adopt(AdoptEnd),
    Stop(StopEnd),
}

/// What is under way.
struct Transition {
    future: BoxFuture<'static, Outcome>,
    /// Breaks a boot or adoption off; turns a stop into a kill.
    interrupt: CancellationToken,
}

pub(crate) struct Owner {
    parts: Arc<Parts>,
    file: MachineFile,
    out: Arc<watch::Sender<Snapshot>>,
    orders: mpsc::Receiver<Command>,
    held: Option<Held>,
    under_way: Option<Transition>,
    starters: Vec<Reply<Started>>,
    stoppers: Vec<Reply<StopResult>>,
    /// Orders that are asked again when what is under way is over.
    waiting: VecDeque<Command>,
    removed: bool,
    crashes: Crashes,
}

enum Event {
    Order(Option<Command>),
    Over(Outcome),
    VmEnded(VmExit),
    /// The VM stands still, or goes on.
    Halted,
}

impl Owner {
    pub(crate) fn new(
        parts: Arc<Parts>,
        file: MachineFile,
        out: Arc<watch::Sender<Snapshot>>,
        orders: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            parts,
            file,
            out,
            orders,
            held: None,
            under_way: None,
            starters: Vec::new(),
            stoppers: Vec::new(),
            waiting: VecDeque::new(),
            removed: false,
            crashes: Crashes::default(),
        }
    }

    pub(crate) async fn run(mut self, adopt: bool) {
        if adopt {
            self.begin_adopt();
        }
        let mut listening = true;
        while !self.removed && (listening || self.under_way.is_some()) {
            match self.next(listening).await {
                Event::Order(Some(command)) => self.order(command).await,
                // Every handle is gone. What is under way is brought to its end.
                Event::Order(None) => listening = false,
                Event::Over(outcome) => {
                    self.under_way = None;
                    self.over(outcome).await;
                    self.ask_again().await;
                }
                Event::VmEnded(exit) => self.vm_ended(exit).await,
                Event::Halted => self.halted(),
            }
        }
    }

    async fn next(&mut self, listening: bool) -> Event {
        let over = async {
            match &mut self.under_way {
                Some(transition) => transition.future.as_mut().await,
                None => future::pending().await,
            }
        };
        let (exit, halted) = match &mut self.held {
            Some(Held { exit, halted, .. }) => (Some(exit), Some(halted)),
            None => (None, None),
        };
        let exit = async {
            match exit {
                Some(exit) => exit.as_mut().await,
                None => future::pending().await,
            }
        };
        let halted = async {
            match halted {
                Some(halted) => {
                    // A driver that never halts a VM tells nothing.
                    if halted.changed().await.is_err() {
                        future::pending().await
                    }
                }
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = over => Event::Over(outcome),
            exit = exit => Event::VmEnded(exit),
            () = halted => Event::Halted,
            order = self.orders.recv(), if listening => Event::Order(order),
        }
    }

    // Orders.

    async fn order(&mut self, command: Command) {
        let Some(action) = command.action() else {
            if let Command::Vm { reply } = command {
                let vm = self.held.as_ref().map(|held| Arc::clone(&held.vm));
                answer(reply, Ok(vm));
            }
            return;
        };
        let state = self.out.borrow().state.kind();
        match decide(state, action) {
            Decision::Begin => self.begin(command).await,
            Decision::Already => self.already(command),
            Decision::Join => self.join(command),
            Decision::Wait => self.waiting.push_back(command),
            Decision::Interrupt => {
                self.interrupt();
                self.waiting.push_back(command);
            }
            Decision::KillFirst => {
                self.begin_stop(Way::Kill);
                self.waiting.push_back(command);
            }
            Decision::Refuse(refusal) => self.refuse(command, refusal),
        }
    }

    async fn begin(&mut self, command: Command) {
        match command {
            Command::Start { reply } => {
                self.forget_crashes();
                self.starters.push(reply);
                self.begin_boot(Vec::new());
            }
            Command::Stop { order, reply } => self.stop(order, reply),
            Command::Update { patch, reply } => {
                let result = self.update(&patch).await;
                answer(reply, result);
            }
            Command::Remove { reply, .. } => {
                let result = self.remove().await;
                answer(reply, result);
            }
            Command::Vm { .. } => {}
        }
    }

    fn already(&mut self, command: Command) {
        match command {
            Command::Start { reply } => {
                answer(reply, Ok(Started { booted: false, notices: Vec::new() }));
            }
            Command::Stop { reply, .. } => answer(reply, Ok(StopResult::Done)),
            Command::Update { .. } | Command::Remove { .. } | Command::Vm { .. } => {}
        }
    }

    fn join(&mut self, command: Command) {
        match command {
            Command::Start { reply } => self.starters.push(reply),
            Command::Stop { reply, .. } => self.stoppers.push(reply),
            Command::Update { .. } | Command::Remove { .. } | Command::Vm { .. } => {}
        }
    }

    fn refuse(&self, command: Command, refusal: Refusal) {
        let machine = self.parts.paths.name().clone();
        let error = |action| MachineError::Refused { machine, action, refusal };
        match command {
            Command::Start { reply } => answer(reply, Err(error("start"))),
            Command::Stop { reply, .. } => answer(reply, Err(error("stop"))),
            Command::Update { reply, .. } => answer(reply, Err(error("change"))),
            Command::Remove { reply, .. } => answer(reply, Err(error("remove"))),
            Command::Vm { reply } => answer(reply, Err(error("measure"))),
        }
    }

    /// Orders that waited, in their order; some may wait again.
    async fn ask_again(&mut self) {
        for command in std::mem::take(&mut self.waiting) {
            if self.removed {
                break;
            }
            self.order(command).await;
        }
    }

    fn interrupt(&mut self) {
        if let Some(transition) = &self.under_way {
            transition.interrupt.cancel();
        }
        self.publish(State::Stopping(Stopping { since: now(), forced: true }));
    }

    /// `notices`: what the user should be told beside what comes up.
    fn begin_boot(&mut self, notices: Vec<String>) {
        self.publish(State::Starting(Starting {
            since: now(),
            phases: Phases::pending(&self.parts.budgets, false),
            accelerator: None,
            adopting: false,
            notices: Vec::new(),
        }));
        let interrupt = CancellationToken::new();
        let (parts, settings) = (Arc::clone(&self.parts), self.file.settings.clone());
        let boot = Boot::new(parts, settings, interrupt.clone(), Arc::clone(&self.out), notices);
        let future = async move { Outcome::Boot(boot.run().await) }.boxed();
        self.under_way = Some(Transition { future, interrupt });
    }

    fn begin_adopt(&mut self) {
        let interrupt = CancellationToken::new();
        let (parts, settings) = (Arc::clone(&self.parts), self.file.settings.clone());
        let adopt = adopt::run(parts, settings, interrupt.clone(), Arc::clone(&self.out));
        let future = async move { Outcome::Adopt(adopt.await) }.boxed();
        self.under_way = Some(Transition { future, interrupt });
    }

    fn begin_stop(&mut self, way: Way) {
        let Some(held) = &self.held else { return };
        let forced = matches!(way, Way::Kill);
        let interrupt = CancellationToken::new();
        let (parts, vm) = (Arc::clone(&self.parts), Arc::clone(&held.vm));
        let stop = stop::run(parts, vm, way, interrupt.clone());
        let future = async move { Outcome::Stop(stop.await) }.boxed();
        self.under_way = Some(Transition { future, interrupt });
        self.publish(State::Stopping(Stopping { since: now(), forced }));
    }

    fn stop(&mut self, order: StopOrder, reply: Reply<StopResult>) {
        self.forget_crashes();
        let Some(held) = &self.held else {
            // A failure without a VM: seen, and so over.
            self.publish(State::Stopped(Stopped::default()));
            return answer(reply, Ok(StopResult::Done));
        };
        let way = if order.force {
            Way::Kill
        } else {
            Way::Ask { socket: held.vm.guest_socket(), stop_timeout: order.stop_timeout }
        };
        self.stoppers.push(reply);
        self.begin_stop(way);
    }

    async fn update(&mut self, patch: &SettingsPatch) -> Result<Settings, MachineError> {
        let settings =
            self.file.settings.changed(patch, &self.parts.host).map_err(MachineError::Settings)?;
        let file = MachineFile { settings: settings.clone(), ..self.file.clone() };
        let (path, content) = (self.parts.paths.settings(), file.clone());
        files(&self.parts, move || linkspan_state::write(&path, &content)).await?;
        self.file = file;
        self.out.send_modify(|snapshot| snapshot.settings = settings.clone());
        Ok(settings)
    }

    async fn remove(&mut self) -> Result<(), MachineError> {
        let paths = self.parts.paths.clone();
        files(&self.parts, move || {
            let what = format!("the machine `{}`", paths.name());
            let lock = Lock::acquire(&paths.lock(), &what)?;
            // Windows removes no open file; we are the home's only daemon in any case.
            drop(lock);
            paths.remove()
        })
        .await?;
        self.removed = true;
        self.out.send_modify(|snapshot| {
            snapshot.removed = true;
            snapshot.state = State::Stopped(Stopped::default());
        });
        tracing::info!(machine = %self.parts.paths.name(), "removed");
        Ok(())
    }

    fn halted(&mut self) {
        let machine = self.parts.paths.name();
        let halted = self.held.as_mut().and_then(|held| held.halted.borrow_and_update().clone());
        match &halted {
            Some(why) => tracing::error!(%machine, why, "stands still"),
            None => tracing::info!(%machine, "goes on"),
        }
        self.out.send_modify(|snapshot| snapshot.halted = halted);
    }

    fn publish(&self, state: State) {
        tracing::info!(machine = %self.parts.paths.name(), state = state.name());
        let halted = self.held.as_ref().and_then(|held| held.halted.borrow().clone());
        self.out.send_modify(|snapshot| {
            snapshot.state = state;
            snapshot.halted = halted;
        });
    }
}

/// Blocking work on the machine's files.
async fn files(
    parts: &Parts,
    work: impl FnOnce() -> Result<(), StateError> + Send + 'static,
) -> Result<(), MachineError> {
    match blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(MachineError::Ending(parts.paths.name().clone())),
    }
}
