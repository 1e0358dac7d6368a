//! The life of a machine (one Linux VM): states, phases, settings. Knows no driver.
//!
//! A [`Machine`] is a handle; one task behind it owns the machine, takes orders from one queue
//! and publishes every change through one `watch`. What an order means in a state is a pure
//! function (`policy`). The hypervisor is a [`driver::Driver`], the agent is a [`guest::Guest`]:
//! both are given by the caller, so this crate knows neither QEMU nor the agent's protocol.
//!
//! - [`state`]: the states and what they hold; [`phase`]: the steps of a boot and their budgets.
//! - `boot`, `adopt`, `stop`: the three things that take time; `owner` runs one at a time.
//! - [`failure`]: every way to fail, with phase, cause, remedy and the end of the serial log.
//! - `fake` (feature `fake`): a driver and a guest without a VM, for tests.

mod adopt;
mod boot;
mod command;
mod crash;
mod disk;
pub mod driver;
mod error;
pub mod failure;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod guest;
mod handle;
mod held;
mod owner;
mod parts;
pub mod phase;
mod policy;
mod progress;
mod run_record;
mod serial;
pub mod settings;
pub mod share;
pub mod state;
mod stop;
#[cfg(test)]
mod tests;
mod tracker;
mod unsupported;
mod userns;

pub use disk::MIN_FREE_BYTES;
pub use error::MachineError;
pub use failure::{Failure, FailureKind};
pub use handle::{Machine, Started, StopOrder, StopResult};
pub use parts::Parts;
pub use phase::{Budgets, Phase, PhaseState, PhaseStatus, Phases};
pub use policy::Refusal;
pub use serial::SerialLog;
pub use settings::{HostLimits, Settings, SettingsError};
pub use share::{Share, SharedFolder};
pub use state::{Ended, Snapshot, State, Status};
pub use unsupported::UnsupportedDriver;
pub use userns::UserNamespaces;
