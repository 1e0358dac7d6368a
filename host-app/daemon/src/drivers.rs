//! Which driver runs the machines of this host: the only place that knows drivers by name.
//!
//! QEMU everywhere for now; on Windows it refuses by name and says what is still to come.
//! `linkspan-driver-vz` (macOS) and `linkspan-driver-hcs` (Windows) are wired here once they can
//! run a machine: until then they would only turn a driver that works into one that does not.

use std::sync::Arc;

use linkspan_driver_qemu::QemuDriver;
use linkspan_machine::driver::Driver;
use linkspan_state::Paths;

/// The driver of this host. Finds out nothing yet: a missing program is reported by the first
/// start, with its remedy.
pub(crate) fn for_this_host(paths: &Paths) -> Arc<dyn Driver> {
    Arc::new(QemuDriver::new(&paths.accelerators()))
}
