//! Taking over the VM that an earlier daemon started. It has no beacon any more; Hello is the
//! check. A VM that does not answer is not killed: its containers may be well.

use std::sync::Arc;

use linkspan_state::Lock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    boot::{BootFailed, Booted, hello},
    driver::Vm,
    failure::Trouble,
    parts::{Parts, blocking},
    phase::{Phase, Phases},
    progress::Progress,
    run_record::RunRecord,
    settings::Settings,
    state::{Running, Snapshot},
};

pub(crate) enum AdoptEnd {
    /// No VM was left.
    Nothing,
    Adopted(Box<Booted>),
    /// It runs and does not answer, or cannot be looked at.
    Failed(Box<BootFailed>),
    /// Broken off, and the VM was killed.
    Killed,
}

/// Whether an earlier daemon can have left a VM. Blocking, and quick.
pub(crate) fn is_worth_trying(parts: &Parts) -> bool {
    let run = parts.paths.run();
    parts.paths.run_record().exists()
        || std::fs::read_dir(run).is_ok_and(|mut entries| entries.next().is_some())
}

pub(crate) async fn run(
    parts: Arc<Parts>,
    settings: Settings,
    interrupt: CancellationToken,
    out: Arc<watch::Sender<Snapshot>>,
) -> AdoptEnd {
    let mut progress = Progress::new(out, Phases::pending(&parts.budgets, false));
    let (vm, lock) = match find(&parts).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            parts.forget_run().await;
            return AdoptEnd::Nothing;
        }
        Err(trouble) => return failed(&parts, trouble, None).await,
    };
    let at = progress.now();
    progress.tracker.await_hello(at);
    progress.accelerator = Some(vm.accelerator());
    progress.publish();
    let budget = parts.budgets.of(Phase::Ready, vm.accelerator().slow);
    let socket = vm.guest_socket();
    let answer = tokio::select! {
        biased;
        () = interrupt.cancelled() => {
            return match vm.kill(parts.budgets.kill).await {
                Ok(()) => {
                    parts.forget_run().await;
                    AdoptEnd::Killed
                }
                Err(error) => failed(&parts, Trouble::Driver(error), Some((vm, lock))).await,
            };
        }
        answer = hello(&parts, &socket, budget) => answer,
        exit = vm.wait() => {
            parts.forget_run().await;
            return failed(&parts, Trouble::Ended(exit), None).await;
        }
    };
    let guest = match answer {
        Ok(guest) => guest,
        Err(trouble) => return failed(&parts, trouble, Some((vm, lock))).await,
    };
    let at = progress.now();
    progress.tracker.finish(at);
    let record = read_record(&parts, &vm).await;
    let running = Running {
        started_at: record.as_ref().map_or_else(crate::parts::now, |record| record.started_at),
        vmm_pid: vm.pid(),
        accelerator: vm.accelerator(),
        phases: record
            .as_ref()
            .filter(|record| record.phases.is_whole())
            .map_or_else(|| progress.tracker.phases().clone(), |record| record.phases.clone()),
        guest,
        socket,
        folder_changes: vm.folder_changes(),
        halted: vm.halted(),
        settings: record.as_ref().map_or(settings, |record| record.settings.clone()),
        kernel: record.map_or_else(String::new, |record| record.kernel),
        adopted: true,
        notices: Vec::new(),
    };
    AdoptEnd::Adopted(Box::new(Booted { vm, lock, running }))
}

async fn find(parts: &Arc<Parts>) -> Result<Option<(Arc<dyn Vm>, Lock)>, Trouble> {
    let paths = parts.paths.clone();
    let lock = blocking(move || {
        paths.create_folders()?;
        Lock::acquire(&paths.lock(), &format!("the machine `{}`", paths.name()))
    })
    .await?
    .map_err(Trouble::State)?;
    let vm = parts.driver.adopt(parts.paths.run()).await.map_err(Trouble::Driver)?;
    Ok(vm.map(|vm| (vm, lock)))
}

/// The record, when it is about this VM.
async fn read_record(parts: &Parts, vm: &Arc<dyn Vm>) -> Option<RunRecord> {
    let path = parts.paths.run_record();
    match blocking(move || linkspan_state::read::<RunRecord>(&path)).await.ok()? {
        Ok(record) => record.filter(|record| record.vmm_pid == vm.pid()),
        Err(error) => {
            tracing::warn!(%error, "adopting a VM without its record");
            None
        }
    }
}

async fn failed(
    parts: &Parts,
    trouble: Trouble,
    leftover: Option<(Arc<dyn Vm>, Lock)>,
) -> AdoptEnd {
    let name = parts.paths.name();
    let mut failure = trouble.into_failure(name, None);
    if let Some((vm, _)) = &leftover {
        if let Some(why) = vm.halted().borrow().as_ref() {
            failure.cause = format!("it stands still: {why}");
        }
        failure.cause = format!(
            "its VM (process {}) still runs from before, and cannot be used: {}",
            vm.pid(),
            failure.cause
        );
        failure.remedy = format!("end it with `linkspan machine stop --force {name}`");
    }
    failure.serial = parts.evidence().await;
    AdoptEnd::Failed(Box::new(BootFailed { failure, phases: None, leftover }))
}
