//! Docker's API in containers that mount its socket.

use std::{path::PathBuf, process::Command};

use linkspan_test_e2e::{Done, Host, wait_until};

use crate::{CHECKER, Own, SOON, Shared, docker::docker, import_checker, unique};

const SOCKET: &str = "/var/run/docker.sock";
const MOUNT: &str = "/var/run/docker.sock:/var/run/docker.sock";

/// What a container with the socket is answered.
fn asks(host: &Host, flags: &[&str], path: &str) -> Done {
    let program = [CHECKER, "/checker", "http-get", SOCKET, path];
    host.run(&[&["run", "--rm"], flags, &program].concat())
}

#[track_caller]
fn answered(done: Done) -> String {
    let text = done.ok().text();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    text
}

/// Where this host serves Docker's API.
pub(crate) fn own_socket(host: &Host) -> String {
    let lines = docker(host, &["env"]).ok().text();
    let socket = lines.split_once("unix://").and_then(|(_, rest)| rest.split('\'').next());
    socket.unwrap_or_else(|| panic!("no socket: {lines}")).to_owned()
}

fn reaches(host: &Host) {
    assert!(answered(asks(host, &["-v", MOUNT], "/_ping")).ends_with("OK"));
    let name = unique("asks-docker");
    let flags = ["--name", &name, "-v", &format!("{MOUNT}:ro")];
    let list = answered(asks(host, &flags, "/v1.43/containers/json"));
    assert!(list.contains(&format!("\"/{name}\"")), "{list}");
    // The host's own place is as good, by the other way of asking for it.
    let mount = format!("type=bind,src={},dst={SOCKET}", own_socket(host));
    assert!(answered(asks(host, &["--mount", &mount], "/_ping")).ends_with("OK"));
}

fn looks(host: &Host) {
    let name = unique("has-docker");
    let sleep = ["run", "-d", "--name", &name, "-v", MOUNT, CHECKER, "sleep", "1000"];
    let _ = host.run(&sleep).ok();
    let stat = host.run(&["exec", &name, "stat", "-c", "%F %a %u %g", SOCKET]).ok();
    assert_eq!(stat.text(), "socket 660 0 0");
    let stranger = host.run(&["exec", "-u", "app", &name, "/checker", "http-get", SOCKET, "/"]);
    stranger.fails(99, &["Permission denied"]);
    let mount = "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}}{{end}}";
    let mount = host.run(&["inspect", "-f", mount, &name]).ok();
    assert_eq!(mount.text(), format!("bind {SOCKET} {SOCKET}"));
    let _ = host.run(&["rm", "-f", &name]).ok();
    asks(host, &[], "/_ping").fails(99, &["No such file"]);
}

/// The docker CLI of the host, if it needs nothing but the kernel.
fn static_docker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("docker"));
    let found = found.into_iter().find(|file| file.is_file())?.canonicalize().ok()?;
    let linked = Command::new("ldd").arg(&found).output().ok()?;
    (!linked.status.success()).then_some(found)
}

fn nested(host: &Host) {
    let Some(program) = static_docker() else {
        println!("skipped: the docker command line here is not static, or there is none");
        return;
    };
    // Where the machine sees it.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(program, folder.path().join("docker")).expect("it can be copied");
    let tools = format!("{}:/tools:ro", folder.path().display());
    let inside = |args: &[&str]| {
        let run = ["run", "--rm", "-i", "-v", MOUNT, "-v", &tools, "busybox", "/tools/docker"];
        host.run_with_stdin(&[&run, args].concat(), b"carried in and out\n")
    };
    let echoed = inside(&["run", "--rm", "-i", "busybox", "cat"]).ok();
    assert_eq!(echoed.text(), "carried in and out");
    inside(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).fails(7, &[]);
    inside(&["inspect", "nobody-has-this"]).fails(1, &["such object"]);
}

fn lasts() {
    let host = Host::new();
    let _ = host.run(&["machine", "init", "--cpus", "2", "--memory", "768", "--disk", "4"]).ok();
    import_checker(&host);
    let sleep = ["run", "-d", "--restart", "always", "--name", "stays", "-v", MOUNT, CHECKER];
    let _ = host.run(&[&sleep[..], &["sleep", "1000"]].concat()).ok();
    let ask = || host.run(&["exec", "stays", "/checker", "http-get", SOCKET, "/_ping"]);
    assert!(answered(ask()).ends_with("OK"));
    // Another daemon serves those who are connected to the same machine.
    let _ = host.run(&["system", "stop-daemon"]).ok();
    assert!(answered(ask()).ends_with("OK"));
    // A machine that starts again has the socket before the container that mounts it.
    let _ = host.run(&["machine", "stop"]).ok();
    let _ = host.run(&["machine", "start"]).ok();
    assert!(wait_until(SOON, || ask().code == 0), "{:?}", ask());
    assert!(answered(ask()).ends_with("OK"));
    host.leaves_nothing();
}

pub(crate) const SHARED: &[Shared] = &[
    ("a_container_with_the_socket_reaches_the_engine", reaches),
    ("the_socket_is_roots_and_only_where_it_was_mounted", looks),
    ("the_docker_cli_in_a_container_runs_others", nested),
];

pub(crate) const OWN: &[Own] = &[("the_socket_outlives_the_daemon_and_the_machine", lasts)];
