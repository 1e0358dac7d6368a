//! The machine and its daemon in the window.

use linkspan_test_e2e::wait_until;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Bench, Shared, app::SOON};

pub(crate) const TESTS: &[Shared] = &[
    ("settings_are_checked_here_and_by_the_daemon", settings),
    ("the_serial_log_says_what_the_vm_says", the_serial_log_says_what_the_vm_says),
    ("figures_come_while_it_runs", figures_come_while_it_runs),
    ("what_became_unhealthy_is_told_unless_that_is_switched_off", unhealthy_is_told),
    ("a_daemon_that_is_killed_comes_back_with_everything", a_killed_daemon_comes_back),
];

fn setting(label: &str) -> String {
    format!("//main//form//label[starts-with(normalize-space(), {label:?})]//input")
}

/// The page with its figures: they move what is below them when they come.
fn open(bench: &Bench) {
    bench.app.anew("machine");
    bench.app.until(
        "each chart has its figures",
        "const figures = document.querySelectorAll('section[aria-label=Figures] figure strong');
         return figures.length === 4 && [...figures].every(({ textContent }) => /\\d/.test(textContent))",
    );
}

fn settings(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    open(bench);
    app.replace(&setting("Memory (MiB)"), "100");
    app.see("at least 256 MiB");
    app.find("//main//form//button[normalize-space()='Save'][@disabled]");
    app.press("Undo");
    app.see_no("at least 256 MiB");
    // What only the daemon knows: how many this host has.
    app.replace(&setting("Processors"), "4000");
    app.press("Save");
    app.find("//main//*[@role='alert'][contains(., '4000')]");
    app.picture("settings-refused");
    app.replace(&setting("Processors"), "1");
    app.press("Save");
    app.see("They count from the next start");
    app.picture("settings");
    let told = host.run(&["machine", "inspect"]).ok().text();
    assert!(told.contains("settings     1 CPU,"), "{told}");
    let _ = host.run(&["machine", "set", "--cpus", "2"]).ok();
    app.see_no("They count from the next start");
}

fn the_serial_log_says_what_the_vm_says(bench: &Bench) {
    let Bench { app, .. } = bench;
    open(bench);
    app.press("▸ Serial log");
    app.find("//main//pre[@aria-label='Serial log'][contains(., 'linkspan-agent: info: ready')]");
    app.picture("serial-log");
}

fn figures_come_while_it_runs(bench: &Bench) {
    let Bench { app, .. } = bench;
    open(bench);
    app.picture("figures");
}

fn unhealthy_is_told(bench: &Bench) {
    let Bench { app, host, desk } = bench;
    let notify = |wanted: bool| {
        open(bench);
        app.click("//main//label[contains(normalize-space(), 'Tell me when')]//input");
        let kept = || {
            let kept = std::fs::read_to_string(host.home().join("desktop.json"));
            kept.unwrap_or_default().replace(' ', "").contains(&format!("\"notify\":{wanted}"))
        };
        assert!(wait_until(SOON, kept), "{wanted}");
    };
    let ill = |name: &str| {
        let health = ["--health-cmd", "false", "--health-interval", "1s", "--health-retries", "1"];
        bench.sleeper(name, &health);
        let unhealthy = || {
            let told = host.run(&["inspect", name]).ok().json()[0]["State"]["Health"].clone();
            told["Status"] == "unhealthy"
        };
        assert!(wait_until(SOON, unhealthy), "{name}");
    };
    let _ = desk.session.told();
    ill("ill");
    let body = desk.session.hear("The container `ill` is unhealthy", SOON);
    assert!(body.contains("busybox"), "{body}");
    notify(false);
    ill("quiet");
    notify(true);
    ill("heard");
    let _ = desk.session.hear("`heard`", SOON);
    let told = desk.session.told();
    assert!(!told.iter().any(|(title, _)| title.contains("`quiet`")), "{told:?}");
    for name in ["ill", "quiet", "heard"] {
        bench.remove(name);
    }
}

fn a_killed_daemon_comes_back(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    bench.sleeper("survivor", &[]);
    app.anew("containers");
    app.see("survivor");
    kill(Pid::from_raw(host.daemon_pid()), Signal::SIGKILL).expect("it is ours");
    app.see("The daemon is not running");
    app.find("//main//table[contains(@class, 'stale')]//a[normalize-space()='survivor']");
    app.picture("daemon-lost");
    app.press("Start the daemon");
    app.see_no("The daemon is not running");
    app.find("//main//table[not(contains(@class, 'stale'))]//a[normalize-space()='survivor']");
    app.click("//main//a[normalize-space()='survivor']");
    app.see("ready");
    bench.remove("survivor");
}
