//! One shared folder of a QEMU machine: a vhost-user-fs device in a process of its own, so that it
//! outlives the daemon as the machine does. The file system is that of the crate `virtiofsd`; this
//! is the process around it: its socket, its one QEMU, its rights, its end.
//!
//! Whose the files are: where this process is root's, ids pass through as they are. Otherwise every
//! id of the guest becomes this user's, because no other can be had: what a container's root makes
//! is the user's own, and a `chown` succeeds without effect.
//!
//! Changes that the host's programs make in it are told to the guest, which has no other way to hear
//! of them: a daemon that connects to a second socket passes them on.
//!
//! Deliberately absent: migration, the DAX window, other hypervisors' folders.
//!
//! Source of the rules: virtio 1.2, section 5.11, "File System Device".

#[cfg(target_os = "linux")]
mod changes;
#[cfg(target_os = "linux")]
mod pages;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod watched;

use std::{io, path::PathBuf};

/// What is shared, and where QEMU finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The vhost-user socket: made here, for one QEMU.
    pub socket: PathBuf,
    /// The folder, absolute.
    pub share: PathBuf,
    /// The guest can change nothing.
    pub read_only: bool,
    /// The socket where a daemon hears of changes that the host's programs make: made here.
    pub changes: PathBuf,
}

/// Why the device did not run, or ended before its QEMU.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a folder, or not one that this user may look into.
    #[error("cannot share `{}`: {source}", .path.display())]
    Share {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on `{}`: {source}", .path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something that every process needs was refused.
    #[error("cannot set up the fs device: {why}")]
    Start {
        /// The reason.
        why: String,
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
    #[error("an fs device as a process is not supported on this system: {why}")]
    Unsupported {
        /// The reason.
        why: &'static str,
    },
}

/// Serves one QEMU until it disconnects. Blocking; call it before any thread is started.
///
/// Changes this process for good: its umask becomes 0 (the guest applies its own), its limit of
/// open files is raised, and root keeps only the capabilities that files need. Removes the sockets
/// at the end.
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
