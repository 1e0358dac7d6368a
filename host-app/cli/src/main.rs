//! `linkspan`: arguments, a call to the daemon, rendering. One file a verb under `commands/`.
//!
//! This file owns the program's beginning and end: the runtime, the exit code, and the one place
//! where an error is printed.

// Standard error may be gone: `say!` does not mind.
#![deny(clippy::print_stderr)]

#[macro_use]
mod say;

mod args;
mod cli;
mod commands;
mod context;
mod error;
mod progress;
mod render;
mod template;
mod terminal;
mod transfer;

use std::io::Write as _;

use clap::error::ErrorKind;

use crate::error::{Error, Outcome};

/// Docker's exit code for a command line that it does not understand.
const USAGE: u8 = 125;

fn main() -> ! {
    let code = start();
    let _ = std::io::stdout().flush();
    // Not by returning: a thread may still wait for a key, and nobody is to wait for it.
    std::process::exit(code.into());
}

fn start() -> u8 {
    let matches = match cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(error),
    };
    log_to_stderr();
    let by_kind = cli::runs_a_program(&matches);
    let outcome = cli::Cli::from_matches(&matches).and_then(run);
    match outcome {
        Ok(code) => code,
        Err(error) => error.report(&mut std::io::stderr(), by_kind),
    }
}

fn run(cli: cli::Cli) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::invalid(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(cli.run());
    // Not dropped: that would wait for a blocked read of standard input.
    runtime.shutdown_background();
    outcome
}

/// Help and version go to standard output and are a success, as Docker's are.
fn usage(mut error: clap::Error) -> u8 {
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if asked {
        let text = error.render();
        // Help that nobody reads to its end is no failure.
        let _ = write!(std::io::stdout(), "{text}");
        return 0;
    }
    if error.kind() == ErrorKind::UnknownArgument {
        // "to pass it as a value, use -- before it": what is behind `--` is an image or a container.
        error.remove(clap::error::ContextKind::Suggested);
    }
    // As every other error of ours begins.
    let text = error.render().to_string();
    say!("linkspan: {}", text.strip_prefix("error: ").unwrap_or(&text).trim_end());
    USAGE
}

/// Off unless LINKSPAN_LOG asks for it (`debug`, `linkspan_client=trace`, ...).
fn log_to_stderr() {
    let Ok(filter) = std::env::var("LINKSPAN_LOG") else {
        return;
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
}
