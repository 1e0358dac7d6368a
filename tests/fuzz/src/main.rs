//! `linkspan-fuzz TARGET SECONDS`, or `linkspan-fuzz TARGET FILE` for one input again.

use std::{process::ExitCode, time::Duration};

use linkspan_fuzz::TARGETS;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, what] = args.as_slice() else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: linkspan-fuzz TARGET (SECONDS | FILE)\ntargets: {}", names.join(" "));
        return ExitCode::FAILURE;
    };
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        eprintln!("linkspan-fuzz: there is no target `{name}`");
        return ExitCode::FAILURE;
    };
    if let Ok(seconds) = what.parse() {
        let seed = rand::random();
        let inputs = linkspan_fuzz::run(target, Duration::from_secs(seconds), seed);
        println!("{name}: {inputs} inputs (seed {seed})");
        return ExitCode::SUCCESS;
    }
    match std::fs::read(what) {
        Ok(input) => {
            (target.run)(&input);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("linkspan-fuzz: cannot read `{what}`: {error}");
            ExitCode::FAILURE
        }
    }
}
