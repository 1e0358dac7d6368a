//! Starts a VM's processes, or leaves nothing behind; finds those of an earlier daemon.
//!
//! QEMU goes to the background itself (`-daemonize`): its first process ends when the machine is
//! set up and runs, or has said why not. So an error arrives here with QEMU's own words, and
//! nothing that we hold keeps the VM alive.

use std::{path::Path, process::Stdio, time::Duration};

use linkspan_machine::{
    driver::{AcceleratorVerdict, DriverError, VmSpec},
    share::FolderChanges,
};
use tokio::process::{Child, Command};

use crate::{
    blocking, command,
    command::{Devices, VsockBackend},
    device, io_error,
    process::Process,
    programs::{DeviceProgram, Qemu},
    qmp::Qmp,
    record::{Files, Record, Socket},
    vm::{self, QemuVm},
    vsock::Plan,
};

/// QEMU sets up its memory and devices in well under a second; a host that swaps needs longer.
const QEMU_LIMIT: Duration = Duration::from_secs(30);
/// How much of a log explains a failure.
const LOG_END: usize = 2000;

/// What a start needs.
pub(crate) struct Start<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) verdict: &'a AcceleratorVerdict,
    pub(crate) qemu: &'a Qemu,
    pub(crate) plan: Plan,
    /// The program that shares a folder.
    pub(crate) folder: &'a DeviceProgram,
    /// The guest's context id, with the kernel's vhost-vsock.
    pub(crate) cid: u32,
}

pub(crate) async fn start(start: Start<'_>) -> Result<QemuVm, DriverError> {
    let files = Files::new(&start.spec.directory);
    prepare(start.spec, &files).await?;
    let mut started = Vec::new();
    match start_all(start, &files, &mut started).await {
        Ok(record) => watch_new(record, files).await,
        Err(error) => {
            abandon(&started, &files).await;
            Err(error)
        }
    }
}

/// Starts the devices, then QEMU. What runs when this fails is in `started`.
async fn start_all(
    start: Start<'_>,
    files: &Files,
    started: &mut Vec<Process>,
) -> Result<Record, DriverError> {
    let Start { spec, verdict, qemu, plan, folder, cid } = start;
    let (vsock_process, socket) = match plan {
        Plan::Kernel => (None, Socket::Vsock { cid }),
        Plan::Process(program) => {
            let process = device::vsock(&program, files).await?;
            started.push(process.clone());
            (Some(process), Socket::Hybrid { path: files.guest_socket.clone() })
        }
    };
    let (mut folder_processes, mut folder_changes) = (Vec::new(), Vec::new());
    for (number, share) in spec.shares.iter().enumerate() {
        let process = device::folder(folder, share, number, files).await?;
        started.push(process.clone());
        folder_processes.push(process);
        let socket = files.folder_changes(number);
        folder_changes.push(FolderChanges { tag: share.tag.clone(), socket });
    }
    let qemu = start_qemu(spec, verdict, qemu, files, &socket).await?;
    let accelerator = verdict.clone();
    Ok(Record { qemu, vsock_process, folder_processes, folder_changes, socket, accelerator })
}

/// Everything runs: note it down for the next daemon, then watch.
async fn watch_new(record: Record, files: Files) -> Result<QemuVm, DriverError> {
    let (written, noted) = (record.clone(), files.clone());
    let noted = blocking(move || noted.write(&written)).await.and_then(|done| done);
    if let Err(error) = noted {
        // A VM that no daemon could find again must not run.
        let all: Vec<_> = std::iter::once(&record.qemu).chain(record.devices()).cloned().collect();
        abandon(&all, &files).await;
        return Err(error);
    }
    let qmp = Qmp::connect(&files.qmp).await;
    if let Err(error) = &qmp {
        tracing::warn!(%error, "QEMU's monitor cannot be reached yet");
    }
    Ok(QemuVm::watch(record, files, qmp.ok(), false))
}

async fn abandon(processes: &[Process], files: &Files) {
    for process in processes {
        if let Err(error) = process.kill() {
            tracing::warn!(pid = process.pid, %error, "cannot end a process of a failed start");
        }
    }
    if let Err(error) = files.remove_leftovers() {
        tracing::warn!(%error, "left something of a failed start behind");
    }
}

/// Refuses what cannot work, and removes what an earlier VM left.
async fn prepare(spec: &VmSpec, files: &Files) -> Result<(), DriverError> {
    let (spec, files) = (spec.clone(), files.clone());
    blocking(move || {
        // A kernel that cannot be read: QEMU says only "could not load kernel".
        for file in [&spec.kernel, &spec.initramfs] {
            std::fs::File::open(file).map_err(io_error("read", file.display()))?;
        }
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&spec.disk)
            .map_err(io_error("write", spec.disk.display()))?;
        if let Ok(Some(record)) = files.read() {
            if record.qemu.runs() {
                return Err(DriverError::InUse {
                    what: format!("the folder `{}`", spec.directory.display()),
                    why: format!("its VM runs already (process {})", record.qemu.pid),
                    hint: "stop that machine first".into(),
                });
            }
            return vm::clean(&record, &files);
        }
        files.remove_leftovers()
    })
    .await?
}

async fn start_qemu(
    spec: &VmSpec,
    verdict: &AcceleratorVerdict,
    qemu: &Qemu,
    files: &Files,
    socket: &Socket,
) -> Result<Process, DriverError> {
    let qboot = command::qboot(qemu);
    let folders: Vec<_> =
        (0..spec.shares.len()).map(|number| files.folder_socket(number)).collect();
    let mut devices = Devices {
        accelerator: verdict.accelerator,
        vsock: match socket {
            Socket::Vsock { cid } => VsockBackend::Kernel { cid: *cid },
            Socket::Hybrid { .. } => VsockBackend::Process { socket: &files.vhost_socket },
        },
        folders: &folders,
        qmp: &files.qmp,
        pid_file: &files.pid_file,
        log: &files.log,
        sandbox: cfg!(target_os = "linux"),
        qboot: qboot.as_deref(),
    };
    let mut status = run_qemu(spec, qemu, files, &devices).await?;
    if !status.success() && words_of(files).contains("sandbox support is not enabled") {
        tracing::info!("this QEMU was built without a system call filter");
        devices.sandbox = false;
        status = run_qemu(spec, qemu, files, &devices).await?;
    }
    if !status.success() {
        let words = words_of(files);
        return Err(explain(&words, status, qemu, spec));
    }
    read_pid(files).and_then(Process::find).ok_or_else(|| DriverError::Start {
        program: qemu.program.display().to_string(),
        why: format!("it ended at once: {}", log_end(&files.log)),
        hint: format!("see `{}`", files.log.display()),
    })
}

/// Runs QEMU's first process, which ends when the one in the background runs or has failed.
async fn run_qemu(
    spec: &VmSpec,
    qemu: &Qemu,
    files: &Files,
    devices: &Devices<'_>,
) -> Result<std::process::ExitStatus, DriverError> {
    let arguments = command::arguments(spec, devices)?;
    // A file and not a pipe: the process in the background keeps the descriptor.
    let log = create(&files.start_log)?;
    // Words of an earlier VM must not explain this one.
    create(&files.log)?;
    let mut child = Command::new(&qemu.program)
        .args(arguments)
        .current_dir(&spec.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(io_error("run", qemu.program.display()))?;
    if let Ok(status) = tokio::time::timeout(QEMU_LIMIT, child.wait()).await {
        return status.map_err(io_error("wait for", qemu.program.display()));
    }
    end_half_started(&mut child, files).await;
    Err(DriverError::TimedOut {
        what: format!("the start of `{}`", qemu.program.display()),
        seconds: QEMU_LIMIT.as_secs(),
    })
}

/// The process in the background writes its pid file early, so also a hanging one can be found.
async fn end_half_started(child: &mut Child, files: &Files) {
    let _ = child.kill().await;
    if let Some(process) = read_pid(files).and_then(Process::find) {
        let _ = process.kill();
    }
}

fn read_pid(files: &Files) -> Option<u32> {
    std::fs::read_to_string(&files.pid_file).ok()?.trim().parse().ok()
}

/// QEMU's words, and what to do about them.
fn explain(
    words: &str,
    status: std::process::ExitStatus,
    qemu: &Qemu,
    spec: &VmSpec,
) -> DriverError {
    let has = |text: &str| words.contains(text);
    if has("Failed to get \"write\" lock") || has("Failed to get shared \"write\" lock") {
        return DriverError::InUse {
            what: format!("the data disk `{}`", spec.disk.display()),
            why: "another QEMU has it open".into(),
            hint: "end that QEMU first".into(),
        };
    }
    if has("Address already in use") || has("Device or resource busy") {
        return DriverError::InUse {
            what: format!("something that the machine `{}` needs", spec.name),
            why: words.to_owned(),
            hint: "try again; if it stays so, end the process that uses it".into(),
        };
    }
    let hint = if has("Cannot allocate memory") || has("cannot set up guest memory") {
        "give the machine less memory (`linkspan machine set --memory`)".to_owned()
    } else if has("Permission denied") {
        "give this user access to what the message names".to_owned()
    } else {
        format!("QEMU {} at `{}` may lack a feature", qemu.version, qemu.program.display())
    };
    let why = if words.is_empty() { format!("it ended with {status}") } else { words.to_owned() };
    DriverError::Start { program: qemu.program.display().to_string(), why, hint }
}

/// Finds the VM that runs in `directory`.
pub(crate) async fn adopt(directory: &Path) -> Result<Option<QemuVm>, DriverError> {
    let files = Files::new(directory);
    let found = {
        let files = files.clone();
        blocking(move || find_running(&files)).await??
    };
    let Some(record) = found else { return Ok(None) };
    let (qmp, halted) = match Qmp::connect(&files.qmp).await {
        Ok(mut qmp) => {
            let status = qmp.status().await;
            tracing::info!(pid = record.qemu.pid, ?status, "adopted a VM");
            (Some(qmp), status.is_ok_and(|status| status == "io-error"))
        }
        Err(error) => {
            tracing::warn!(pid = record.qemu.pid, %error, "adopted a VM whose monitor is silent");
            (None, false)
        }
    };
    Ok(Some(QemuVm::watch(record, files, qmp, halted)))
}

/// Removes what is left of a VM that has ended.
fn find_running(files: &Files) -> Result<Option<Record>, DriverError> {
    match files.read()? {
        Some(record) if record.qemu.runs() => Ok(Some(record)),
        Some(record) => vm::clean(&record, files).map(|()| None),
        None => files.remove_leftovers().map(|()| None),
    }
}

pub(crate) fn create(path: &Path) -> Result<std::fs::File, DriverError> {
    std::fs::File::create(path).map_err(io_error("write", path.display()))
}

/// What QEMU said while it started: before it had read its options on standard error, then in its
/// log.
fn words_of(files: &Files) -> String {
    let both = [log_end(&files.start_log), log_end(&files.log)];
    both.iter().filter(|words| !words.is_empty()).cloned().collect::<Vec<_>>().join("; ")
}

/// The last lines of a log, without QEMU's own name and time stamps at their beginnings.
pub(crate) fn log_end(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let end = &text[text.len().saturating_sub(LOG_END)..];
    String::from_utf8_lossy(end).lines().map(without_prefix).collect::<Vec<_>>().join("; ")
}

/// `2026-01-01T00:00:00.000000Z qemu-system-x86_64: -x: why` -> `-x: why`.
fn without_prefix(line: &str) -> &str {
    line.split_once("qemu-system-")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(line, |(_, rest)| rest)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemus_words_travel_without_its_name() {
        let line = "2026-01-01T00:00:00.1Z qemu-system-x86_64: -blockdev x: Failed to get";
        assert_eq!(without_prefix(line), "-blockdev x: Failed to get");
        assert_eq!(without_prefix("plain words"), "plain words");
    }
}
