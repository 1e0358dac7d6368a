//! The boot: from the kernel's first process to a machine that can serve.
//!
//! Synchronous and in order; the async runtime starts when this is over. A phase that fails ends
//! the boot: it is reported on the console and by the beacon, and the VM is turned off after a
//! while in which the host can read what happened.

mod cgroup;
pub mod cmdline;
mod disk;
mod modules;
pub mod network;
mod root;
pub(crate) mod shares;
pub mod template;
pub mod timeline;

use std::{
    io,
    path::{Path, PathBuf},
};

use linkspan_containers::mounts::SHARES;
use linkspan_sys::{Errno, boot::BootCalls};

pub use cgroup::CGROUP_ROOT;
pub use disk::DATA;

use self::{cmdline::Cmdline, timeline::Timeline};
use crate::emulation;

/// Why a boot cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// mount(2) said no.
    #[error("cannot mount {what} on `{target}`: {}", .errno.desc())]
    Mount {
        /// The file system or device.
        what: String,
        /// Where.
        target: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// The verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A kernel module did not load.
    #[error("cannot load the kernel module `{module}`: {}", .errno.desc())]
    Module {
        /// Its file name.
        module: String,
        /// Why.
        errno: Errno,
    },
    /// The data disk did not appear.
    #[error("the data disk /dev/vda did not appear within {seconds} s")]
    NoDisk {
        /// How long was waited.
        seconds: u64,
    },
    /// The data disk has foreign content.
    #[error(
        "the data disk holds something that is not Linkspan's: neither blank nor an ext4 file system"
    )]
    ForeignDisk,
    /// The data disk is smaller than an empty file system.
    #[error("the data disk has {have} bytes; an empty file system takes {need}")]
    SmallDisk {
        /// The device's size.
        have: u64,
        /// The template's.
        need: u64,
    },
    /// The template in the initramfs is damaged.
    #[error("the file system template is damaged: {0}")]
    Template(String),
    /// The file system could not be grown to the device.
    #[error("cannot grow the data disk's file system to {bytes} bytes: {}", .errno.desc())]
    Grow {
        /// The wanted size.
        bytes: u64,
        /// Why.
        errno: Errno,
    },
}

impl BootError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }

    /// What a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDisk { .. } => {
                Some("start the machine again; if it stays so, report the serial log")
            }
            Self::ForeignDisk => Some(
                "move the machine's data.img away to keep it, or remove the machine and create it anew",
            ),
            Self::SmallDisk { .. } => {
                Some("give the machine a larger disk: `linkspan machine set --disk GIB`")
            }
            Self::Template(_) | Self::Module { .. } => Some("make the VM image anew: `make image`"),
            Self::Grow { .. } => {
                Some("the machine works with the old size; set the disk's size back")
            }
            Self::Mount { .. } | Self::File { .. } => None,
        }
    }
}

/// Everything before the beacon can speak: the root, the standard mounts, the modules.
///
/// # Errors
/// When the machine cannot go on.
pub fn early(kernel: &dyn BootCalls, timeline: &Timeline) -> Result<Cmdline, BootError> {
    timeline.phase("agent", || {
        root::make_pivotable(kernel)?;
        root::mount_standard(kernel)?;
        let cmdline = Cmdline::read()?;
        modules::load(kernel, Path::new("/lib/modules/linkspan"))?;
        emulation::prepare(kernel);
        Ok(cmdline)
    })
}

/// Everything after: cgroup, disk, network, the host's folders.
///
/// # Errors
/// When the machine cannot go on.
pub fn late(
    kernel: &dyn BootCalls,
    timeline: &Timeline,
    cmdline: &Cmdline,
) -> Result<(), BootError> {
    timeline.phase("disk", || {
        // First, so that writing to the disk is already accounted to the agent's cgroup.
        cgroup::enter()?;
        disk::prepare(kernel)
    })?;
    timeline.phase("network", || network::bring_up(kernel, cmdline))?;
    timeline.phase("shares", || shares::mount(kernel, cmdline, Path::new(SHARES)))
}
