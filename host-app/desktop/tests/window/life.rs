//! The app's own life: the daemon that is absent, the second app, what is kept.

use std::{fs, process::Stdio};

use linkspan_test_e2e::{Host, wait_until};

use crate::{
    Test,
    app::{App, Desk, SOON},
    other::Other,
};

pub(crate) const TESTS: &[Test] = &[
    ("offers_to_start_the_daemon_and_starts_it", offers_to_start_the_daemon_and_starts_it),
    ("a_second_app_ends_at_once", a_second_app_ends_at_once),
    ("the_daemon_outlives_the_window", the_daemon_outlives_the_window),
    ("a_daemon_of_another_version_is_named_and_replaced", another_version),
    ("a_failed_start_says_why_and_what_to_do", a_failed_start_says_why),
];

fn daemon_runs(host: &Host) -> bool {
    host.processes().iter().any(|(_, command)| linkspan_test_e2e::is_daemon(command))
}

fn offers_to_start_the_daemon_and_starts_it(desk: &Desk) {
    let host = Host::new();
    let app = App::open(desk, &host, "absent");
    app.see("The daemon is not running");
    app.picture("absent");
    println!("first paint: {} ms after the program's start", first_paint(&app, &host));
    assert!(!daemon_runs(&host), "the window alone starts no daemon");
    app.press("Start the daemon");
    app.see("There is no machine yet");
    app.picture("no-machine");
    assert!(daemon_runs(&host));
}

fn a_second_app_ends_at_once(desk: &Desk) {
    let host = Host::new();
    let app = App::open(desk, &host, "second");
    app.see("The daemon is not running");
    let second = desk
        .command(desk.program("linkspan-desktop"), &host)
        .stderr(Stdio::piped())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.success(), "{said}");
    app.see("The daemon is not running");
}

fn the_daemon_outlives_the_window(desk: &Desk) {
    let host = Host::new();
    let app = App::open(desk, &host, "outlives");
    app.press("Start the daemon");
    app.see("There is no machine yet");
    let daemon = host.daemon_pid();
    drop(app);
    let gone = wait_until(SOON, || {
        !host.processes().iter().any(|(_, command)| command.contains("linkspan-desktop"))
    });
    assert!(gone, "{:#?}", host.processes());
    assert_eq!(host.daemon_pid(), daemon);
}

fn another_version(desk: &Desk) {
    let host = Host::new();
    let mut other = Other::serve(host.home());
    let app = App::open(desk, &host, "other");
    app.see("9.9.9");
    app.picture("other-version");
    app.press("Restart it as this version");
    app.see("There is no machine yet");
    assert!(daemon_runs(&host));
    other.has_ended();
}

fn a_failed_start_says_why(desk: &Desk) {
    let host = Host::new().with_env("LINKSPAN_VM_IMAGE", "/nonexistent/vm-image");
    let app = App::open(desk, &host, "failed");
    app.press("Start the daemon");
    app.see("There is no machine yet");
    app.press("Start");
    app.find("//main//*[@role='alert'][contains(., '/nonexistent/vm-image')]");
    app.see("The machine did not start");
    app.picture("failed-start");
}

/// Milliseconds from the start of the app's process to the first content on the screen.
fn first_paint(app: &App, host: &Host) -> i64 {
    let painted = app.run(
        "const first = performance.getEntriesByType('paint')[0];
         return performance.timeOrigin + (first ? first.startTime : 0);",
    );
    let processes = host.processes();
    let (pid, _) = processes
        .iter()
        .find(|(_, command)| command.contains("linkspan-desktop"))
        .expect("the app runs");
    // proc_pid_stat(5): field 22, in ticks of 10 ms since the boot; proc_stat(5): `btime`, seconds.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the app runs");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    let ticks: i64 =
        after_name.split_whitespace().nth(19).expect("22 fields").parse().expect("a number");
    let up = fs::read_to_string("/proc/uptime").expect("procfs");
    let up: f64 = up.split_whitespace().next().expect("a number").parse().expect("a number");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
    let milliseconds = |value: f64| value as i64;
    let began = now.as_secs_f64() * 1000.0 - (up * 1000.0 - ticks as f64 * 10.0);
    milliseconds(painted.as_f64().expect("a number") - began)
}
