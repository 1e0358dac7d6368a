//! One VM, from its start to the agent's Hello.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use jiff::Timestamp;
use linkspan_state::image::Kernel;
use linkspan_transport::GuestSocket;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use super::{Boot, hello};
use crate::{
    driver::{AcceleratorVerdict, Vm, VmSpec},
    failure::Trouble,
    guest::{BootEvents, GuestInfo},
    parts::blocking,
    phase::Phase,
    run_record::RunRecord,
    share::SharedFolder,
    tracker::Meaning,
};

/// A guest that reports a failed phase powers off at once: its last words may arrive a moment
/// after its end was seen.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How often a kernel that takes long is looked at: does it say that it stands still?
const LOOK_FOR_STALLS: Duration = Duration::from_secs(1);

/// One attempt's VM and when it was started.
pub(super) struct Attempt {
    pub(super) vm: Arc<dyn Vm>,
    pub(super) socket: GuestSocket,
    pub(super) started_at: Timestamp,
}

impl Boot {
    /// One VM, from its start to Hello. On trouble the VM, if there is one, still runs.
    pub(super) async fn attempt(
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
}

/// A share for the agent, on the kernel's command line.
fn word_of(share: &SharedFolder) -> String {
    format!("{}{}", share.tag, if share.read_only { ":ro" } else { "" })
}
