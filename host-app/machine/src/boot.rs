//! One start of a machine, from the VM image to the agent's Hello. Whatever goes wrong, nothing
//! is left running, and the failure says in which phase.

use std::{sync::Arc, time::Duration};

use linkspan_state::{Lock, image::Kernel};
use linkspan_transport::GuestSocket;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    disk,
    driver::{AcceleratorChoice, AcceleratorVerdict, Vm},
    failure::{Failure, Trouble},
    guest::GuestInfo,
    parts::{Parts, blocking},
    phase::{Phase, Phases},
    progress::Progress,
    settings::Settings,
    share::SharedFolder,
    state::{Running, Snapshot},
};

mod attempt;

use attempt::Attempt;

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

    fn overrun(&self) -> Trouble {
        let phase = self.progress.tracker.current();
        let budget = self.progress.tracker.phases().get(phase).budget;
        Trouble::Overrun { phase, budget, kernel: self.settings.kernel.to_string() }
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
            halted: attempt.vm.halted(),
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
