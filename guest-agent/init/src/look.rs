//! The files of a container that does not run: mounted in a mount namespace of its own, which
//! ends with this process. The agent gets the root as a descriptor and works from there.

use linkspan_runtime::bundle::RootPropagation;
use linkspan_runtime::plan::Look;
use linkspan_runtime::wire::{Failure, InitMessage, Step};
use nix::sys::stat::{Mode, umask};

use crate::paths::Root;
use crate::report::Report;
use crate::{mounts, rootfs};

/// Mounts, and stays until the agent lets go.
pub(crate) fn run(report: &mut Report, look: &Look) -> Result<(), Failure> {
    umask(Mode::empty());
    // The same order as at a start, and for the same reasons.
    let sources = report.step(Step::Sources, || mounts::open_sources(&look.mounts, None))?;
    report.step(Step::Overlay, || rootfs::enter(&look.rootfs, RootPropagation::Private))?;
    report.step(Step::Pivot, rootfs::pivot)?;
    let root = report.step(Step::Mounts, || {
        let root = Root::open()?;
        mounts::mount_all(&root, &look.mounts, sources)?;
        if look.rootfs.readonly {
            mounts::make_root_readonly(&root)?;
        }
        Ok(root)
    })?;
    let sent = report.hand_over(&InitMessage::Root, root.fd());
    report.step(Step::Mounts, || sent)?;
    let ready = report.ready();
    report.step(Step::Mounts, || ready)?;
    report.wait_for_end();
    Ok(())
}
