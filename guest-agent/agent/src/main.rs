//! `linkspan-agent`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "linkspan-agent: this is the first process of a Linkspan VM and does nothing elsewhere\n\
             hint: `linkspan machine start` boots it"
        );
        return ExitCode::FAILURE;
    }
    linkspan_agent::pid1::main();
    ExitCode::FAILURE
}
