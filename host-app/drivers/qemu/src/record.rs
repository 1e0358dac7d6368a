//! What a later daemon must know of a VM to adopt it: `vm.json` in the VM's folder. Written when
//! the VM runs, removed when it has ended.

use std::path::{Path, PathBuf};

use linkspan_machine::{
    driver::{AcceleratorVerdict, DriverError},
    share::{FolderChanges, MAX_SHARES},
};
use linkspan_state::{Document, StateError};
use linkspan_transport::GuestSocket;
use serde::{Deserialize, Serialize};

use crate::process::Process;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) qemu: Process,
    /// The vsock device's process, if it is one.
    pub(crate) vsock_process: Option<Process>,
    /// The shared folders' processes.
    #[serde(default)]
    pub(crate) folder_processes: Vec<Process>,
    /// Where they tell of changes.
    #[serde(default)]
    pub(crate) folder_changes: Vec<FolderChanges>,
    pub(crate) socket: Socket,
    pub(crate) accelerator: AcceleratorVerdict,
}

impl Record {
    /// The processes of this VM beside QEMU.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Process> {
        self.vsock_process.iter().chain(&self.folder_processes)
    }
}

/// The kinds of [`GuestSocket`] that this driver makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Socket {
    Vsock { cid: u32 },
    Hybrid { path: PathBuf },
}

impl From<Socket> for GuestSocket {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Vsock { cid } => Self::Vsock { cid },
            Socket::Hybrid { path } => Self::Hybrid { path },
        }
    }
}

impl Document for Record {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the record of a running VM";
}

/// The files of one VM in its folder.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) record: PathBuf,
    pub(crate) qmp: PathBuf,
    pub(crate) pid_file: PathBuf,
    /// What QEMU said while it started.
    pub(crate) start_log: PathBuf,
    /// What QEMU said later.
    pub(crate) log: PathBuf,
    pub(crate) vhost_socket: PathBuf,
    pub(crate) vhost_log: PathBuf,
    pub(crate) guest_socket: PathBuf,
}

impl Files {
    pub(crate) fn new(directory: &Path) -> Self {
        let file = |name: &str| directory.join(name);
        Self {
            record: file("vm.json"),
            qmp: file("qmp.sock"),
            pid_file: file("qemu.pid"),
            start_log: file("qemu-start.log"),
            log: file("qemu.log"),
            vhost_socket: file("vhost.sock"),
            vhost_log: file("vhost.log"),
            guest_socket: crate::vsock::guest_socket_path(directory),
        }
    }

    /// Where the shared folder of this number meets QEMU.
    pub(crate) fn folder_socket(&self, number: usize) -> PathBuf {
        self.record.with_file_name(format!("fs{number}.sock"))
    }

    /// Where the shared folder of this number tells of changes.
    pub(crate) fn folder_changes(&self, number: usize) -> PathBuf {
        self.record.with_file_name(format!("fs{number}-changes.sock"))
    }

    pub(crate) fn folder_log(&self, number: usize) -> PathBuf {
        self.record.with_file_name(format!("fs{number}.log"))
    }

    /// `None`: there is none, or it is of no use.
    pub(crate) fn read(&self) -> Result<Option<Record>, DriverError> {
        match linkspan_state::read(&self.record) {
            Ok(record) => Ok(record),
            Err(error) => Err(self.error("read", error)),
        }
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), DriverError> {
        linkspan_state::write(&self.record, record).map_err(|error| self.error("write", error))
    }

    /// Removes what a VM that has ended leaves behind, except its logs.
    pub(crate) fn remove_leftovers(&self) -> Result<(), DriverError> {
        for number in 0..MAX_SHARES {
            for socket in [self.folder_socket(number), self.folder_changes(number)] {
                linkspan_state::remove_file(&socket)
                    .map_err(|error| self.error("remove", error))?;
            }
        }
        // The record last: as long as it is there, somebody will try again.
        for file in
            [&self.qmp, &self.pid_file, &self.vhost_socket, &self.guest_socket, &self.record]
        {
            linkspan_state::remove_file(file).map_err(|error| self.error("remove", error))?;
        }
        Ok(())
    }

    fn error(&self, action: &'static str, error: StateError) -> DriverError {
        match error {
            StateError::Io { path, source, .. } => {
                DriverError::Io { action, subject: path.display().to_string(), source }
            }
            other => DriverError::Io {
                action,
                subject: self.record.display().to_string(),
                source: std::io::Error::other(other),
            },
        }
    }
}
