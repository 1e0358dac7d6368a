//! A hypervisor and a guest that are not there, with failures to order. For tests of this crate
//! and, behind the feature `fake`, of those above.
//!
//! - [`FakeDriver`]: VMs are entries in a table that outlives the [`Machine`](crate::Machine)s,
//!   as real VMs outlive the daemon. What the guest does is a function given to
//!   [`FakeDriver::plays`]: it gets the in-memory ports of the VM, so a test can serve a whole
//!   agent there.
//! - [`FakeGuest`]: the [`Guest`] trait by script, without a protocol.

mod driver;
mod guest;

pub use driver::{FakeBoot, FakeDriver, FakePoint, tcg, verdict};
pub use guest::{FakeGuest, HelloScript, PowerOffScript, Step, boot_steps, event};

use std::path::Path;

use linkspan_state::image::{ImageSearch, KernelEntry, Manifest};

/// Writes a VM image with a kernel `debian` and a kernel `lean` of a few bytes.
///
/// # Panics
/// When the files cannot be written.
#[must_use]
pub fn vm_image(folder: &Path) -> ImageSearch {
    let mut manifest = Manifest {
        default_kernel: "debian".into(),
        cmdline: "console=ttyS0".into(),
        ..Manifest::default()
    };
    std::fs::create_dir_all(folder).expect("the image's folder can be made");
    for name in ["debian", "lean"] {
        let entry = KernelEntry {
            file: format!("vmlinux-{name}"),
            initramfs: format!("initramfs-{name}.img"),
            version: "6.0.0-fake".into(),
            size: 6,
            initramfs_size: 9,
            origin: "not a kernel".into(),
            ..KernelEntry::default()
        };
        std::fs::write(folder.join(&entry.file), b"kernel").expect("a file can be written");
        std::fs::write(folder.join(&entry.initramfs), b"initramfs").expect("another too");
        manifest.kernels.insert(name.into(), entry);
    }
    linkspan_state::write(&folder.join("manifest.json"), &manifest).expect("and the manifest");
    ImageSearch::only(folder)
}
