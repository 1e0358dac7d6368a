//! Capability sets (capabilities(7)) and the prctl(2) options around them, of the calling thread.
//!
//! A set is a `u64` with bit N for capability N of linux/capability.h.

use crate::{Errno, Result, check, check_int};

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets of capset(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// What may be used now.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What files may keep over execve(2).
    pub inheritable: u64,
}

/// Replaces the three sets of the calling thread.
pub fn set(sets: Sets) -> Result<()> {
    let word = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let header = Header { version: VERSION_3, pid: 0 };
    let data = [word(0), word(32)];
    // SAFETY: version 3 reads one header and two data structs, which live on this frame.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// The three sets of the calling thread.
pub fn get() -> Result<Sets> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 writes two data structs, which live on this frame.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// All prctl options used here take integers only.
fn prctl(option: i32, argument: u64, third: u64) -> Result<i32> {
    // SAFETY: the options that this module passes interpret no argument as a pointer.
    check_int(unsafe { libc::prctl(option, argument, third, 0_u64, 0_u64) })
}

/// Removes a capability from the bounding set. `EINVAL`: the kernel has no capability of that
/// number: the caller has come to the end of the list.
pub fn drop_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Whether a capability is in the bounding set; `Ok(None)`: the kernel does not know it.
pub fn in_bounding(capability: u32) -> Result<Option<bool>> {
    match prctl(libc::PR_CAPBSET_READ, capability.into(), 0) {
        Ok(answer) => Ok(Some(answer == 1)),
        Err(Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Empties the ambient set.
pub fn clear_ambient() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0).map(drop)
}

/// Adds to the ambient set; it has to be permitted and inheritable.
pub fn raise_ambient(capability: u32) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability.into()).map(drop)
}

/// Whether the permitted set survives a change away from user 0.
pub fn set_keep_caps(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// PR_SET_NO_NEW_PRIVS: from here on execve(2) never grants anything. Cannot be undone.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// PR_SET_SECUREBITS.
pub fn set_securebits(bits: u32) -> Result<()> {
    prctl(libc::PR_SET_SECUREBITS, bits.into(), 0).map(drop)
}

/// The signal that the calling thread gets when its parent thread ends; 0: none.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal.unsigned_abs().into(), 0).map(drop)
}

/// Whether /proc/PID of this process belongs to its user, and other processes of that user may look in.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into(), 0).map(drop)
}

/// Orphaned descendants become children of the calling process instead of PID 1's.
pub fn set_child_subreaper(on: bool) -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, on.into(), 0).map(drop)
}
