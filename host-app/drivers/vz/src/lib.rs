//! Runs machines with macOS' Virtualization.framework: still to come. Until then the driver says so
//! by name, and no daemon constructs it.

use linkspan_machine::UnsupportedDriver;

/// Virtualization.framework's driver.
#[must_use]
pub const fn driver() -> UnsupportedDriver {
    let why = if cfg!(target_os = "macos") {
        "this driver is still to come; the qemu driver is there"
    } else {
        "only macOS has Virtualization.framework"
    };
    UnsupportedDriver { name: "vz", why }
}
