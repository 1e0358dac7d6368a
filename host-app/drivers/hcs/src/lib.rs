//! Runs machines with Windows' Host Compute System (Hyper-V): still to come. Until then the driver
//! says so by name, and no daemon constructs it.

use linkspan_machine::UnsupportedDriver;

/// The Host Compute System's driver.
#[must_use]
pub const fn driver() -> UnsupportedDriver {
    let why = if cfg!(windows) {
        "this driver is still to come"
    } else {
        "only Windows has the Host Compute System"
    };
    UnsupportedDriver { name: "hcs", why }
}
