//! The vsock device of a QEMU machine, for hosts without the kernel's vhost-vsock: a vhost-user
//! backend in a process of its own, so that it outlives the daemon as the machine does.
//!
//! ```text
//!  programs on the host                              QEMU --- the guest's driver
//!     | unix sockets                                   | vhost-user socket, shared memory
//!   hybrid ----- connection --(all of them)-- device --- queues --- backend
//!                   |                            |
//!                 credit                       packet
//! ```
//!
//! - `packet`: the header, as it lies in guest memory.
//! - `credit`: how much may be sent, in both directions (pure).
//! - `connection`: one stream: establishing, half-close, reset, back-pressure.
//! - `device`: all of them, in turn; host ports; what is refused.
//! - `queues`: guest memory and nothing else touches it.
//! - `backend`, `process`: what QEMU sees, and the process around it.
//!
//! Half-closes pass through as they are: `shutdown(2)` on one side is a SHUTDOWN packet on the
//! other. A unix socket cannot be reset, so the host sees a reset of the guest's as the end of the
//! stream, after all that came before. Deliberately absent: seqpacket sockets, migration.
//!
//! Source of the rules: virtio 1.2, section 5.10, "Socket Device".

#[cfg(target_os = "linux")]
mod backend;
#[cfg(target_os = "linux")]
mod connection;
#[cfg(target_os = "linux")]
mod credit;
#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod hybrid;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod queues;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::{io, path::PathBuf};

/// Where the device is found, and by which name the guest goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The vhost-user socket: made here, for one QEMU.
    pub socket: PathBuf,
    /// The hybrid socket of the host's programs: made here. Whoever listens on `<uds>_<port>` gets
    /// the guest's connections to the host's `port`.
    pub uds: PathBuf,
    /// The guest's context id; 3 is the first that a guest may have.
    pub guest_cid: u32,
}

/// Why the device did not run, or ended before its QEMU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket cannot be made.
    #[error("cannot listen on `{}`", .path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something that every process needs was refused.
    #[error("cannot set up the vsock device")]
    Start {
        /// The system's reason.
        source: io::Error,
    },
    /// Nobody connected to the vhost-user socket.
    #[error("no QEMU connected within {seconds} s")]
    NoQemu {
        /// So long was waited.
        seconds: u64,
    },
    /// QEMU and we do not understand each other.
    #[error("vhost-user failed: {why}")]
    Vhost {
        /// The words of the crate that speaks it.
        why: String,
    },
    /// Not on this system.
    #[error("a vsock device as a process is not supported on this system: {why}")]
    Unsupported {
        /// The reason.
        why: &'static str,
    },
}

/// Serves one QEMU until it disconnects. Blocking.
///
/// Raises this process's limit of open files, and removes both sockets at the end.
///
/// # Errors
/// [`Error`]; the end of QEMU is none.
pub fn run(options: &Options) -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    {
        process::run(options)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = options;
        Err(Error::Unsupported { why: "vhost-user needs memory and events as Linux shares them" })
    }
}
