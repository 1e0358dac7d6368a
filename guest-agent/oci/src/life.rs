//! `start`, `run`, `kill`, `state` and `list`.

use std::io::Write as _;

use linkspan_runtime::launch::begin;
use linkspan_runtime::wire::Step;
use linkspan_sys::Errno;
use linkspan_sys::process::{kill as send, pidfd_open, pidfd_send_signal, wait_pidfd};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use oci_spec::runtime::ContainerState as Status;

use crate::args::Create;
use crate::create::{cgroup_mount, create};
use crate::destroy::{delete, destroy, run_poststop};
use crate::error::Error;
use crate::log::Log;
use crate::state::{Container, Store, word};

/// Starts a created container.
pub(crate) fn start(store: &Store, id: &str, log: &Log) -> Result<(), Error> {
    let container = store.find(id)?;
    let status = container.status();
    if status != Status::Created {
        let (id, status) = (id.to_owned(), word(status));
        return Err(Error::WrongStatus { action: "start", id, status });
    }
    let socket = container.folder.connect()?;
    if let Err(error) = begin(socket.into()) {
        if error.step() == Step::Hooks {
            // A failed startContainer hook is the end of the container (runtime.md, "Lifecycle").
            destroy(&container.record, &container.folder)?;
            run_poststop(&container.record, log);
        }
        return Err(error.into());
    }
    if container.record.poststart.is_empty() {
        return Ok(());
    }
    let state = container.record.state_json(Status::Running)?;
    for hook in &container.record.poststart {
        if let Err(error) = hook.run(&state) {
            log.warning(&error.to_string());
        }
    }
    Ok(())
}

/// Creates, starts and, unless `detach`, waits and deletes. The exit code of the program.
pub(crate) fn run(store: &Store, args: &Create, detach: bool, log: &Log) -> Result<i32, Error> {
    let started = create(store, args, log)?;
    if let Err(error) = start(store, &args.id, log) {
        delete(store, &args.id, true, log)?;
        return Err(error);
    }
    if detach {
        return Ok(0);
    }
    let code = wait_pidfd(&started.pidfd).map_err(Error::kernel("wait for the process"))?;
    delete(store, &args.id, true, log)?;
    Ok(code)
}

/// Sends a signal to the process, or to all of the container's.
pub(crate) fn kill(store: &Store, id: &str, signal: &str, all: bool) -> Result<(), Error> {
    let number = signal_number(signal).ok_or_else(|| Error::BadSignal(signal.to_owned()))?;
    let container = store.find(id)?;
    if all {
        return kill_all(&container, number);
    }
    let pidfd = pidfd_open(Pid::from_raw(container.record.pid));
    // After the pidfd was opened: it is the container's process if this says that it lives.
    let status = container.status();
    let sent = match (pidfd, status) {
        (Ok(pidfd), Status::Created | Status::Running) => pidfd_send_signal(&pidfd, number),
        _ => Err(Errno::ESRCH),
    };
    match sent {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => {
            let (id, status) = (id.to_owned(), word(Status::Stopped));
            Err(Error::WrongStatus { action: "signal", id, status })
        }
        Err(errno) => Err(Error::Kernel { action: "send the signal", errno }),
    }
}

fn kill_all(container: &Container, number: i32) -> Result<(), Error> {
    let hierarchy = linkspan_runtime::cgroup::Hierarchy::new(cgroup_mount()?);
    let cgroup = hierarchy.open(&container.record.cgroup);
    if !cgroup.path().exists() {
        let (id, status) = (container.record.id.clone(), word(Status::Stopped));
        return Err(Error::WrongStatus { action: "signal", id, status });
    }
    if number == nix::libc::SIGKILL {
        return Ok(cgroup.kill()?);
    }
    for pid in cgroup.processes()? {
        match send(Pid::from_raw(pid.cast_signed()), number) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::Kernel { action: "send the signal", errno }),
        }
    }
    Ok(())
}

/// A number, `KILL`, `SIGKILL` or `RTMIN+1`, in any case.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        // Linux has 64.
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |from: i32, distance: &str, sign: i32| {
        let distance: i32 =
            if distance.is_empty() { 0 } else { distance.get(1..)?.parse().ok()? };
        let number = from + sign * distance;
        (34..=64).contains(&number).then_some(number)
    };
    if let Some(rest) = short.strip_prefix("RTMIN").filter(|rest| !rest.starts_with('-')) {
        return real_time(34, rest, 1);
    }
    if let Some(rest) = short.strip_prefix("RTMAX").filter(|rest| !rest.starts_with('+')) {
        return real_time(64, rest, -1);
    }
    format!("SIG{short}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// Prints the state.
pub(crate) fn state(store: &Store, id: &str) -> Result<(), Error> {
    let container = store.find(id)?;
    let state = container.record.state(container.status())?;
    print(
        &serde_json::to_string_pretty(&state)
            .map_err(|source| Error::Damaged { path: container.record.bundle, source })?,
    )
}

/// Prints all containers.
pub(crate) fn list(store: &Store, quiet: bool, json: bool) -> Result<(), Error> {
    let mut states = Vec::new();
    for id in store.ids()? {
        match store.find(&id) {
            Ok(container) => states.push(container.record.state(container.status())?),
            // Deleted meanwhile.
            Err(Error::NoContainer(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if json {
        let damaged = |source| Error::Damaged { path: "the list".into(), source };
        return print(&serde_json::to_string(&states).map_err(damaged)?);
    }
    let mut text = String::new();
    if !quiet {
        text.push_str(&format!("{:<32} {:>7}  {:<8} BUNDLE", "ID", "PID", "STATUS"));
    }
    for state in &states {
        if !text.is_empty() {
            text.push('\n');
        }
        if quiet {
            text.push_str(state.id());
        } else {
            let (pid, bundle) = (state.pid().unwrap_or(0), state.bundle().display());
            let status = word(*state.status());
            text.push_str(&format!("{:<32} {pid:>7}  {status:<8} {bundle}", state.id()));
        }
    }
    if text.is_empty() { Ok(()) } else { print(&text) }
}

/// Prints a line.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").map_err(Error::file("write to", "standard output"))
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_are_read_as_kill_reads_them() {
        for (text, number) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("SIGTERM", Some(15)),
            ("sigusr1", Some(10)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN+40", None),
            ("RTMIN-1", None),
            ("0", None),
            ("65", None),
            ("SIGNOTHING", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
    }
}
