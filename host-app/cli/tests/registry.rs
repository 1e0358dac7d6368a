//! The real program against a fake daemon whose guest has a fake registry.

mod common;

use std::io::Write as _;
use std::process::{Output, Stdio};

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

fn config(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.docker_config().join("config.json")).unwrap_or_default()
}

/// The program, with something on its standard input.
fn run_with(daemon: &Daemon, args: &[&str], input: &str) -> Output {
    let mut child =
        daemon.linkspan(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it is read");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_login_is_kept_used_and_forgotten() {
    let daemon = Daemon::start();
    let login = ["login", "-u", "user", "--password-stdin", "host:5000"];
    let output = run_with(&daemon, &login, "secret\r\n");
    assert_eq!(text(&output.stdout), "Login Succeeded\n", "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("WARNING! Your credentials are stored unencrypted in '"), "{said}");
    // user:secret
    assert!(config(&daemon).contains("\"auth\": \"dXNlcjpzZWNyZXQ=\""), "{}", config(&daemon));
    for (verb, image) in [("pull", "host:5000/private"), ("push", "host:5000/private:1")] {
        let output = run(&daemon, &[verb, "-q", image]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    let again = run(&daemon, &["login", "host:5000"]);
    let expected = "Authenticating with existing credentials...\nLogin Succeeded\n";
    assert_eq!(text(&again.stdout), expected);
    let output = run(&daemon, &["logout", "host:5000"]);
    assert_eq!(text(&output.stdout), "Removing login credentials for host:5000\n");
    assert!(!config(&daemon).contains("host:5000"), "{}", config(&daemon));
    let output = run(&daemon, &["pull", "host:5000/private"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert_eq!(said, "linkspan: unauthorized: incorrect username or password\n");
}

#[test]
fn a_wrong_password_is_not_kept_and_a_token_is_kept_instead_of_a_right_one() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["login", "-u", "user", "-p", "wrong"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("WARNING! Using --password via the CLI is insecure."));
    assert_eq!(config(&daemon), "");
    let output = run(&daemon, &["login", "-u", "user", "-p", "secret", "token.example"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let kept = config(&daemon);
    assert!(kept.contains("\"identitytoken\": \"identity\""), "{kept}");
    // user:secret
    assert!(!kept.contains("dXNlcjpzZWNyZXQ"), "{kept}");
    assert!(!text(&output.stderr).contains("unencrypted"), "{}", text(&output.stderr));
}

#[test]
fn a_login_that_cannot_ask_says_so() {
    let daemon = Daemon::start();
    for (args, words) in [
        (&["login"][..], "cannot perform an interactive login from a non TTY device"),
        (&["login", "--password-stdin"], "must provide --username with --password-stdin"),
        (&["login", "-u", "a", "-p", "b", "--password-stdin"], "mutually exclusive"),
    ] {
        let output = run(&daemon, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_push_names_its_repository_and_ends_with_the_digest() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["push", "host:5000/app:2"]);
    let expected = format!(
        "The push refers to repository [host:5000/app:2]\naaaaaaaaaaaa: Preparing\n\
         aaaaaaaaaaaa: Pushed\n2: digest: {DIGEST} size: 528\n"
    );
    assert_eq!((text(&output.stdout), text(&output.stderr)), (expected, String::new()));
    let found = text(&run(&daemon, &["search", "box"]).stdout);
    assert!(found.contains("box       It is found.   7         [OK]\n"), "{found}");
}

#[test]
fn settings_are_shown_and_changed() {
    let daemon = Daemon::start();
    let shown = text(&run(&daemon, &["registry", "show"]).stdout);
    assert!(shown.starts_with("Mirrors      https://mirror.example (authoritative)\n"), "{shown}");
    let set = ["registry", "set", "--mirror", "http://m:5000,authoritative", "--http-proxy="];
    let output = run(&daemon, &set);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = daemon.calls().join("\n");
    assert!(told.contains(r#"url: "http://m:5000", authoritative: true"#), "{told}");
    assert!(told.contains(r#"http_proxy: Some("")"#), "{told}");
    assert_eq!(run(&daemon, &["registry", "set"]).status.code(), Some(1));
}
