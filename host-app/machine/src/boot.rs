//! One start of a machine, from the VM image to the agent's Hello. Whatever goes wrong, nothing
//! is left running, and the failure says in which phase.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use jiff::Timestamp;
use linkspan_state::{Lock, image::Kernel};
use linkspan_transport::GuestSocket;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    disk,
    driver::{AcceleratorChoice, AcceleratorVerdict, Vm, VmSpec},
    failure::{Failure, Trouble},
    guest::{BootEvents, GuestInfo},
    parts::{Parts, blocking},
    phase::{Phase, Phases},
    progress::Progress,
    run_record::RunRecord,
    settings::Settings,
    share::SharedFolder,
    state::{Running, Snapshot},
    tracker::Meaning,
};

/// A guest that reports a failed phase powers off at once: its last words may arrive a moment
/// after its end was seen.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How often a kernel that takes long is looked at: does it say that it stands still?
const LOOK_FOR_STALLS: Duration = Duration::from_secs(1);

/// A machine that runs, with what must be held as long as it does.
pub(crate) struct Booted {
    pub(crate) vm: Arc<dyn Vm>,
    pub(crate) lock: Lock,
    pub(crate) running: Running,
}

/// A start (or adoption) that did not work.
pub(crate) struct BootFailed {
    pub(crate) failure: Failure,
    pub(crate) phases: Option<Phases>,
    /// The VM that could not be killed (or must not be), with its machine's lock.
    pub(crate) leftover: Option<(Arc<dyn Vm>, Lock)>,
}

pub(crate) enum BootEnd {
    Ready(Box<Booted>),
    Failed(Box<BootFailed>),
    /// As asked; nothing is left.
    Interrupted,
}

/// What a start needs.
pub(crate) struct Boot {
    parts: Arc<Parts>,
    settings: Settings,
    interrupt: CancellationToken,
    progress: Progress,
    /// Those of the settings that can be had now.
    shares: Vec<SharedFolder>,
}

/// What the image phase finds.
struct Prepared {
    lock: Lock,
    kernel: Kernel,
    verdict: AcceleratorVerdict,
}

/// One attempt's VM and when it was started.
struct Attempt {
    vm: Arc<dyn Vm>,
    socket: GuestSocket,
    started_at: Timestamp,
}

impl Boot {
    pub(crate) fn new(
        parts: Arc<Parts>,
        settings: Settings,
        interrupt: CancellationToken,
        out: Arc<watch::Sender<Snapshot>>,
        notices: Vec<String>,
    ) -> Self {
        let mut progress = Progress::new(out, Phases::pending(&parts.budgets, false));
        progress.notices = notices;
        Self { parts, settings, interrupt, progress, shares: Vec::new() }
    }

    pub(crate) async fn run(mut self) -> BootEnd {
        self.progress.publish();
        let budget = self.parts.budgets.image;
        let prepared = match timeout(budget, self.prepare()).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(trouble)) => return self.failed(trouble, None).await,
            Err(_) => {
                let trouble = self.overrun();
                return self.failed(trouble, None).await;
            }
        };
        self.attempts(prepared).await
    }

    /// The phase `image`: everything that needs no VM.
    async fn prepare(&mut self) -> Result<Prepared, Trouble> {
        let (parts, settings) = (Arc::clone(&self.parts), self.settings.clone());
        let (lock, kernel, notice) = blocking(move || prepare_files(&parts, &settings)).await??;
        self.progress.notices.extend(notice);
        self.find_shares().await?;
        let choice = self.settings.accelerator;
        let verdict = self.parts.driver.accelerator(choice).await.map_err(Trouble::Driver)?;
        self.accelerate(&verdict);
        Ok(Prepared { lock, kernel, verdict })
    }

    /// Which folders the VM gets. Those that it does not get are told, and keep no machine from
    /// running.
    async fn find_shares(&mut self) -> Result<(), Trouble> {
        let wanted = self.settings.shares.clone();
        if !self.parts.driver.shares_folders() {
            if !wanted.is_empty() {
                let driver = self.parts.driver.name();
                self.progress.notices.push(format!(
                    "no folders of this host are shared: the {driver} driver cannot do it here"
                ));
            }
            return Ok(());
        }
        let looked = blocking(move || {
            wanted.into_iter().map(|share| (share.is_there(), share)).collect::<Vec<_>>()
        });
        for (there, share) in looked.await? {
            match there {
                Ok(()) => self.shares.push(share.folder()),
                Err(error) => self
                    .progress
                    .notices
                    .push(format!("`{}` is not shared: {error}", share.path.display())),
            }
        }
        Ok(())
    }

    fn accelerate(&mut self, verdict: &AcceleratorVerdict) {
        self.progress.tracker.set_budgets(&Phases::pending(&self.parts.budgets, verdict.slow));
        if verdict.slow {
            let AcceleratorVerdict { accelerator, reason, .. } = verdict;
            self.progress
                .notices
                .push(format!("the VM runs slowly, under {accelerator}: {reason}"));
        }
        self.progress.accelerator = Some(verdict.clone());
        self.progress.publish();
    }

    /// Boots; once more when the accelerator turns out not to work and another may be chosen, and
    /// once more when the kernel stood still: on a busy host an emulated processor can miss the
    /// tick of its timer for good. Nothing is lost by that, the agent has not touched the disk yet.
    async fn attempts(mut self, prepared: Prepared) -> BootEnd {
        let Prepared { mut lock, kernel, mut verdict } = prepared;
        let (mut retried, mut stalled) = (false, false);
        loop {
            let (vm, trouble) = match self.attempt(&kernel, &verdict).await {
                Ok((attempt, guest)) => return self.ready(attempt, guest, verdict, lock, kernel),
                Err(end) => end,
            };
            if let Some(vm) = vm {
                match self.end(vm, lock).await {
                    Ok(returned) => lock = returned,
                    Err(leftover) => return self.failed(trouble, Some(leftover)).await,
                }
            }
            if matches!(trouble, Trouble::Stalled { .. }) && !stalled {
                stalled = true;
                let told =
                    format!("the kernel `{}` stood still; starting the VM again", kernel.name);
                self.progress.notices.push(told);
                continue;
            }
            let may_retry = self.settings.accelerator == AcceleratorChoice::Auto && !retried;
            if !matches!(trouble, Trouble::Silent { .. }) || !may_retry {
                return self.failed(trouble, None).await;
            }
            retried = true;
            verdict = match self.next_accelerator(&verdict).await {
                Ok(Some(next)) => next,
                Ok(None) => return self.failed(trouble, None).await,
                Err(trouble) => return self.failed(trouble, None).await,
            };
        }
    }

    /// Tells the driver that `silent` does not work here. `None`: there is no other.
    async fn next_accelerator(
        &mut self,
        silent: &AcceleratorVerdict,
    ) -> Result<Option<AcceleratorVerdict>, Trouble> {
        let (driver, accelerator) = (&self.parts.driver, silent.accelerator);
        let budget = self.parts.budgets.of(Phase::Kernel, silent.slow);
        let reason = format!("no guest booted under it within {} s", budget.as_secs_f32());
        driver.distrust(accelerator, &reason).await.map_err(Trouble::Driver)?;
        let next = driver.accelerator(AcceleratorChoice::Auto).await.map_err(Trouble::Driver)?;
        if next.accelerator == accelerator {
            return Ok(None);
        }
        self.progress.notices.push(format!(
            "{accelerator} does not work on this host ({reason}); trying again with {}",
            next.accelerator
        ));
        self.accelerate(&next);
        Ok(Some(next))
    }

    /// One VM, from its start to Hello. On trouble the VM, if there is one, still runs.
    async fn attempt(
        &mut self,
        kernel: &Kernel,
        verdict: &AcceleratorVerdict,
    ) -> Result<(Attempt, GuestInfo), (Option<Arc<dyn Vm>>, Trouble)> {
        let alone = |trouble| (None, trouble);
        if self.interrupt.is_cancelled() {
            return Err((None, Trouble::Interrupted));
        }
        let serial = self.parts.serial();
        let turned = blocking(move || serial.rotate()).await.map_err(alone)?;
        turned.map_err(|source| {
            let subject = self.parts.paths.serial_log().display().to_string();
            alone(Trouble::Io { action: "start", subject, source })
        })?;
        let spec = self.spec(kernel);
        let driver = &self.parts.driver;
        let socket =
            driver.guest_socket(&spec).await.map_err(|error| alone(Trouble::Driver(error)))?;
        // Before the VM starts: the guest's first word must find someone listening.
        let listening = self.parts.guest.boot_events(&socket, self.parts.beacon_port).await;
        let events = listening.map_err(|error| alone(Trouble::Guest(error)))?;
        let at = self.progress.now();
        self.progress.tracker.vm_starts(at);
        self.progress.publish();
        let started_at = Timestamp::now();
        let vm = self.start_vm(&spec, verdict).await.map_err(alone)?;
        let attempt = Attempt { socket: vm.guest_socket(), vm, started_at };
        if let Err(trouble) = self.record(&attempt, kernel).await {
            return Err((Some(attempt.vm), trouble));
        }
        match self.watch(&attempt, events, kernel, verdict).await {
            Ok(guest) => match self.record(&attempt, kernel).await {
                Ok(()) => Ok((attempt, guest)),
                Err(trouble) => Err((Some(attempt.vm), trouble)),
            },
            Err(trouble) => Err((Some(attempt.vm), trouble)),
        }
    }

    /// The driver's start, bounded. A start that is given up and succeeds later is undone.
    async fn start_vm(
        &self,
        spec: &VmSpec,
        verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, Trouble> {
        let (reply, answer) = oneshot::channel();
        let (driver, spec, verdict) =
            (Arc::clone(&self.parts.driver), spec.clone(), verdict.clone());
        let kill_budget = self.parts.budgets.kill;
        tokio::spawn(async move {
            let result = driver.start(&spec, &verdict).await;
            if let Err(Ok(vm)) = reply.send(result)
                && let Err(error) = vm.kill(kill_budget).await
            {
                tracing::warn!(machine = spec.name, %error, "a VM that came too late stays");
            }
        });
        match timeout_at(self.progress.deadline(), answer).await {
            Ok(Ok(result)) => result.map_err(Trouble::Driver),
            Ok(Err(_)) => Err(Trouble::Io {
                action: "start",
                subject: "the VM".into(),
                source: std::io::Error::other("the driver died"),
            }),
            Err(_) => Err(self.overrun()),
        }
    }

    /// Follows the guest's boot. The order of the arms is their rank: what the guest said counts
    /// more than that it ended afterwards.
    async fn watch(
        &mut self,
        attempt: &Attempt,
        mut events: BootEvents,
        kernel: &Kernel,
        verdict: &AcceleratorVerdict,
    ) -> Result<GuestInfo, Trouble> {
        let interrupt = self.interrupt.clone();
        let exit = {
            let follow = self.follow(attempt, &mut events, kernel, verdict);
            tokio::select! {
                biased;
                () = interrupt.cancelled() => return Err(Trouble::Interrupted),
                end = follow => return end,
                exit = attempt.vm.wait() => exit,
            }
        };
        let last_words = async {
            while let Some(Ok(event)) = events.next().await {
                let at = self.progress.now();
                if let Meaning::Failed { phase: _, error, hint } =
                    self.progress.tracker.guest_event(&event, at)
                {
                    return Some(Trouble::Phase { error, hint });
                }
            }
            None
        };
        let said = timeout(LAST_WORDS, last_words).await.ok().flatten();
        Err(said.unwrap_or(Trouble::Ended(exit)))
    }

    async fn follow(
        &mut self,
        attempt: &Attempt,
        events: &mut BootEvents,
        kernel: &Kernel,
        verdict: &AcceleratorVerdict,
    ) -> Result<GuestInfo, Trouble> {
        let mut hello_budget = None;
        loop {
            let deadline = self.progress.deadline();
            let look = deadline.min(Instant::now() + LOOK_FOR_STALLS);
            let next = match timeout_at(look, events.next()).await {
                Ok(next) => next,
                Err(_) if self.stands_still().await => {
                    return Err(Trouble::Stalled { kernel: kernel.name.clone() });
                }
                Err(_) if look < deadline => continue,
                Err(_) => return Err(self.silence(kernel, verdict).await),
            };
            let at = self.progress.now();
            let event = match next {
                Some(Ok(event)) => event,
                // The beacon is only the quick way to know; the agent itself decides. It gets
                // the time that the phases would still have had.
                lost => {
                    let error = lost.and_then(Result::err).map(|error| error.to_string());
                    tracing::debug!(?error, "the boot beacon went out early");
                    hello_budget = Some(self.progress.tracker.rest_of_budgets());
                    break;
                }
            };
            let meaning = self.progress.tracker.guest_event(&event, at);
            self.progress.publish();
            match meaning {
                Meaning::Progress => {}
                Meaning::GuestReady => break,
                Meaning::Unknown => tracing::debug!(phase = event.name, "unknown boot phase"),
                Meaning::Failed { phase: _, error, hint } => {
                    return Err(Trouble::Phase { error, hint });
                }
            }
        }
        self.progress.tracker.await_hello(self.progress.now());
        self.progress.publish();
        let budget = hello_budget
            .unwrap_or_else(|| self.progress.deadline().saturating_duration_since(Instant::now()));
        let guest = hello(&self.parts, &attempt.socket, budget).await?;
        let at = self.progress.now();
        self.progress.tracker.finish(at);
        Ok(guest)
    }

    /// The current phase overran: is the guest stuck, or does the accelerator not work at all?
    async fn silence(&self, kernel: &Kernel, verdict: &AcceleratorVerdict) -> Trouble {
        let budget = self.progress.tracker.phases().get(Phase::Kernel).budget;
        let serial = self.parts.serial();
        let silent = blocking(move || serial.is_silent()).await.unwrap_or(false);
        if self.progress.tracker.current() == Phase::Kernel
            && verdict.accelerator.is_hardware()
            && silent
        {
            return Trouble::Silent { budget, accelerator: verdict.accelerator };
        }
        match self.overrun() {
            Trouble::Overrun { phase, budget, .. } => {
                Trouble::Overrun { phase, budget, kernel: kernel.name.clone() }
            }
            other => other,
        }
    }

    /// Does the kernel say so itself, before there is an agent that could?
    async fn stands_still(&self) -> bool {
        if self.progress.tracker.current() != Phase::Kernel {
            return false;
        }
        let serial = self.parts.serial();
        blocking(move || serial.shows_stall()).await.unwrap_or(false)
    }

    fn overrun(&self) -> Trouble {
        let phase = self.progress.tracker.current();
        let budget = self.progress.tracker.phases().get(phase).budget;
        Trouble::Overrun { phase, budget, kernel: self.settings.kernel.to_string() }
    }

    fn spec(&self, kernel: &Kernel) -> VmSpec {
        let paths = &self.parts.paths;
        let mut own = format!("linkspan.machine={}", paths.name());
        if !self.shares.is_empty() {
            let tags: Vec<_> = self.shares.iter().map(word_of).collect();
            own.push_str(&format!(" linkspan.shares={}", tags.join(",")));
        }
        if let Some(word) = self.settings.userns.word() {
            own.push(' ');
            own.push_str(word);
        }
        VmSpec {
            name: paths.name().to_string(),
            directory: paths.run().to_owned(),
            cpus: self.settings.cpus,
            memory_mib: self.settings.memory_mib,
            kernel: kernel.kernel.clone(),
            initramfs: kernel.initramfs.clone(),
            cmdline: [kernel.cmdline.trim(), &own].join(" ").trim_start().to_owned(),
            disk: paths.disk(),
            serial_log: paths.serial_log(),
            beacon_port: self.parts.beacon_port,
            accelerator: self.settings.accelerator,
            shares: self.shares.clone(),
        }
    }

    async fn record(&self, attempt: &Attempt, kernel: &Kernel) -> Result<(), Trouble> {
        let path = self.parts.paths.run_record();
        let record = RunRecord {
            vmm_pid: attempt.vm.pid(),
            started_at: attempt.started_at,
            settings: self.settings.clone(),
            kernel: kernel.name.clone(),
            phases: self.progress.tracker.phases().clone(),
        };
        blocking(move || linkspan_state::write(&path, &record)).await?.map_err(Trouble::State)
    }

    /// Ends the VM of a failed attempt. It comes back, with the lock, when it does not end.
    async fn end(&self, vm: Arc<dyn Vm>, lock: Lock) -> Result<Lock, (Arc<dyn Vm>, Lock)> {
        if let Err(error) = vm.kill(self.parts.budgets.kill).await {
            tracing::warn!(machine = %self.parts.paths.name(), %error, "the VM does not end");
            return Err((vm, lock));
        }
        self.parts.forget_run().await;
        Ok(lock)
    }

    fn ready(
        self,
        attempt: Attempt,
        guest: GuestInfo,
        verdict: AcceleratorVerdict,
        lock: Lock,
        kernel: Kernel,
    ) -> BootEnd {
        let running = Running {
            started_at: attempt.started_at,
            vmm_pid: attempt.vm.pid(),
            accelerator: verdict,
            phases: self.progress.tracker.phases().clone(),
            guest,
            socket: attempt.socket,
            folder_changes: attempt.vm.folder_changes(),
            settings: self.settings,
            kernel: kernel.name,
            adopted: false,
            notices: self.progress.notices,
        };
        BootEnd::Ready(Box::new(Booted { vm: attempt.vm, lock, running }))
    }

    async fn failed(mut self, trouble: Trouble, leftover: Option<(Arc<dyn Vm>, Lock)>) -> BootEnd {
        if matches!(trouble, Trouble::Interrupted) && leftover.is_none() {
            return BootEnd::Interrupted;
        }
        let phase = self.progress.tracker.current();
        self.progress.tracker.fail(phase);
        let mut failure = trouble.into_failure(self.parts.paths.name(), Some(phase));
        // In the phase `image` the log is still that of the boot before.
        if phase != Phase::Image {
            failure.serial = self.parts.evidence().await;
        }
        let phases = Some(self.progress.tracker.phases().clone());
        BootEnd::Failed(Box::new(BootFailed { failure, phases, leftover }))
    }
}

/// A share for the agent, on the kernel's command line.
fn word_of(share: &SharedFolder) -> String {
    format!("{}{}", share.tag, if share.read_only { ":ro" } else { "" })
}

/// Hello, with a bound that does not rest on the implementation alone.
pub(crate) async fn hello(
    parts: &Parts,
    socket: &GuestSocket,
    budget: Duration,
) -> Result<GuestInfo, Trouble> {
    let slack = Duration::from_millis(500);
    match timeout(budget + slack, parts.guest.hello(socket, budget)).await {
        Ok(answer) => answer.map_err(Trouble::Guest),
        Err(_) => Err(Trouble::Overrun { phase: Phase::Ready, budget, kernel: String::new() }),
    }
}

/// The blocking part of the phase `image`.
fn prepare_files(
    parts: &Parts,
    settings: &Settings,
) -> Result<(Lock, Kernel, Option<String>), Trouble> {
    settings.checked(&parts.host).map_err(Trouble::Settings)?;
    let paths = &parts.paths;
    paths.create_folders().map_err(Trouble::State)?;
    let what = format!("the machine `{}`", paths.name());
    let lock = Lock::acquire(&paths.lock(), &what).map_err(Trouble::State)?;
    linkspan_state::remove_leftovers(paths.folder()).map_err(Trouble::State)?;
    let image = parts.images.find().map_err(Trouble::Image)?;
    let kernel = image.kernel(&settings.kernel).map_err(Trouble::Image)?;
    let notice = disk::prepare(&paths.disk(), settings.disk_bytes(), parts.min_free_bytes)
        .map_err(Trouble::Disk)?;
    Ok((lock, kernel, notice))
}
