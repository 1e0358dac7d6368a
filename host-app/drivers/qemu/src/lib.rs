//! Runs machines with QEMU.
//!
//! ```text
//!  programs       where QEMU is, which version
//!  host           facts of this host: processor flags, /dev/kvm, kern.hv_support
//!  accelerator    facts + remembered verdicts -> which accelerator, and why (pure)
//!  command        a VM's description -> QEMU's command line (pure)
//!  vsock          the guest's socket: the kernel's vhost-vsock, or a device as a process
//!  start          processes up, or nothing left behind
//!  vm             one task watches one VM: QMP events, the end of its process
//!  record         what a later daemon needs to adopt the VM
//! ```
//!
//! Both processes outlive the daemon. A process is known by its pid *and* start time, so that a
//! pid that was given to somebody else is never signalled.
//!
//! Linux can run machines. On macOS the accelerator choice works, and starting is refused by name:
//! the guest's socket is still to come there. So is all of it on Windows.
//! Knows neither the engine nor the agent's protocol.

mod accelerator;
#[cfg(unix)]
mod command;
#[cfg(unix)]
mod device;
mod host;
#[cfg(unix)]
mod process;
mod programs;
#[cfg(unix)]
mod qmp;
#[cfg(unix)]
mod record;
#[cfg(unix)]
mod start;
#[cfg(unix)]
mod vm;
mod vsock;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use linkspan_machine::driver::{
    Accelerator, AcceleratorChoice, AcceleratorVerdict, Driver, DriverError, Vm, VmSpec,
};
use linkspan_transport::GuestSocket;
use tokio::sync::Mutex;

use crate::programs::Qemu;
pub use crate::{
    host::{HostFacts, KvmDevice},
    programs::{DeviceProgram, DevicePrograms, Programs, QEMU_VARIABLE},
};

/// The driver's name in messages.
pub(crate) const NAME: &str = "qemu";

/// Runs VMs with QEMU. One for each daemon.
#[derive(Debug)]
pub struct QemuDriver {
    programs: Programs,
    devices: DevicePrograms,
    verdicts: PathBuf,
    /// Tests put other hosts here. `None`: this host, looked at when asked.
    facts: Option<HostFacts>,
    /// Probed once for each daemon.
    qemu: Mutex<Option<Qemu>>,
    /// The context id that the next start in a folder uses, with the kernel's vhost-vsock.
    cids: Mutex<HashMap<PathBuf, u32>>,
}

impl QemuDriver {
    /// A driver that remembers its verdicts about accelerators in the file `verdicts`
    /// (`accelerators.json` of the home) and finds QEMU through the environment.
    #[must_use]
    pub fn new(verdicts: &Path, devices: DevicePrograms) -> Self {
        Self {
            programs: Programs::from_environment(),
            devices,
            verdicts: verdicts.to_owned(),
            facts: None,
            qemu: Mutex::default(),
            cids: Mutex::default(),
        }
    }

    /// As if the driver ran on a host with these `facts`.
    #[must_use]
    pub fn with_facts(mut self, facts: HostFacts) -> Self {
        self.facts = Some(facts);
        self
    }

    /// QEMU, found and asked for its version. A failure is not remembered: the user may install
    /// what is missing.
    async fn qemu(&self) -> Result<Qemu, DriverError> {
        if let Some(qemu) = self.qemu.lock().await.clone() {
            return Ok(qemu);
        }
        let qemu = self.programs.qemu().await?;
        *self.qemu.lock().await = Some(qemu.clone());
        Ok(qemu)
    }

    async fn facts(&self) -> Result<HostFacts, DriverError> {
        match &self.facts {
            Some(facts) => Ok(facts.clone()),
            None => blocking(HostFacts::probe).await,
        }
    }
}

#[async_trait]
impl Driver for QemuDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn shares_folders(&self) -> bool {
        cfg!(target_os = "linux")
    }

    async fn accelerator(
        &self,
        choice: AcceleratorChoice,
    ) -> Result<AcceleratorVerdict, DriverError> {
        refuse_windows()?;
        let qemu = self.qemu().await?;
        let facts = self.facts().await?;
        let file = self.verdicts.clone();
        let host = facts.fingerprint(&qemu.version);
        let distrusted = blocking(move || accelerator::distrusted(&file, &host)).await??;
        accelerator::choose(choice, &facts, &distrusted)
    }

    async fn distrust(&self, accelerator: Accelerator, reason: &str) -> Result<(), DriverError> {
        refuse_windows()?;
        let qemu = self.qemu().await?;
        let host = self.facts().await?.fingerprint(&qemu.version);
        let (file, reason) = (self.verdicts.clone(), reason.to_owned());
        blocking(move || accelerator::remember(&file, &host, accelerator, &reason)).await?
    }

    async fn guest_socket(&self, spec: &VmSpec) -> Result<GuestSocket, DriverError> {
        refuse_windows()?;
        let plan = vsock::Plan::choose(&self.devices.vsock, &spec.directory).await?;
        Ok(match plan {
            vsock::Plan::Kernel => GuestSocket::Vsock { cid: self.cid(&spec.directory).await },
            vsock::Plan::Process(_) => {
                GuestSocket::Hybrid { path: vsock::guest_socket_path(&spec.directory) }
            }
        })
    }

    #[cfg(unix)]
    async fn start(
        &self,
        spec: &VmSpec,
        verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, DriverError> {
        let qemu = self.qemu().await?;
        let plan = vsock::Plan::choose(&self.devices.vsock, &spec.directory).await?;
        let folder = &self.devices.folder;
        let cid = self.cid(&spec.directory).await;
        let started =
            start::start(start::Start { spec, verdict, qemu: &qemu, plan, folder, cid }).await;
        if matches!(&started, Err(DriverError::InUse { .. })) {
            // Perhaps the context id is another VM's: the next attempt takes another one.
            self.cids.lock().await.remove(&spec.directory);
        }
        Ok(Arc::new(started?))
    }

    #[cfg(not(unix))]
    async fn start(
        &self,
        _spec: &VmSpec,
        _verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, DriverError> {
        Err(refuse_windows().err().unwrap_or_else(|| unsupported("this system", "it is unknown")))
    }

    #[cfg(unix)]
    async fn adopt(&self, directory: &Path) -> Result<Option<Arc<dyn Vm>>, DriverError> {
        let adopted = start::adopt(directory).await?;
        Ok(adopted.map(|vm| Arc::new(vm) as Arc<dyn Vm>))
    }

    #[cfg(not(unix))]
    async fn adopt(&self, _directory: &Path) -> Result<Option<Arc<dyn Vm>>, DriverError> {
        // Nothing was ever started here, so there is nothing to adopt.
        Ok(None)
    }
}

impl QemuDriver {
    /// The context id of the folder's next VM. Random, because all VMs of the host share the
    /// numbers and nobody hands them out: with 2^31 of them a collision is unlikely, and ends
    /// in an error and another number.
    async fn cid(&self, directory: &Path) -> u32 {
        let mut cids = self.cids.lock().await;
        *cids
            .entry(directory.to_owned())
            .or_insert_with(|| rand::random_range(0x1_0000..0x8000_0000))
    }
}

/// `Err` on Windows, where this driver is still to come.
fn refuse_windows() -> Result<(), DriverError> {
    if cfg!(unix) {
        return Ok(());
    }
    Err(unsupported(
        "running a machine on Windows",
        "the vsock connection to the guest is still to come there",
    ))
}

fn unsupported(what: &str, why: &str) -> DriverError {
    DriverError::Unsupported { driver: NAME, what: what.to_owned(), why: why.to_owned() }
}

fn io_error(
    action: &'static str,
    subject: impl std::fmt::Display,
) -> impl FnOnce(std::io::Error) -> DriverError {
    move |source| DriverError::Io { action, subject: subject.to_string(), source }
}

/// Runs blocking work; its panic is an error.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DriverError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| io_error("finish", "background work")(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests;
