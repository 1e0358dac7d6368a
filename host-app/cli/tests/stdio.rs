//! The real program against a fake daemon: bytes, exit codes, signals, errors.

mod common;

use std::io::{Read as _, Write as _};
use std::process::{Output, Stdio};

use common::{Before, Daemon, ID, noise, until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(daemon: &Daemon, args: &[&str]) -> Output {
    daemon.linkspan(args).output().expect("the program starts")
}

#[test]
fn output_is_exact_to_the_byte() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["run", "busybox", "flood", "8388609"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stdout == noise(8_388_609), "{} bytes came", output.stdout.len());
    assert_eq!(text(&output.stderr), "", "nothing is said when the machine runs");
}

#[test]
fn input_is_exact_to_the_byte_and_its_end_is_told() {
    let daemon = Daemon::start();
    for verb in [&["run", "-i", "busybox", "cat"][..], &["exec", "-i", "web", "cat"]] {
        let data = noise(1_000_003);
        let mut child =
            daemon.linkspan(verb).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let sent = data.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&sent));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("no panic").expect("all is read");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stdout == data, "{} bytes came back", output.stdout.len());
    }
}

#[test]
fn both_outputs_stay_apart() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["run", "busybox", "both"]);
    assert_eq!(text(&output.stdout), "to stdout\n");
    assert_eq!(text(&output.stderr), "to stderr\n");
    let output = run(&daemon, &["logs", "web"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("one\n".into(), "two\n".into()));
}

#[test]
fn the_exit_code_is_the_containers_and_failures_have_their_own() {
    let daemon = Daemon::start();
    for (args, code, said) in [
        (&["run", "busybox", "exit", "3"][..], 3, ""),
        (&["exec", "web", "exit", "255"], 255, ""),
        (&["run", "busybox", "absent"], 127, "linkspan: cannot run `absent`: it was not found\n"),
        (&["exec", "web", "absent"], 127, "linkspan: cannot run `absent`: it was not found\n"),
        (
            &["run", "--pull", "never", "missing"],
            125,
            "linkspan: no such image: `missing`\nhint: list them with `linkspan images`\n",
        ),
        (
            &["run", "--gpus", "all", "busybox"],
            125,
            "linkspan: cannot use --gpus: the machine has no GPU\n",
        ),
    ] {
        let output = run(&daemon, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), said, "{args:?}");
    }
    let output = run(&daemon, &["run", "busybox", "vanish"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("was lost before it ended"));
    let output = run(&daemon, &["run", "--nosuch", "busybox"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).starts_with("linkspan: unexpected argument '--nosuch'"));
}

#[test]
fn a_run_on_a_running_machine_makes_as_few_calls_as_it_can() {
    let daemon = Daemon::start();
    run(&daemon, &["run", "busybox", "exit", "0"]);
    assert_eq!(daemon.calls(), ["hello", "machine start", "create", "attach"]);
    let daemon = Daemon::start();
    run(&daemon, &["exec", "web", "exit", "0"]);
    assert_eq!(daemon.calls(), ["hello", "machine start", "exec"]);
    let daemon = Daemon::start();
    let output = run(&daemon, &["run", "-d", "busybox", "sleep"]);
    assert_eq!(text(&output.stdout), format!("{ID}\n"));
    assert_eq!(daemon.calls(), ["hello", "machine start", "create", "start"]);
}

#[test]
fn an_open_standard_input_does_not_keep_the_program_alive() {
    let daemon = Daemon::start();
    let mut child = daemon
        .linkspan(&["run", "-i", "busybox", "exit", "3"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let stdin = child.stdin.take();
    let mut status = None;
    until("the program ends", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    drop(stdin);
    assert_eq!(status.and_then(|status| status.code()), Some(3));
}

#[test]
fn a_closed_standard_output_ends_it_quietly() {
    let daemon = Daemon::start();
    let mut child = daemon
        .linkspan(&["run", "busybox", "flood", "67108864"])
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 10]).expect("some output");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(text(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_finds_no_room_is_an_error_with_its_reason() {
    let daemon = Daemon::start();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = daemon
        .linkspan(&["run", "busybox", "flood", "67108864"])
        .stdout(full)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.starts_with("linkspan: cannot write to standard output: No space left"), "{said}");
}

#[test]
fn a_closed_standard_error_is_not_minded() {
    let daemon = Daemon::with(Before::Stopped);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = daemon
        .linkspan(&["run", "busybox", "exit", "3"])
        .stderr(writer)
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_lost_daemon_is_called_so() {
    let mut daemon = Daemon::start();
    let mut child =
        daemon.linkspan(&["run", "busybox", "sleep"]).spawn().expect("the program starts");
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 7]).expect("it sleeps");
    daemon.vanish();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.starts_with("linkspan: the connection to the daemon was lost: "), "{said}");
}

#[test]
fn a_boot_is_shown_in_plain_lines_on_standard_error_only() {
    let daemon = Daemon::with(Before::Stopped);
    let output = run(&daemon, &["run", "busybox", "both"]);
    assert_eq!(text(&output.stdout), "to stdout\n");
    let said = text(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "starting the machine `default`", "{said}");
    assert_eq!(lines[1], "note: no hardware acceleration here");
    assert_eq!(lines[2], "  ok     kernel    840.0 ms");
    assert!(lines[3].starts_with("the machine `default` is ready after "), "{said}");
    assert_eq!(lines[4], "to stderr");
    assert_eq!(lines.len(), 5, "{said}");
}

#[test]
fn a_machine_that_runs_from_before_is_no_boot() {
    let daemon = Daemon::with(Before::Adopted);
    let output = run(&daemon, &["run", "busybox", "both"]);
    assert_eq!(text(&output.stdout), "to stdout\n");
    assert_eq!(text(&output.stderr), "to stderr\n");
}

#[test]
fn one_failure_among_several_names_does_not_stop_the_others() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["stop", "gone", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "web\n");
    assert_eq!(text(&output.stderr), "linkspan: no such container: `gone`\n");
}

#[test]
fn the_id_file_is_written_once() {
    let daemon = Daemon::start();
    let file = daemon.home().join("id");
    let file = file.to_str().expect("UTF-8");
    let args = ["run", "-d", "--cidfile", file, "busybox", "sleep"];
    assert_eq!(run(&daemon, &args).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(file).expect("written"), ID);
    let again = run(&daemon, &args);
    assert_eq!(again.status.code(), Some(125));
    assert!(text(&again.stderr).contains("the file exists"));
}

#[test]
fn a_terminal_is_asked_for_only_where_there_is_one() {
    let daemon = Daemon::start();
    let output = run(&daemon, &["run", "-it", "busybox", "cat"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).starts_with("linkspan: the input device is not a TTY\nhint: "));
    assert_eq!(daemon.calls(), [""; 0], "nothing was asked of the daemon");
    assert_eq!(run(&daemon, &["run", "-t", "busybox", "exit", "0"]).status.code(), Some(0));
}

#[cfg(unix)]
mod signals {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    fn send(child: &std::process::Child, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    fn asleep(daemon: &Daemon, args: &[&str]) -> std::process::Child {
        let mut child = daemon.linkspan(args).spawn().expect("the program starts");
        let mut line = [0; 7];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("it sleeps");
        child
    }

    #[test]
    fn a_signal_goes_to_the_container() {
        let daemon = Daemon::start();
        let child = asleep(&daemon, &["run", "busybox", "sleep"]);
        send(&child, Signal::SIGUSR1);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(138), "128 + SIGUSR1 as Linux counts");
        assert_eq!(daemon.calls().last().map(String::as_str), Some("kill 10"));
    }

    #[test]
    fn a_signal_goes_to_the_executed_process() {
        let daemon = Daemon::start();
        let child = asleep(&daemon, &["exec", "web", "sleep"]);
        send(&child, Signal::SIGTERM);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(143));
        assert_eq!(daemon.calls().last().map(String::as_str), Some("signal 15"));
    }

    #[test]
    fn without_the_proxy_a_signal_is_ours() {
        use std::os::unix::process::ExitStatusExt as _;
        let daemon = Daemon::start();
        let child = asleep(&daemon, &["run", "--sig-proxy=false", "busybox", "sleep"]);
        send(&child, Signal::SIGTERM);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.signal(), Some(15));
        assert!(!daemon.calls().iter().any(|call| call.starts_with("kill")));
    }
}
