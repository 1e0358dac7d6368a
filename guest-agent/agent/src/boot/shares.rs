//! The host's folders: each is a virtiofs of its own, found by its tag.
//!
//! They are mounted in a place of ours and not at their paths on the host, which may be paths that
//! the machine itself needs (`/tmp`, `/root`). A container sees them where it asked for them.

use std::{fs, path::Path};

use linkspan_sys::boot::BootCalls;
use nix::mount::MsFlags;

use super::{BootError, cmdline::Cmdline};

/// Mounts every share at `folder/TAG`. One that cannot be mounted is logged and has no folder
/// there, so that a container which wants it is refused: the rest of the machine does not need it.
pub(super) fn mount(
    kernel: &dyn BootCalls,
    cmdline: &Cmdline,
    folder: &Path,
) -> Result<(), BootError> {
    for (tag, read_only) in &cmdline.shares {
        let target = folder.join(tag);
        fs::create_dir_all(&target).map_err(BootError::file("create", &target))?;
        // Device nodes of the host are not the machine's.
        let mut flags = MsFlags::MS_NODEV;
        flags.set(MsFlags::MS_RDONLY, *read_only);
        if let Err(errno) = kernel.mount(tag, &target, "virtiofs", flags, "") {
            tracing::error!(tag, reason = errno.desc(), "cannot mount a folder of the host");
            fs::remove_dir(&target).map_err(BootError::file("remove", &target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkspan_sys::{Errno, boot::fake::Recording};

    #[test]
    fn a_share_that_cannot_be_mounted_leaves_no_folder_and_the_boot_goes_on() {
        let place = tempfile::tempdir().expect("a folder");
        let cmdline = Cmdline::parse("linkspan.shares=gone,there:ro");
        let kernel = Recording::default();
        mount(&kernel, &cmdline, place.path()).expect("both");
        assert_eq!(kernel.calls().len(), 2);
        assert!(place.path().join("there").is_dir());
        let kernel = Recording::default();
        kernel.fail("mount", Errno::EINVAL);
        let other = tempfile::tempdir().expect("a folder");
        mount(&kernel, &cmdline, other.path()).expect("it goes on");
        assert_eq!(fs::read_dir(other.path()).expect("readable").count(), 0);
    }
}
