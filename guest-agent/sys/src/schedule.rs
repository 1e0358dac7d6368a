//! How the kernel shares processors and disks: sched_setattr(2) and ioprio_set(2), of the calling
//! thread. A program started by it inherits both.

use crate::{Result, check};

/// How a thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    /// SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// SCHED_DEADLINE, nanoseconds, as the two that follow.
    pub runtime: u64,
    /// See [`Self::runtime`].
    pub deadline: u64,
    /// See [`Self::runtime`].
    pub period: u64,
}

/// `struct sched_attr` of linux/sched/types.h, in its first version.
#[repr(C)]
struct Raw {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets the scheduling policy. `EPERM`: needs CAP_SYS_NICE; `EINVAL`: values that do not fit.
pub fn set(attributes: Attributes) -> Result<()> {
    let Attributes { policy, flags, nice, priority, runtime, deadline, period } = attributes;
    let size = size_of::<Raw>() as u32;
    let raw = Raw { size, policy, flags, nice, priority, runtime, deadline, period };
    // SAFETY: the kernel reads `size` bytes of one struct that lives on this frame.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) }).map(drop)
}

/// Sets the disk priority: `class << 13 | level` (linux/ioprio.h).
pub fn set_io_priority(value: u16) -> Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, libc::c_int::from(value)) })
        .map(drop)
}
