//! The desktop app in its window, driven as a user drives it, against a real daemon and VM.
//!
//! Needs `make image`, Xvfb and WebKitWebDriver. Pictures are left in `target/desktop-shots`.

mod app;
mod driver;
mod journey;
mod life;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};

use crate::app::Desk;

/// A test and its name.
type Test = (&'static str, fn(&Desk));

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // A driver and a window at a time: what is typed goes to the window in front.
    args.test_threads = Some(1);
    if args.list {
        return libtest_mimic::run(&args, Vec::new()).exit_code();
    }
    let desk = Arc::new(Desk::new());
    let mut trials = Vec::new();
    for (room, tests) in [("life", life::TESTS), ("journey", journey::TESTS)] {
        for &(name, test) in tests {
            let desk = Arc::clone(&desk);
            trials.push(Trial::test(format!("{room}::{name}"), move || {
                test(&desk);
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&args, trials);
    println!("desktop: {} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    conclusion.exit_code()
}
