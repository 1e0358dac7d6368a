//! The icon in the tray, what its menu does, and what the user is told with the window closed.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use linkspan_test_e2e::{Host, wait_until};

use crate::{
    Test,
    app::{Desk, SOON},
    screen::Screen,
};

pub(crate) const TESTS: &[Test] = &[
    ("the_app_stays_without_its_window", the_app_stays_without_its_window),
    ("a_start_that_fails_is_told_with_the_window_closed", a_failed_start_is_told),
];

const TITLE: &str = "Linkspan";

/// The app as the user starts it: nobody drives its window.
struct Started(Child);

impl Started {
    fn new(desk: &Desk, host: &Host) -> Self {
        desk.session.forget_trays();
        let mut command = desk.command(desk.program("linkspan-desktop"), host);
        Self(command.stderr(Stdio::inherit()).spawn().expect("it starts"))
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().expect("a child of ours").is_some_and(|status| status.success())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn the_app_stays_without_its_window(desk: &Desk) {
    let host = Host::new();
    let screen = Screen::open(&desk.display);
    let mut app = Started::new(desk, &host);
    assert!(wait_until(SOON, || screen.shows(TITLE)), "the window opens");
    let tray = desk.session.tray();
    tray.shows("The daemon does not run", false, SOON);
    tray.shows("Start the machine", true, SOON);

    screen.close(TITLE);
    assert!(wait_until(SOON, || !screen.shows(TITLE)), "the window closes");
    assert!(!app.ended());
    // Somebody starts a daemon: the tray notices it by itself.
    let absent = tray.icon();
    let _ = host.run(&["machine", "init"]).ok();
    let _ = host.run(&["machine", "list"]).ok();
    tray.shows("The machine is stopped", false, SOON);
    assert!(!absent.is_empty());
    let daemon = host.daemon_pid();

    tray.choose("Open Linkspan");
    assert!(wait_until(SOON, || screen.shows(TITLE)), "the window opens again");
    tray.choose("Quit (the machine goes on)");
    assert!(wait_until(SOON, || app.ended()), "the app ends");
    assert_eq!(host.daemon_pid(), daemon, "the daemon does not");
}

fn a_failed_start_is_told(desk: &Desk) {
    let host = Host::new().with_env("LINKSPAN_VM_IMAGE", "/nonexistent/vm-image");
    let _ = host.run(&["machine", "list"]).ok();
    let screen = Screen::open(&desk.display);
    let _app = Started::new(desk, &host);
    assert!(wait_until(SOON, || screen.shows(TITLE)), "the window opens");
    let tray = desk.session.tray();
    tray.shows("The machine is stopped", false, SOON);
    screen.close(TITLE);
    let (stopped, _) = (tray.icon(), desk.session.told());
    tray.choose("Start the machine");
    let why = desk.session.hear("The machine `default` has failed", SOON);
    assert!(why.contains("/nonexistent/vm-image"), "{why}");
    tray.shows("The machine has failed", false, SOON);
    // The picture is another file with each look.
    assert!(wait_until(Duration::from_secs(10), || tray.icon() != stopped), "{stopped}");
}
