//! System calls of the guest that neither `std` nor `nix` offers in a safe form.
//!
//! This crate is the guest's only `unsafe` code. It owns the translation of Rust types to what the
//! kernel reads, and of what the kernel answers to `Errno`; it decides nothing and keeps no state.
//! Where `nix` already has a safe wrapper that fits, callers use `nix` (re-exported as
//! [`nix`](mod@nix)), or a function here adds what is missing (a path in, a typed flag out).
//!
//! Every function returns [`Result`] with the bare [`Errno`]: the caller knows what it was doing
//! and to what, and says so.
//!
//! - [`mount`]: mounts, old interface and new, `pivot_root`, `openat2`
//! - [`spawn`]: `clone3` + `execve`, from parts prepared before the fork
//! - [`process`]: pidfds, waiting, `setns`, `close_range`, user and group ids
//! - [`caps`]: capability sets and `prctl`
//! - [`schedule`]: processor and disk priorities
//! - [`seccomp`], [`bpf`]: filters
//! - [`fdpass`]: file descriptors over unix sockets
//! - [`tty`], [`disk`], [`net`]: ioctls
//! - [`boot`]: what PID 1 of the VM needs, behind a trait with a recording fake

pub use nix;
pub use nix::Result;
pub use nix::errno::Errno;

pub mod boot;
pub mod bpf;
pub mod caps;
pub mod disk;
pub mod fdpass;
pub mod mount;
pub mod net;
pub mod process;
pub mod schedule;
pub mod seccomp;
pub mod spawn;
pub mod tty;

/// Turns the `-1` convention of a raw system call into a [`Result`].
fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}

/// The same for functions of the C library that answer an `int`.
fn check_int(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}
