//! What a user does in the window, from the first start to a container that is removed.

use linkspan_test_e2e::Host;

use crate::{
    Test,
    app::{App, Desk, SOON},
    containers::{done, field},
    images::{build, write},
};

pub(crate) const TESTS: &[Test] =
    &[("from_the_first_start_to_a_removed_container", from_the_first_start_to_a_removed_container)];

/// One machine for all of it: booting takes longest.
fn from_the_first_start_to_a_removed_container(desk: &Desk) {
    let host = Host::new();
    let app = App::open(desk, &host, "journey");
    app.press("Start the daemon");
    app.see("There is no machine yet");
    app.press("Start");
    app.see("The machine is running");
    app.picture("running");

    app.go("Containers");
    app.press("Run…");
    app.write(&field("Image"), "busybox");
    app.write(&field("Name"), "web");
    app.write(
        &field("Command, as typed into a shell"),
        "sh -c 'echo hello from inside; exec sleep 1000'",
    );
    app.picture("run-dialog");
    app.press("Run");
    app.click("//a[@role='tab'][normalize-space()='Logs']");
    app.see("hello from inside");
    app.picture("logs");

    app.click("//a[@role='tab'][normalize-space()='Terminal']");
    let keys = "//textarea[contains(@class, 'xterm-helper-textarea')]";
    app.write(keys, "echo $((6 * 7))-and-more\n");
    app.until("the terminal answers", "return document.body.innerText.includes('42-and-more')");
    app.picture("terminal");

    app.go("Images");
    let folder = tempfile::tempdir().expect("a folder");
    let dockerfile = "FROM busybox\nCOPY word /\nCMD [\"sh\", \"-c\", \"cat /word; sleep 1000\"]\n";
    write(folder.path(), &[("Dockerfile", dockerfile), ("word", "hello from a build\n")]);
    build(&app, folder.path(), "mine");
    done(&app, "Build mine");
    app.press("Dismiss Build mine");
    app.press("Run mine:latest");
    app.write(&field("Name"), "built");
    app.press("Run");
    app.see("hello from a build");

    app.press("Kill");
    app.see("exited");
    app.go("Containers");
    app.click("//input[@aria-label='Choose all']");
    app.press("Remove…");
    app.press("Remove 2 with their anonymous volumes");
    app.see("No container yet");
    app.picture("removed");

    app.go("Why Linux?");
    app.press("Measure one run");
    app.see("The way of one run");
    // The container names the VM's kernel, the table says when it was measured, and all was.
    app.find("//main//td[contains(@class, 'same')]");
    let table = "//main//section[h2[normalize-space()='A VM against a container']]";
    app.find(&format!("{table}//p[starts-with(normalize-space(), 'Measured on this host, ')]"));
    app.find(&format!("{table}[not(contains(., 'not told'))]"));
    app.picture("why");

    // The tray is another way to the same.
    app.go("Machine");
    let tray = desk.session.tray();
    tray.shows("The machine runs", false, SOON);
    tray.choose("Stop the machine");
    app.see("The machine is stopped");
    tray.shows("Start the machine", true, SOON);
    drop(app);
    host.leaves_nothing();
}
