//! Which driver runs the machines of this host: the only place that knows drivers by name.
//!
//! QEMU everywhere for now; on Windows it refuses by name and says what is still to come.
//! `linkspan-driver-vz` (macOS) and `linkspan-driver-hcs` (Windows) are wired here once they can
//! run a machine: until then they would only turn a driver that works into one that does not.

use std::sync::Arc;

use anyhow::Context as _;
use linkspan_driver_qemu::{DeviceProgram, DevicePrograms, QemuDriver};
use linkspan_machine::driver::Driver;
use linkspan_state::Paths;

use crate::{fs_device::FS_DEVICE, vsock_device::VSOCK_DEVICE};

/// The driver of this host. Finds out nothing yet: a missing program is reported by the first
/// start, with its remedy.
pub(crate) fn for_this_host(paths: &Paths) -> anyhow::Result<Arc<dyn Driver>> {
    // Asked for now: a later update may put another program in this one's place.
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let device =
        |name: &str| DeviceProgram { program: program.clone(), arguments: vec![name.into()] };
    let devices = DevicePrograms { vsock: device(VSOCK_DEVICE), folder: device(FS_DEVICE) };
    Ok(Arc::new(QemuDriver::new(&paths.accelerators(), devices)))
}
