//! The phases of a boot: what they are, how long each may take, how far a boot is.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// One phase, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On the host: the VM image is found, the data disk made or grown.
    Image,
    /// From the start of the VMM to the agent's first instruction.
    Kernel,
    /// The agent's own start, modules included.
    Agent,
    /// The data disk is formatted, checked, grown and mounted.
    Disk,
    /// The guest's network.
    Network,
    /// Shared folders.
    Shares,
    /// The agent serves and has answered Hello.
    Ready,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Image,
        Self::Kernel,
        Self::Agent,
        Self::Disk,
        Self::Network,
        Self::Shares,
        Self::Ready,
    ];

    /// As users see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Kernel => "kernel",
            Self::Agent => "agent",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Shares => "shares",
            Self::Ready => "ready",
        }
    }

    /// The phase that the guest's phase `name` is part of. `None`: one that a newer agent has
    /// and this host does not know.
    #[must_use]
    pub fn of_guest(name: &str) -> Option<Self> {
        Some(match name {
            "kernel" => Self::Kernel,
            "agent" | "modules" => Self::Agent,
            "disk" => Self::Disk,
            "network" => Self::Network,
            "shares" => Self::Shares,
            "serve" | "ready" => Self::Ready,
            _ => return None,
        })
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How far a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseState {
    /// Not yet begun.
    Pending,
    /// Under way.
    Running,
    /// Over.
    Done,
    /// It failed, and the boot with it.
    Failed,
}

/// One phase of one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseStatus {
    /// Which.
    pub phase: Phase,
    /// How far.
    pub state: PhaseState,
    /// How long it took; zero until it is over.
    pub duration: Duration,
    /// How long it may take.
    pub budget: Duration,
}

/// All phases of one boot, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases(Vec<PhaseStatus>);

impl Phases {
    /// None begun.
    #[must_use]
    pub fn pending(budgets: &Budgets, slow: bool) -> Self {
        let status = |phase| PhaseStatus {
            phase,
            state: PhaseState::Pending,
            duration: Duration::ZERO,
            budget: budgets.of(phase, slow),
        };
        Self(Phase::ALL.into_iter().map(status).collect())
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &PhaseStatus> {
        self.0.iter()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, phase: Phase) -> &PhaseStatus {
        &self.0[phase.index()]
    }

    pub(crate) fn get_mut(&mut self, phase: Phase) -> &mut PhaseStatus {
        &mut self.0[phase.index()]
    }

    /// Whether every phase is there once, in order: false for a file that someone edited.
    #[must_use]
    pub(crate) fn is_whole(&self) -> bool {
        self.0.iter().map(|status| status.phase).eq(Phase::ALL)
    }

    /// The time of all phases that are over.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.0.iter().map(|status| status.duration).sum()
    }
}

/// How long things may take. The figures are for hardware virtualisation on a laptop that is
/// busy with something else; what runs in the guest gets `slow_factor` times as much under an
/// emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets {
    /// Finding the image, making the disk. On the host, so never scaled.
    pub image: Duration,
    /// VMM, firmware, kernel.
    pub kernel: Duration,
    /// The agent's start.
    pub agent: Duration,
    /// Formatting or growing the disk: longer than the rest, the host's disk may be slow.
    pub disk: Duration,
    /// The network.
    pub network: Duration,
    /// Shared folders.
    pub shares: Duration,
    /// Serving and Hello; also the Hello of a VM that is adopted.
    pub ready: Duration,
    /// An orderly power-off, on top of the containers' own stop time-out.
    pub power_off: Duration,
    /// From the order to kill to the VM's end.
    pub kill: Duration,
    /// The multiplier under a slow accelerator.
    pub slow_factor: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            image: Duration::from_secs(30),
            kernel: Duration::from_secs(12),
            agent: Duration::from_secs(8),
            disk: Duration::from_secs(20),
            network: Duration::from_secs(8),
            shares: Duration::from_secs(8),
            ready: Duration::from_secs(8),
            power_off: Duration::from_secs(15),
            kill: Duration::from_secs(10),
            slow_factor: 5,
        }
    }
}

impl Budgets {
    /// The budget of one phase.
    #[must_use]
    pub fn of(&self, phase: Phase, slow: bool) -> Duration {
        match phase {
            Phase::Image => self.image,
            Phase::Kernel => self.scaled(self.kernel, slow),
            Phase::Agent => self.scaled(self.agent, slow),
            Phase::Disk => self.scaled(self.disk, slow),
            Phase::Network => self.scaled(self.network, slow),
            Phase::Shares => self.scaled(self.shares, slow),
            Phase::Ready => self.scaled(self.ready, slow),
        }
    }

    /// What something in the guest may take.
    #[must_use]
    pub fn scaled(&self, budget: Duration, slow: bool) -> Duration {
        if slow { budget * self.slow_factor.max(1) } else { budget }
    }

    /// The same short time for everything, for tests.
    #[must_use]
    pub fn all(budget: Duration) -> Self {
        Self {
            image: budget,
            kernel: budget,
            agent: budget,
            disk: budget,
            network: budget,
            shares: budget,
            ready: budget,
            power_off: budget,
            kill: budget,
            slow_factor: 1,
        }
    }
}
