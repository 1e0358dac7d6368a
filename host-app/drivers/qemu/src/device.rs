//! The devices of a VM that are processes of their own: started before QEMU, which connects to
//! them, and ending with it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use linkspan_machine::{driver::DriverError, share::SharedFolder};
use tokio::process::{Child, Command};

use crate::{
    io_error,
    process::Process,
    programs::DeviceProgram,
    record::Files,
    start::{create, log_end},
};

/// A device only binds its sockets.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks for a file that a process is about to make.
const LOOK: Duration = Duration::from_millis(2);

/// One device to start.
struct Device<'a> {
    program: &'a DeviceProgram,
    /// Besides those of the program.
    arguments: Vec<OsString>,
    /// It is up when these are there.
    sockets: &'a [&'a Path],
    log: &'a Path,
    /// What the user can do when it does not start.
    hint: String,
}

/// The VM's vsock.
pub(crate) async fn vsock(program: &DeviceProgram, files: &Files) -> Result<Process, DriverError> {
    let mut arguments: Vec<OsString> = ["--guest-cid", "3", "--socket"].map(Into::into).into();
    arguments.extend([files.vhost_socket.clone().into(), "--uds".into()]);
    arguments.push(files.guest_socket.clone().into());
    start(Device {
        program,
        arguments,
        // It binds the guest's socket first and the other when it can serve QEMU.
        sockets: &[&files.vhost_socket, &files.guest_socket],
        log: &files.vhost_log,
        hint: format!("see `{}`", files.vhost_log.display()),
    })
    .await
}

/// The shared folder of this number.
pub(crate) async fn folder(
    program: &DeviceProgram,
    share: &SharedFolder,
    number: usize,
    files: &Files,
) -> Result<Process, DriverError> {
    let socket: PathBuf = files.folder_socket(number);
    let changes = files.folder_changes(number);
    let mut arguments: Vec<OsString> = vec!["--socket".into(), socket.clone().into()];
    arguments.extend(["--changes".into(), changes.clone().into()]);
    arguments.extend(["--share".into(), share.path.clone().into()]);
    if share.read_only {
        arguments.push("--read-only".into());
    }
    let hint = format!(
        "make the folder readable, or take it away: `linkspan machine set --unshare {}`",
        share.path.display()
    );
    let log = files.folder_log(number);
    start(Device { program, arguments, sockets: &[&socket, &changes], log: &log, hint }).await
}

async fn start(device: Device<'_>) -> Result<Process, DriverError> {
    let program = &device.program.program;
    let log = create(device.log)?;
    let copy = log.try_clone().map_err(io_error("write", device.log.display()))?;
    let mut child = Command::new(program)
        .args(&device.program.arguments)
        .args(&device.arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        // Not our terminal's group: an interrupt there is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(io_error("run", program.display()))?;
    let up = wait(&mut child, &device).await;
    let process = child.id().and_then(Process::find);
    match (up, process) {
        (Ok(()), Some(process)) => {
            // It ends when QEMU does; somebody must then take its exit status.
            tokio::spawn(async move { child.wait().await });
            Ok(process)
        }
        (up, _) => {
            let _ = child.kill().await;
            Err(up.err().unwrap_or_else(|| failed(&device)))
        }
    }
}

async fn wait(child: &mut Child, device: &Device<'_>) -> Result<(), DriverError> {
    let program = device.program.program.display();
    let limit = Instant::now() + LIMIT;
    while !device.sockets.iter().all(|socket| socket.exists()) {
        if child.try_wait().map_err(io_error("wait for", &program))?.is_some() {
            return Err(failed(device));
        }
        if Instant::now() > limit {
            return Err(DriverError::TimedOut {
                what: format!("the start of `{program}`"),
                seconds: LIMIT.as_secs(),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn failed(device: &Device<'_>) -> DriverError {
    let words: Vec<_> =
        device.program.arguments.iter().map(|word| word.to_string_lossy()).collect();
    DriverError::Start {
        program: format!("{} {}", device.program.program.display(), words.join(" ")),
        why: log_end(device.log),
        hint: device.hint.clone(),
    }
}
