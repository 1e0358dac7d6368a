//! The OCI command line: `linkspan-init oci create|start|state|kill|delete|run|list|spec|features`,
//! in the convention of runc and crun, for bundles of a config.json and a root file system.
//!
//! It owns reading config.json ([`config`]) into the plan of `linkspan-runtime`, and what is
//! kept of a container between two commands ([`state`]). It makes no namespace, mount or process
//! itself: that is the runtime's, the same that Linkspan's own containers have.
//!
//! It is a mode of `linkspan-init` and not of `linkspan-agent`: the program that becomes the
//! container is then already at hand and open, and an execve(2) of the agent takes half as long
//! again. The price is its size: with `oci-spec` (and the `regex` that it brings) it grows from 1.5
//! to 4.2 MB, in pages that an order of the agent's never touches; its own execve takes 0.04 ms
//! longer (0.50 to 0.54, natively).
//!
//! ```text
//! create   folder ROOT/ID, cgroup, process: namespaces, mounts, hooks; it waits on start.sock
//! start    connects: startContainer hooks, execve; poststart hooks
//! delete   cgroup and folder are removed; poststop hooks
//! ```

mod args;
mod config;
mod create;
mod destroy;
mod error;
mod features;
mod life;
mod log;
mod state;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Command, Global};
use error::Error;
use log::Log;
use state::Store;

/// Carries out the arguments behind `linkspan-init oci`.
///
/// Ends with 1 and a message when that fails, and `run` with the code of the program.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (global, command) = match args::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => {
            Log::new(&Global::default()).error(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let log = Log::new(&global);
    match carry_out(&global, command, &log) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            log.error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn carry_out(global: &Global, command: Command, log: &Log) -> Result<i32, Error> {
    let store = Store::new(&global.root);
    match command {
        Command::Help => life::print(args::HELP.trim_end())?,
        Command::Version => life::print(&features::version())?,
        Command::Create(args) => drop(create::create(&store, &args, log)?),
        Command::Run { create, detach } => return life::run(&store, &create, detach, log),
        Command::Start { id } => life::start(&store, &id, log)?,
        Command::State { id } => life::state(&store, &id)?,
        Command::Kill { id, signal, all } => life::kill(&store, &id, &signal, all)?,
        Command::Delete { id, force } => destroy::delete(&store, &id, force, log)?,
        Command::List { quiet, json } => life::list(&store, quiet, json)?,
        Command::Spec { bundle } => features::write_spec(&bundle)?,
        Command::Features => life::print(&features::features())?,
    }
    Ok(0)
}
