//! A machine as the rest of the host sees it: a handle that sends orders and reads snapshots.

use std::{sync::Arc, time::Duration};

use linkspan_state::{MachineName, SettingsPatch};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    adopt,
    command::Command,
    disk,
    error::MachineError,
    owner::Owner,
    parts::Parts,
    serial::SerialLog,
    settings::{MachineFile, Settings},
    state::{Snapshot, Starting, State, Status, Stopped},
};

/// Orders that wait while the owner is busy with another.
const QUEUE: usize = 32;

/// A start that worked.
#[derive(Debug, Clone)]
pub struct Started {
    /// It had to be booted; false: it ran already.
    pub booted: bool,
    /// What the user should be told, such as the choice of a slow accelerator.
    pub notices: Vec<String>,
}

/// How to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StopOrder {
    /// Cut the power instead of asking the agent.
    pub force: bool,
    /// What each container is given after its stop signal; `None`: its own time-out.
    pub stop_timeout: Option<Duration>,
}

/// A stop that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopResult {
    /// In good order, or it did not run.
    Done,
    /// It was killed: as asked, or because it did not end by itself.
    Killed,
    /// It was being started, and has come to nothing.
    StartBrokenOff,
}

/// A handle to a machine. Clones are the same machine; when the last is gone its task ends and
/// the VM, if there is one, keeps running for the next daemon.
#[derive(Clone)]
pub struct Machine {
    parts: Arc<Parts>,
    queue: mpsc::Sender<Command>,
    out: watch::Receiver<Snapshot>,
}

impl Machine {
    /// Makes a new machine: settings, no disk yet, no VM.
    ///
    /// # Errors
    /// When there is one of that name, the settings cannot be, or files cannot be written.
    pub async fn create(parts: Parts, patch: &SettingsPatch) -> Result<Self, MachineError> {
        let settings = Settings::new(patch, &parts.host).map_err(MachineError::Settings)?;
        let paths = parts.paths.clone();
        let file = MachineFile { settings, created_at: crate::parts::now() };
        let made = file.clone();
        blocking(parts.paths.name(), move || {
            if paths.settings().exists() {
                return Err(MachineError::Exists(paths.name().clone()));
            }
            paths.create_folders()?;
            Ok(linkspan_state::write(&paths.settings(), &made)?)
        })
        .await??;
        Ok(Self::spawn(parts, file, false))
    }

    /// Opens a machine that exists, and begins to adopt the VM that an earlier daemon may have
    /// left ([`settled`](Self::settled) tells when that is over).
    ///
    /// # Errors
    /// When there is no such machine or its settings cannot be read.
    pub async fn open(parts: Parts) -> Result<Self, MachineError> {
        let look = parts.clone();
        let (file, adopting) = blocking(parts.paths.name(), move || {
            let file = linkspan_state::read::<MachineFile>(&look.paths.settings())?
                .ok_or_else(|| MachineError::NotFound(look.paths.name().clone()))?;
            Ok::<_, MachineError>((file, adopt::is_worth_trying(&look)))
        })
        .await??;
        Ok(Self::spawn(parts, file, adopting))
    }

    fn spawn(parts: Parts, file: MachineFile, adopting: bool) -> Self {
        let parts = Arc::new(parts);
        let state = if adopting {
            State::Starting(Starting {
                since: crate::parts::now(),
                phases: crate::Phases::pending(&parts.budgets, false),
                accelerator: None,
                adopting: true,
                notices: Vec::new(),
            })
        } else {
            State::Stopped(Stopped::default())
        };
        let snapshot = Snapshot {
            name: parts.paths.name().clone(),
            state,
            settings: file.settings.clone(),
            driver: parts.driver.name(),
            directory: parts.paths.folder().to_owned(),
            crash: None,
            halted: None,
            removed: false,
        };
        let (out, watch) = watch::channel(snapshot);
        let (queue, orders) = mpsc::channel(QUEUE);
        let owner = Owner::new(Arc::clone(&parts), file, Arc::new(out), orders);
        tokio::spawn(owner.run(adopting));
        Self { parts, queue, out: watch }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &MachineName {
        self.parts.paths.name()
    }

    /// What it does now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.out.borrow().clone()
    }

    /// Every change of state or phase from now on; the present one can be read at once.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        let mut receiver = self.out.clone();
        receiver.mark_changed();
        receiver
    }

    /// Waits until an adoption that began with [`open`](Self::open) is over.
    pub async fn settled(&self) -> Snapshot {
        let adopting = |state: &State| matches!(state, State::Starting(s) if s.adopting);
        let mut out = self.out.clone();
        match out.wait_for(|snapshot| !adopting(&snapshot.state)).await {
            Ok(snapshot) => snapshot.clone(),
            Err(_) => self.snapshot(),
        }
    }

    /// Boots it, or shares the boot that is under way. A caller that goes away does not break
    /// the boot off.
    ///
    /// # Errors
    /// The failure, with phase, cause, remedy and serial log.
    pub async fn start(&self) -> Result<Started, MachineError> {
        self.order(|reply| Command::Start { reply }).await
    }

    /// Stops it: asks the agent, waits, and kills it when it does not end in time. Success when
    /// it does not run.
    ///
    /// # Errors
    /// When the VM does not even die.
    pub async fn stop(&self, order: StopOrder) -> Result<StopResult, MachineError> {
        self.order(|reply| Command::Stop { order, reply }).await
    }

    /// Stops it at once, whatever is under way.
    ///
    /// # Errors
    /// When the VM does not die.
    pub async fn kill(&self) -> Result<StopResult, MachineError> {
        self.stop(StopOrder { force: true, stop_timeout: None }).await
    }

    /// Changes settings for the next start.
    ///
    /// # Errors
    /// All that is wrong with them, at once; or the file cannot be written.
    pub async fn update(&self, patch: SettingsPatch) -> Result<Settings, MachineError> {
        self.order(|reply| Command::Update { patch, reply }).await
    }

    /// Removes it with its disk. With `force` also when it runs: killed first.
    ///
    /// # Errors
    /// When it runs and `force` is not set, or its files cannot be removed.
    pub async fn remove(&self, force: bool) -> Result<(), MachineError> {
        self.order(|reply| Command::Remove { force, reply }).await
    }

    /// What it does, with figures of the host: memory and disk.
    ///
    /// # Errors
    /// When the machine is gone.
    pub async fn status(&self) -> Result<Status, MachineError> {
        let vm = self.order(|reply| Command::Vm { reply }).await?;
        let host_memory_bytes = match vm {
            None => 0,
            Some(vm) => match vm.host_memory_bytes().await {
                Ok(bytes) => bytes,
                Err(error) => {
                    // The VM may have ended this instant; a missing figure fails no status.
                    tracing::debug!(%error, "the VM's memory cannot be told");
                    0
                }
            },
        };
        let path = self.parts.paths.disk();
        let (disk_allocated_bytes, disk_size_bytes) =
            blocking(self.name(), move || disk::figures(&path)).await?;
        let snapshot = self.snapshot();
        Ok(Status { snapshot, host_memory_bytes, disk_allocated_bytes, disk_size_bytes })
    }

    /// The serial console's log.
    #[must_use]
    pub fn serial(&self) -> SerialLog {
        self.parts.serial()
    }

    async fn order<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, MachineError>>) -> Command,
    ) -> Result<T, MachineError> {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(command(reply)).await.is_err() {
            return Err(self.gone());
        }
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn gone(&self) -> MachineError {
        let name = self.name().clone();
        if self.out.borrow().removed {
            MachineError::NotFound(name)
        } else {
            MachineError::Ending(name)
        }
    }
}

async fn blocking<T: Send + 'static>(
    name: &MachineName,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, MachineError> {
    let name = name.clone();
    tokio::task::spawn_blocking(work).await.map_err(|_| MachineError::Ending(name))
}
