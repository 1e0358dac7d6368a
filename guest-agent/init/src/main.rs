//! `linkspan-init`: the single-threaded process that becomes a container's process.
//!
//! The agent starts it with a socket as descriptor 3, for one purpose each time; see
//! [`linkspan_runtime::wire`] for what is said, `start` and `exec` for what is done. It carries
//! out a plan literally and decides nothing; whatever it opens is closed by execve(2); when a
//! step fails it says which, and ends.
//!
//! `linkspan-init oci` is the same runtime behind the OCI command line; see [`linkspan_oci`].
//!
//! It is in the way of every `run`, on machines without hardware virtualisation too. So: one
//! thread, few system calls, nothing read that is not needed.

mod bundle;
mod clocks;
mod copy_up;
mod cwd;
mod devices;
mod exec;
mod look;
mod mounts;
mod paths;
mod process;
mod program;
mod reaper;
mod report;
mod rootfs;
mod start;
mod terminal;
mod user;
mod userns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use linkspan_runtime::wire::{Channel, Failure, Order, SOCKET_FD, Step};
use linkspan_sys::process::take_inherited;

use report::Report;

/// Set by the panic hook: where and why.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "oci") {
        return linkspan_oci::main(words);
    }
    let Some(socket) = take_inherited(SOCKET_FD) else {
        eprintln!("linkspan-init is started by linkspan-agent, with a socket as descriptor 3");
        return ExitCode::FAILURE;
    };
    // Standard error is the container's by now: what goes wrong here is the agent's to know.
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut message) = PANIC.lock() {
            *message = info.to_string();
        }
    }));
    let mut report = Report::new(Channel::new(socket));
    let failure = match catch_unwind(AssertUnwindSafe(|| run(&mut report))) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(_) => {
            let detail = PANIC.lock().map_or_else(|_| String::new(), |message| message.clone());
            Failure { step: Step::Order, errno: 0, detail }
        }
    };
    report.failed(failure);
    ExitCode::FAILURE
}

/// Ok: this process was only the messenger of an exec, or the keeper of mounts.
fn run(report: &mut Report) -> Result<(), Failure> {
    match report.order()? {
        Order::Start { plan, .. } => start::run(report, &plan, None),
        Order::Create { plan, bundle } => start::run(report, &plan, Some(&bundle)),
        Order::Exec { process, .. } => exec::run(report, *process),
        Order::Look(look) => look::run(report, &look),
    }
}
