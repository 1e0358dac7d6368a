//! The desktop app in its window, driven as a user drives it, against a real daemon and VM.
//!
//! Needs `make image`, Xvfb and WebKitWebDriver. Pictures are left in `target/desktop-shots`.

mod app;
mod containers;
mod driver;
mod images;
mod journey;
mod life;
mod machine;
mod other;
mod screen;
mod session;
mod things;
mod tray;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use linkspan_test_e2e::Host;
use parking_lot::Mutex;

use crate::app::{App, Desk};

/// A test with an app and a home of its own, and its name.
type Test = (&'static str, fn(&Desk));
/// A test of the machine that runs for all of these, in the window that is open for all of them.
type Shared = (&'static str, fn(&Bench));

/// A machine that runs, and the window that shows it: booting takes longest.
struct Bench {
    app: App,
    host: Host,
    desk: Arc<Desk>,
}

impl Bench {
    fn new(desk: &Arc<Desk>) -> Self {
        let host = Host::new();
        let settings = ["machine", "init", "--cpus", "2", "--memory", "768", "--disk", "4"];
        let _ = host.run(&settings).ok();
        let _ = host.run(&["machine", "start"]).ok();
        let app = App::open(desk, &host, "bench");
        app.see("The machine is running");
        Self { app, host, desk: Arc::clone(desk) }
    }

    /// A container that sleeps, and ends at once when it is asked to.
    fn sleeper(&self, name: &str, more: &[&str]) {
        let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 1 & wait $!; done";
        let args = [&["run", "-d", "--name", name], more, &["busybox", "sh", "-c", script]];
        let _ = self.host.run(&args.concat()).ok();
    }

    fn remove(&self, name: &str) {
        let _ = self.host.run(&["rm", "-f", "-v", name]).ok();
    }
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // A driver and a window at a time: what is typed goes to the window in front.
    args.test_threads = Some(1);
    if args.list {
        return libtest_mimic::run(&args, Vec::new()).exit_code();
    }
    let desk = Arc::new(Desk::new());
    let bench: Arc<Mutex<Option<Bench>>> = Arc::default();
    let mut trials = Vec::new();
    for (room, tests) in [("life", life::TESTS), ("tray", tray::TESTS), ("journey", journey::TESTS)]
    {
        for &(name, test) in tests {
            let desk = Arc::clone(&desk);
            trials.push(Trial::test(format!("{room}::{name}"), move || {
                test(&desk);
                Ok(())
            }));
        }
    }
    for (room, tests) in [
        ("containers", containers::TESTS),
        ("images", images::TESTS),
        ("things", things::TESTS),
        // Last: here the daemon is killed.
        ("machine", machine::TESTS),
    ] {
        for &(name, test) in tests {
            let (desk, bench) = (Arc::clone(&desk), Arc::clone(&bench));
            trials.push(Trial::test(format!("{room}::{name}"), move || {
                let mut bench = bench.lock();
                let bench = bench.get_or_insert_with(|| Bench::new(&desk));
                test(bench);
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&args, trials);
    if let Some(Bench { app, host, .. }) = bench.lock().take() {
        drop(app);
        host.leaves_nothing();
    }
    println!("desktop: {} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    conclusion.exit_code()
}
