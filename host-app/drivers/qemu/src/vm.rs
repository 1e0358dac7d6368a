//! A VM that runs. One task watches it from its start (or adoption) to its end:
//!
//! ```text
//!   watching --QMP events--> the reason is noted; halted <--> goes on
//!      |  kill() --> `quit` over QMP, then SIGKILL
//!      v  QEMU's process has ended
//!   cleaning: the devices' processes are ended, sockets and the record are removed
//!      v
//!   ended(VmExit), told to all who wait
//! ```

use std::{io, time::Duration};

use async_trait::async_trait;
use linkspan_machine::{
    driver::{AcceleratorVerdict, DriverError, Vm, VmExit},
    share::FolderChanges,
};
use linkspan_transport::GuestSocket;
use tokio::sync::{mpsc, watch};

use crate::{
    blocking, io_error,
    qmp::{Event, Qmp},
    record::{Files, Record},
};

/// How long QEMU may take to end by itself after `quit`: it writes back the disk's cache.
const QUIT: Duration = Duration::from_secs(3);
/// How long events may take to arrive after the end of the process.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// Between two tries to reach a monitor that hung up while QEMU runs on.
const RECONNECT: Duration = Duration::from_secs(1);

/// Between two tries to go on, of a VM that the full disk of the host stopped.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Why QEMU stops a VM by itself: `werror=enospc`, its usual setting. Everything else that is wrong
/// with the disk is told to the guest.
const NO_ROOM: &str = "the host's disk has no room left for its data disk";

#[derive(Debug)]
pub(crate) struct QemuVm {
    record: Record,
    end: watch::Receiver<Option<VmExit>>,
    quit: mpsc::Sender<()>,
    halted: watch::Receiver<Option<String>>,
}

impl QemuVm {
    /// Begins to watch. `qmp`: connected, if that worked; else it is tried again. `halt`: the VM
    /// stands still since before.
    pub(crate) fn watch(record: Record, files: Files, qmp: Option<Qmp>, halt: bool) -> Self {
        let (told, end) = watch::channel(None);
        let (quit, quits) = mpsc::channel(1);
        let (halt, halted) = watch::channel(halt.then(|| NO_ROOM.to_owned()));
        let watcher =
            Watcher { record: record.clone(), files, seen: Seen::default(), halt, tried: false };
        tokio::spawn(async move {
            let exit = watcher.run(qmp, quits).await;
            told.send_replace(Some(exit));
        });
        Self { record, end, quit, halted }
    }
}

#[async_trait]
impl Vm for QemuVm {
    fn guest_socket(&self) -> GuestSocket {
        self.record.socket.clone().into()
    }

    fn pid(&self) -> u32 {
        self.record.qemu.pid
    }

    fn folder_changes(&self) -> Vec<FolderChanges> {
        self.record.folder_changes.clone()
    }

    fn accelerator(&self) -> AcceleratorVerdict {
        self.record.accelerator.clone()
    }

    fn halted(&self) -> watch::Receiver<Option<String>> {
        self.halted.clone()
    }

    async fn wait(&self) -> VmExit {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        // The watcher never ends without telling, unless the runtime ends.
        ended.ok().and_then(|exit| exit.clone()).unwrap_or(VmExit::Vanished)
    }

    async fn kill(&self, deadline: Duration) -> Result<(), DriverError> {
        let limit = tokio::time::Instant::now() + deadline;
        // Full means that somebody asked before, closed that it has ended.
        let _ = self.quit.try_send(());
        if tokio::time::timeout(deadline.min(QUIT), self.wait()).await.is_ok() {
            return Ok(());
        }
        self.record.qemu.kill().map_err(io_error("end process", self.record.qemu.pid))?;
        tokio::time::timeout_at(limit.max(tokio::time::Instant::now() + QUIT), self.wait())
            .await
            .map(drop)
            .map_err(|_| DriverError::TimedOut {
                what: format!("the end of QEMU (process {})", self.record.qemu.pid),
                seconds: deadline.as_secs(),
            })
    }

    async fn host_memory_bytes(&self) -> Result<u64, DriverError> {
        let record = self.record.clone();
        blocking(move || {
            let qemu = record.qemu.resident_bytes();
            let qemu = qemu.map_err(io_error("read the memory of process", record.qemu.pid))?;
            // A device may be gone without harm to the figure.
            let devices = record.devices().filter_map(|process| process.resident_bytes().ok());
            Ok(qemu + devices.sum::<u64>())
        })
        .await?
    }
}

/// What was learned about the end before it came.
#[derive(Debug, Default)]
struct Seen {
    killed: bool,
    panicked: bool,
    shutdown: Option<String>,
    /// The disk had no room since it was last told to go on.
    full: bool,
}

impl Seen {
    fn note(&mut self, event: Event) {
        match event {
            Event::GuestPanicked => self.panicked = true,
            Event::Shutdown { reason } => self.shutdown = Some(reason),
            Event::DiskError { halts: true, .. } => self.full = true,
            Event::DiskError { operation, reason, halts: false } => {
                tracing::error!(operation, reason, "the machine's data disk failed on the host");
            }
        }
    }

    fn exit(&self) -> VmExit {
        match self.shutdown.as_deref() {
            // What the guest did first counts, also when a kill was on its way.
            _ if self.panicked => VmExit::GuestPanicked,
            Some("guest-shutdown") => VmExit::PoweredOff,
            Some("guest-reset" | "guest-panic") => VmExit::GuestPanicked,
            _ if self.killed => VmExit::Killed,
            _ => VmExit::Vanished,
        }
    }
}

struct Watcher {
    record: Record,
    files: Files,
    seen: Seen,
    /// Why the VM stands still.
    halt: watch::Sender<Option<String>>,
    /// It was told to go on.
    tried: bool,
}

impl Watcher {
    async fn run(mut self, mut qmp: Option<Qmp>, mut quits: mpsc::Receiver<()>) -> VmExit {
        let process = self.record.qemu.clone();
        let ended = process.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                // Events that already arrived come before the end that they explain.
                biased;
                event = next_event(&mut qmp, &self.files) => match event {
                    Ok(event) => {
                        self.seen.note(event);
                        if self.seen.full && self.halt.borrow().is_none() {
                            self.halt.send_replace(Some(NO_ROOM.to_owned()));
                        }
                    }
                    Err(_) => qmp = None,
                },
                () = tokio::time::sleep(TRY_AGAIN), if self.halt.borrow().is_some() => {
                    self.go_on(&mut qmp).await;
                }
                () = &mut ended => break,
                Some(()) = quits.recv() => {
                    self.seen.killed = true;
                    self.quit(&mut qmp).await;
                }
            }
        }
        if let Some(qmp) = &mut qmp {
            let drain = async {
                while let Ok(event) = qmp.event().await {
                    self.seen.note(event);
                }
            };
            let _ = tokio::time::timeout(LAST_EVENTS, drain).await;
        }
        self.clean().await;
        self.seen.exit()
    }

    /// Lets a VM that stands still try again. One that has not stood still since the last try goes
    /// on for good.
    async fn go_on(&mut self, qmp: &mut Option<Qmp>) {
        if self.tried && !self.seen.full {
            self.halt.send_replace(None);
            self.tried = false;
            return;
        }
        if let Some(qmp) = qmp {
            self.seen.full = false;
            self.tried = qmp.go_on().await.is_ok();
        }
    }

    /// Asks QEMU to end; if it cannot be asked, ends it.
    async fn quit(&self, qmp: &mut Option<Qmp>) {
        let asked = match qmp {
            Some(qmp) => qmp.quit().await,
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        if asked.is_err()
            && let Err(error) = self.record.qemu.kill()
        {
            tracing::warn!(pid = self.record.qemu.pid, %error, "cannot end QEMU");
        }
    }

    async fn clean(&self) {
        let (record, files) = (self.record.clone(), self.files.clone());
        let cleaned = blocking(move || clean(&record, &files)).await;
        if let Err(error) = cleaned.and_then(|cleaned| cleaned) {
            // The next start or adoption tries again.
            tracing::warn!(%error, "left something of an ended VM behind");
        }
    }
}

/// Ends the processes and removes the files of a VM whose QEMU has ended. Blocking.
pub(crate) fn clean(record: &Record, files: &Files) -> Result<(), DriverError> {
    for process in record.devices() {
        process.kill().map_err(io_error("end process", process.pid))?;
    }
    files.remove_leftovers()
}

/// The next event, over a new connection if need be. Never ends without one while QEMU cannot be
/// reached.
async fn next_event(qmp: &mut Option<Qmp>, files: &Files) -> io::Result<Event> {
    loop {
        if let Some(qmp) = qmp {
            return qmp.event().await;
        }
        tokio::time::sleep(RECONNECT).await;
        match Qmp::connect(&files.qmp).await {
            Ok(connected) => *qmp = Some(connected),
            Err(error) => tracing::debug!(%error, "QEMU's monitor cannot be reached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(killed: bool, events: &[Event]) -> VmExit {
        let mut seen = Seen { killed, ..Seen::default() };
        events.iter().cloned().for_each(|event| seen.note(event));
        seen.exit()
    }

    #[test]
    fn each_end_has_its_reason() {
        let shutdown = |reason: &str| Event::Shutdown { reason: reason.into() };
        assert_eq!(exit(false, &[shutdown("guest-shutdown")]), VmExit::PoweredOff);
        assert_eq!(exit(false, &[shutdown("guest-reset")]), VmExit::GuestPanicked);
        let panic = [Event::GuestPanicked, shutdown("guest-panic")];
        assert_eq!(exit(false, &panic), VmExit::GuestPanicked);
        assert_eq!(exit(true, &[shutdown("host-qmp-quit")]), VmExit::Killed);
        assert_eq!(exit(true, &[]), VmExit::Killed);
        assert_eq!(exit(false, &[]), VmExit::Vanished);
        assert_eq!(exit(false, &[shutdown("host-signal")]), VmExit::Vanished);
        // The guest was faster than the kill.
        assert_eq!(exit(true, &[shutdown("guest-shutdown")]), VmExit::PoweredOff);
    }
}
