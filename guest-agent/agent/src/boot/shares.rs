//! The host's folders: each is a virtiofs of its own, found by its tag.
//!
//! They are mounted in a place of ours and not at their paths on the host, which may be paths that
//! the machine itself needs (`/tmp`, `/root`). A container sees them where it asked for them.

use std::{fs, path::Path};

use linkspan_sys::boot::BootCalls;
use nix::mount::MsFlags;

use super::{BootError, cmdline::Cmdline};

/// Where a read-only share is mounted once more, so that the host's changes can be repeated in it
/// ([`crate::folders`]): its device carries out none. Not for containers.
pub(crate) const REPEATED: &str = "repeated";

/// Mounts every share at `folder/TAG`. One that cannot be mounted is logged and has no folder
/// there, so that a container which wants it is refused: the rest of the machine does not need it.
pub(super) fn mount(
    kernel: &dyn BootCalls,
    cmdline: &Cmdline,
    folder: &Path,
) -> Result<(), BootError> {
    for (tag, read_only) in &cmdline.shares {
        // Device nodes of the host are not the machine's.
        let mut flags = MsFlags::MS_NODEV;
        if *read_only {
            // First: the flags of the first mount are those of the file system.
            mount_one(kernel, tag, &folder.with_file_name(REPEATED).join(tag), flags)?;
            flags |= MsFlags::MS_RDONLY;
        }
        mount_one(kernel, tag, &folder.join(tag), flags)?;
    }
    Ok(())
}

fn mount_one(
    kernel: &dyn BootCalls,
    tag: &str,
    target: &Path,
    flags: MsFlags,
) -> Result<(), BootError> {
    fs::create_dir_all(target).map_err(BootError::file("create", target))?;
    if let Err(errno) = kernel.mount(tag, target, "virtiofs", flags, "") {
        tracing::error!(tag, reason = errno.desc(), "cannot mount a folder of the host");
        fs::remove_dir(target).map_err(BootError::file("remove", target))?;
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
        mount(&kernel, &cmdline, &place.path().join("shares")).expect("both");
        assert_eq!(kernel.calls().len(), 3, "the read-only one twice");
        assert!(place.path().join("shares/there").is_dir());
        assert!(place.path().join(REPEATED).join("there").is_dir());
        let kernel = Recording::default();
        kernel.fail("mount", Errno::EINVAL);
        let other = tempfile::tempdir().expect("a folder");
        mount(&kernel, &cmdline, &other.path().join("shares")).expect("it goes on");
        for folder in ["shares", REPEATED] {
            assert_eq!(fs::read_dir(other.path().join(folder)).expect("readable").count(), 0);
        }
    }
}
