//! eBPF programs attached to a cgroup: the device filter of cgroup v2 is one.

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use crate::{Errno, Result, check};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// `struct { /* BPF_PROG_LOAD */ }` of `union bpf_attr`, as far as we use it.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// `struct { /* BPF_PROG_ATTACH */ }` of `union bpf_attr`, as far as we use it.
#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<libc::c_long> {
    let size = size_of::<T>();
    // SAFETY: the kernel reads `size` bytes of a repr(C) struct without padding that is the
    // beginning of bpf_attr for this command; what lies beyond counts as zero. It writes only to
    // buffers that the struct points to, and both callers keep those alive.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size) })
}

/// Loads a device filter: instructions of eight bytes (`struct bpf_insn`) in memory order.
/// `EINVAL`, `EACCES`: the verifier refuses it.
pub fn load_device_filter(instructions: &[u64]) -> Result<OwnedFd> {
    let attributes = LoadAttributes {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: instructions.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // EAGAIN: the verifier gave up because a signal was pending. Asked again a bounded number of
    // times, as libbpf does.
    let mut attempts = 5;
    let fd = loop {
        attempts -= 1;
        match bpf(PROG_LOAD, &attributes) {
            Err(Errno::EAGAIN) if attempts > 0 => {}
            other => break other?,
        }
    };
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches a device filter to a cgroup (an open folder of cgroup2). It stays as long as the
/// cgroup does; the descriptor of the program may be closed.
pub fn attach_device_filter(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let number = |fd: RawFd| u32::try_from(fd).map_err(|_| Errno::EBADF);
    let attributes = AttachAttributes {
        target_fd: number(cgroup.as_fd().as_raw_fd())?,
        attach_bpf_fd: number(program.as_fd().as_raw_fd())?,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
    };
    bpf(PROG_ATTACH, &attributes).map(drop)
}
