//! The data disk: recognise it, give a blank one a file system, mount it, grow it.

use std::{
    fs::{self, File, OpenOptions},
    io::Read as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use linkspan_sys::{boot::BootCalls, disk};
use nix::{mount::MsFlags, sys::statvfs::statvfs};

use super::{BootError, template};

/// Where everything that survives a boot is.
pub const DATA: &str = "/var/lib/linkspan";
const DEVICE: &str = "/dev/vda";
const TEMPLATE: &str = "/usr/share/linkspan/data.ext4.tmpl";
/// A disk whose beginning is empty is blank: partition tables and superblocks of every file system
/// that a user may have are within it.
const LOOK: usize = 64 << 10;
/// How long the kernel may take to find the disk.
const APPEARS_WITHIN: Duration = Duration::from_secs(5);

/// What is on a disk.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Blank,
    Ext4,
    Foreign,
}

/// Mounts the data disk at [`DATA`].
pub(super) fn prepare(kernel: &dyn BootCalls) -> Result<(), BootError> {
    appear()?;
    let mut device = OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(BootError::file("open", DEVICE))?;
    let capacity = disk::block_device_size(&device)
        .map_err(|errno| BootError::file("read the size of", DEVICE)(errno.into()))?;
    let mut beginning = Vec::with_capacity(LOOK);
    (&device)
        .take(LOOK as u64)
        .read_to_end(&mut beginning)
        .map_err(BootError::file("read", DEVICE))?;
    match recognise(&beginning) {
        Content::Ext4 => {}
        Content::Foreign => return Err(BootError::ForeignDisk),
        Content::Blank => {
            let source = File::open(TEMPLATE).map_err(BootError::file("open", TEMPLATE))?;
            let size = template::write(source, &mut device, capacity)?;
            tracing::info!(mib = size >> 20, "the blank data disk was given a file system");
        }
    }
    drop(device);
    fs::create_dir_all(DATA).map_err(BootError::file("create", DATA))?;
    kernel
        .mount(DEVICE, Path::new(DATA), "ext4", MsFlags::MS_NOATIME, "discard")
        .map_err(|errno| BootError::Mount { what: DEVICE.into(), target: DATA.into(), errno })?;
    grow(capacity)?;
    for folder in ["images", "containers", "networks", "tmp"] {
        let path = Path::new(DATA).join(folder);
        fs::create_dir_all(&path).map_err(BootError::file("create", path))?;
    }
    Ok(())
}

/// Waits for the device: a driver may still be probing it.
fn appear() -> Result<(), BootError> {
    let deadline = Instant::now() + APPEARS_WITHIN;
    while !Path::new(DEVICE).exists() {
        if Instant::now() > deadline {
            return Err(BootError::NoDisk { seconds: APPEARS_WITHIN.as_secs() });
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn recognise(beginning: &[u8]) -> Content {
    // ext4's superblock begins at 1024; s_magic is 0x38 into it (fs/ext4/ext4.h).
    if beginning.get(1024 + 0x38..1024 + 0x3a) == Some(&[0x53, 0xef]) {
        Content::Ext4
    } else if beginning.iter().all(|&byte| byte == 0) {
        Content::Blank
    } else {
        Content::Foreign
    }
}

/// Grows the mounted file system to the device, when the device has become larger.
fn grow(capacity: u64) -> Result<(), BootError> {
    let now =
        statvfs(DATA).map_err(|errno| BootError::file("read the size of", DATA)(errno.into()))?;
    let block = now.fragment_size();
    let root = File::open(DATA).map_err(BootError::file("open", DATA))?;
    // statvfs counts without ext4's own overhead, so "is it smaller than the device" is always
    // true; asking the kernel for the size that it has is a no-op.
    disk::ext4_resize(&root, capacity / block)
        .map_err(|errno| BootError::Grow { bytes: capacity, errno })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_recognised_by_its_beginning() {
        let mut disk = vec![0; LOOK];
        assert_eq!(recognise(&disk), Content::Blank);
        disk[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(recognise(&disk), Content::Ext4);
        let mut foreign = vec![0; LOOK];
        foreign[510] = 0x55;
        assert_eq!(recognise(&foreign), Content::Foreign);
    }
}
