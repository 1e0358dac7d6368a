//! What a hypervisor must be able to do for a machine.
//!
//! A driver turns a [`VmSpec`] into a running VM and nothing more: it knows neither the engine,
//! nor the agent's protocol, nor another driver. What differs between drivers is a value
//! ([`GuestSocket`], [`Accelerator`]) or a typed [`DriverError::Unsupported`].

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use linkspan_transport::GuestSocket;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::share::{FolderChanges, SharedFolder};

/// Everything a driver needs to start one VM. All paths are absolute.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// The machine's name, for process titles and messages.
    pub name: String,
    /// The folder for the driver's own files (sockets, logs, pid files). Exists.
    pub directory: PathBuf,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel as the driver boots it (x86-64: an ELF `vmlinux` with a PVH note).
    pub kernel: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The kernel command line that the image and the machine ask for; the driver adds what its
    /// devices need (console, and such).
    pub cmdline: String,
    /// The data disk: a sparse raw file, already of its full size.
    pub disk: PathBuf,
    /// Where the serial console is written. The driver appends nothing else to it.
    pub serial_log: PathBuf,
    /// The guest connects here (vsock, host CID 2) to report its boot phases.
    pub beacon_port: u32,
    /// What was asked for, or `Auto`.
    pub accelerator: AcceleratorChoice,
    /// Folders of the host that the guest is to have. None, where the driver
    /// [cannot](Driver::shares_folders).
    pub shares: Vec<SharedFolder>,
}

/// How the guest's instructions are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Linux.
    Kvm,
    /// macOS.
    Hvf,
    /// Windows.
    Whpx,
    /// QEMU's translator: works everywhere, ten to thirty times slower.
    Tcg,
    /// Not a choice: the driver has only one way (Virtualization.framework, Hyper-V).
    Native,
}

impl Accelerator {
    /// As users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Hvf => "hvf",
            Self::Whpx => "whpx",
            Self::Tcg => "tcg",
            Self::Native => "native",
        }
    }

    /// A processor's own virtualisation, through the host's kernel: fast when it works, and not
    /// to be believed before a guest has booted under it.
    #[must_use]
    pub fn is_hardware(self) -> bool {
        matches!(self, Self::Kvm | Self::Hvf | Self::Whpx)
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceleratorChoice {
    /// The fastest that truly works here.
    Auto,
    /// This one or an error.
    Only(Accelerator),
}

impl fmt::Display for AcceleratorChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Only(accelerator) => accelerator.fmt(formatter),
        }
    }
}

impl FromStr for AcceleratorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use Accelerator::{Hvf, Kvm, Tcg, Whpx};
        if text == "auto" {
            return Ok(Self::Auto);
        }
        [Kvm, Hvf, Whpx, Tcg]
            .into_iter()
            .find(|accelerator| accelerator.name() == text)
            .map(Self::Only)
            .ok_or_else(|| {
                format!("`{text}` is not an accelerator: say `auto`, `kvm`, `hvf`, `whpx` or `tcg`")
            })
    }
}

/// What was chosen, and why, in words for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceleratorVerdict {
    /// The choice.
    pub accelerator: Accelerator,
    /// `this processor shows neither vmx nor svm, so KVM cannot work`.
    pub reason: String,
    /// It is the slow one: the user is told once.
    pub slow: bool,
}

/// A way to run VMs. Shared by all machines of a daemon.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// `qemu`, `vz`, `hcs`.
    fn name(&self) -> &'static str;

    /// Whether the guest can have folders of the host. Each driver has its own way: vhost-user-fs,
    /// a device of Virtualization.framework, Hyper-V's Plan 9 shares.
    fn shares_folders(&self) -> bool;

    /// Which accelerator a start would use. Cheap: remembered verdicts, no boot.
    ///
    /// # Errors
    /// When the driver cannot run VMs on this host at all (a missing program, another OS).
    async fn accelerator(
        &self,
        choice: AcceleratorChoice,
    ) -> Result<AcceleratorVerdict, DriverError>;

    /// Remembers that `accelerator` did not boot a guest within its deadline, so that `Auto`
    /// does not choose it again on this host.
    async fn distrust(&self, accelerator: Accelerator, reason: &str) -> Result<(), DriverError>;

    /// Where the guest of a VM that is started with `spec` will meet the host: the machine
    /// listens there for the boot beacon BEFORE [`start`](Self::start). MUST be the value that
    /// the VM's [`Vm::guest_socket`] has afterwards. Called before every start, also before a
    /// second attempt; starts nothing.
    ///
    /// # Errors
    /// When the driver has no way to connect a guest on this host.
    async fn guest_socket(&self, spec: &VmSpec) -> Result<GuestSocket, DriverError>;

    /// Starts the VM. MUST return as soon as the VM's processor runs, not when the guest is up.
    /// On an error nothing is left running. The VM MUST outlive this process.
    async fn start(
        &self,
        spec: &VmSpec,
        verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, DriverError>;

    /// Finds the VM that an earlier daemon started in `directory` and that still runs.
    /// `None`: there is none; leftovers (sockets, pid files) have been removed.
    async fn adopt(&self, directory: &std::path::Path) -> Result<Option<Arc<dyn Vm>>, DriverError>;
}

/// A VM that runs, or did.
#[async_trait]
pub trait Vm: Send + Sync + 'static {
    /// How to reach the guest's ports, and where it reaches ours.
    fn guest_socket(&self) -> GuestSocket;

    /// The process that is the VM on the host.
    fn pid(&self) -> u32;

    /// What it runs with.
    fn accelerator(&self) -> AcceleratorVerdict;

    /// Where its shared folders tell of changes that programs of the host make. None, where the
    /// driver's cannot: watchers in containers do not hear of them then.
    fn folder_changes(&self) -> Vec<FolderChanges> {
        Vec::new()
    }

    /// Why the VM stands still, as long as it does: the host's disk has no room for what the guest
    /// writes, say. It goes on by itself when the cause is gone.
    fn halted(&self) -> watch::Receiver<Option<String>> {
        watch::Sender::new(None).subscribe()
    }

    /// Resolves when the VM has ended, however it ended. May be called by several at once.
    async fn wait(&self) -> VmExit;

    /// Ends it now. Idempotent. Returns when it is gone, or an error when `deadline` passes.
    async fn kill(&self, deadline: Duration) -> Result<(), DriverError>;

    /// Memory that the host gives: resident bytes of every process that belongs to this VM.
    async fn host_memory_bytes(&self) -> Result<u64, DriverError>;
}

/// How a VM ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmExit {
    /// The guest powered off.
    PoweredOff,
    /// The guest's kernel panicked or reset.
    GuestPanicked,
    /// The VMM's process ended without saying why (killed, crashed).
    Vanished,
    /// It was ended through [`Vm::kill`].
    Killed,
}

/// Why a driver failed. Each message says what, to which thing and why; `hint` what to do.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The driver or the host cannot do this.
    #[error("{what} is not supported by the {driver} driver: {why}")]
    Unsupported {
        /// The driver.
        driver: &'static str,
        /// The feature.
        what: String,
        /// The reason.
        why: String,
    },
    /// A program or device that is needed is not there.
    #[error("{what} was not found: {why}")]
    Missing {
        /// What.
        what: String,
        /// Where it was looked for.
        why: String,
        /// How to get it.
        hint: String,
    },
    /// A file, port or socket that the VM needs is taken.
    #[error("{what} is in use: {why}")]
    InUse {
        /// What.
        what: String,
        /// By whom.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The VMM refused to start.
    #[error("{program} did not start: {why}")]
    Start {
        /// The program.
        program: String,
        /// Its own words.
        why: String,
        /// What to do.
        hint: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s")]
    TimedOut {
        /// What.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// An I/O error with its subject.
    #[error("cannot {action} `{subject}`: {source}")]
    Io {
        /// The verb.
        action: &'static str,
        /// The path or thing.
        subject: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl DriverError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { hint, .. } | Self::InUse { hint, .. } | Self::Start { hint, .. } => {
                Some(hint).filter(|hint| !hint.is_empty()).map(String::as_str)
            }
            Self::Unsupported { .. } | Self::TimedOut { .. } | Self::Io { .. } => None,
        }
    }
}
