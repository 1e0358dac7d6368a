//! The real program against a fake daemon whose guest has a fake registry.

mod common;

use std::process::Output;

use common::Daemon;

const DIGEST: &str = "sha256:fa4e000000000000000000000000000000000000000000000000000000000000";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(daemon: &Daemon, args: &[&str]) -> Output {
    daemon.linkspan(args).output().expect("the program starts")
}

#[test]
fn a_pull_tells_each_status_of_each_layer_and_ends_with_the_full_name() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["pull", "someone/app"]);
    let layer = |id: &str| {
        format!("{id}: Pulling fs layer\n{id}: Download complete\n{id}: Pull complete\n")
    };
    let whole = format!(
        "Using default tag: latest\n{}{}Digest: {DIGEST}\nStatus: Downloaded newer image for \
         someone/app:latest\ndocker.io/someone/app:latest\n",
        layer("aaaaaaaaaaaa"),
        layer("bbbbbbbbbbbb")
    );
    assert_eq!((text(&output.stdout), text(&output.stderr)), (whole, String::new()));
    let again = text(&run(&daemon, &["pull", "someone/app"]).stdout);
    assert!(again.contains("Status: Image is up to date for someone/app:latest\n"), "{again}");
    let quiet = run(&daemon, &["pull", "-q", "host:5000/app:2"]);
    assert_eq!(text(&quiet.stdout), "host:5000/app:2\n");
}

#[test]
fn a_pull_of_what_is_not_there_fails_with_the_registrys_words() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["pull", "absent:1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert_eq!(said, "linkspan: manifest for absent:1 not found: manifest unknown\n");
    let output = run(&daemon, &["pull", "-a", "busybox:1"]);
    assert_eq!(text(&output.stderr), "linkspan: tag can't be used with --all-tags/-a\n");
}

#[test]
fn run_pulls_an_image_that_is_not_there_and_says_so_beside_the_output() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["run", "missing", "both"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "to stdout\n".into()));
    let said = text(&output.stderr);
    assert!(said.starts_with("Unable to find image 'missing:latest' locally\n"), "{said}");
    assert!(said.contains("\nStatus: Downloaded newer image for missing:latest\n"), "{said}");
    // It is there now: nothing more is pulled, unless that is asked for.
    assert_eq!(text(&run(&daemon, &["run", "missing", "both"]).stderr), "to stderr\n");
    let always = text(&run(&daemon, &["run", "--pull=always", "missing", "both"]).stderr);
    assert!(always.contains("Status: Image is up to date for missing:latest"), "{always}");
    assert_eq!(daemon.fake.guest.registry_requests().calls.len(), 2);
}

#[test]
fn a_quiet_run_says_nothing_of_its_pull() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["run", "-q", "missing", "both"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), "to stderr\n".into()));
    assert_eq!(daemon.fake.guest.registry_requests().calls.len(), 1);
}
