//! Runs the suite against a runtime: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(runtime) = args.next() else {
        eprintln!("usage: linkspan-test-oci RUNTIME [FILTER]");
        return ExitCode::from(2);
    };
    let passed = linkspan_test_oci::run(&runtime, &args.next().unwrap_or_default());
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
