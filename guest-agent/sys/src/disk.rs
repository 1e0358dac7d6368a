//! Block devices and the file system on them: sizes and online growth.

use std::os::fd::{AsFd, AsRawFd as _};

use crate::Result;

mod raw {
    // include/uapi/linux/ext4.h: EXT4_IOC_RESIZE_FS, the new size in file system blocks.
    nix::ioctl_write_ptr!(ext4_resize_fs, b'f', 16, u64);
    // include/uapi/linux/fs.h: BLKGETSIZE64 (declared with size_t, answers a u64).
    nix::ioctl_read!(blkgetsize64, 0x12, 114, libc::size_t);
    // include/uapi/linux/fs.h: FITRIM.
    nix::ioctl_readwrite!(fitrim, b'X', 121, super::FstrimRange);
}

/// `struct fstrim_range` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FstrimRange {
    start: u64,
    len: u64,
    minlen: u64,
}

/// Grows a mounted ext4 file system to `blocks` file system blocks. `file_system` is any file or
/// folder on it. Asking for the size it has already is a no-op for the kernel.
pub fn ext4_resize(file_system: impl AsFd, blocks: u64) -> Result<()> {
    // SAFETY: the descriptor is open for the duration of the call and the kernel only reads the
    // u64 behind the pointer, which lives on this frame.
    unsafe { raw::ext4_resize_fs(file_system.as_fd().as_raw_fd(), &raw const blocks) }.map(drop)
}

/// The size of a block device in bytes.
pub fn block_device_size(device: impl AsFd) -> Result<u64> {
    let mut size = 0_u64;
    // SAFETY: BLKGETSIZE64 writes exactly eight bytes; `size` is eight bytes, and this crate is
    // built for 64-bit targets only, where size_t has that size too.
    unsafe { raw::blkgetsize64(device.as_fd().as_raw_fd(), (&raw mut size).cast()) }?;
    Ok(size)
}

/// Tells the device which blocks the mounted file system does not use. Returns the bytes given back.
pub fn trim(file_system: impl AsFd) -> Result<u64> {
    let mut range = FstrimRange { start: 0, len: u64::MAX, minlen: 0 };
    // SAFETY: the kernel reads and writes one fstrim_range, which `range` is.
    unsafe { raw::fitrim(file_system.as_fd().as_raw_fd(), &raw mut range) }?;
    Ok(range.len)
}

const _: () = assert!(size_of::<libc::size_t>() == 8, "linkspan's guests are 64-bit");
