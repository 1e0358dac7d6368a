//! What a user does in the window, from the first start to a container that is removed.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use linkspan_test_e2e::Host;

use crate::{
    Test,
    app::{App, Desk, SOON},
    containers::{done, field, opened},
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
    let dockerfile = "FROM busybox\nCOPY index.html /site/\nEXPOSE 80\n\
                      CMD [\"httpd\", \"-f\", \"-vv\", \"-h\", \"/site\"]\n";
    let page = "hello from a build\n";
    write(folder.path(), &[("Dockerfile", dockerfile), ("index.html", page)]);
    build(&app, folder.path(), "mine");
    done(&app, "Build mine");
    app.click("//a[@aria-label='Open what came of Build mine']");
    app.find("//main//h1[normalize-space()='mine:latest']");
    app.press("Dismiss Build mine");
    app.picture("built");
    app.press("Run…");
    app.write(&field("Name"), "built");
    app.press("Add a port");
    app.write(&field("The container's"), "80");
    app.press("Run");

    // The page that the link leads to is the one that was built, and the log tells of the visit.
    app.click("//main//header//a[contains(normalize-space(), '→80')]");
    assert_eq!(get(&opened(&host)), page);
    app.see("response:200");
    app.picture("built-and-visited");

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

/// What a browser would show of this address.
fn get(url: &str) -> String {
    let place = url.trim_start_matches("http://").trim_end_matches('/');
    let mut server = TcpStream::connect(place).unwrap_or_else(|error| panic!("{url}: {error}"));
    server.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    server.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}
