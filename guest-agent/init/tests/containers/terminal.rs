//! Terminals.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use linkspan_runtime::launch::{Network, Started, Stdio};
use linkspan_sys::process::wait_pidfd;
use linkspan_sys::tty;

use crate::bench::{SIZE, bench, process};

/// Everything until the other end is closed: a master then answers EIO.
fn read_terminal(started: &mut Started) -> String {
    let mut master = std::fs::File::from(started.pty_master.take().unwrap());
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = master.read(&mut chunk) {
        text.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

#[test]
fn the_first_process_has_a_console_of_its_size() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("tty; stty size; stat -c %t:%T /dev/console; echo x > /dev/tty; cut -d' ' -f7 /proc/self/stat");
    plan.process.terminal = Some(SIZE);
    let mut started = bench.launcher.start(&plan, Stdio::default(), Network::Plain, false).unwrap();
    // 34816 is the device number of pts/0: it is the controlling terminal.
    assert_eq!(read_terminal(&mut started), "/dev/pts/0\n33 111\n88:0\nx\n34816\n");
    wait_pidfd(&started.pidfd).unwrap();
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}

#[test]
fn input_signals_and_resizes_go_through_the_master() {
    let Some(bench) = bench() else { return };
    // The trap makes sure of the signal: PID 1 never gets one that it does not handle, and may
    // not have come to its `sleep` when the key is pressed.
    let mut plan = bench.plan(
        "stty -echo; trap 'exit 5' INT; echo ready; read line; \
         echo got $line; stty size; while :; do sleep 1; done",
    );
    plan.process.terminal = Some(SIZE);
    let started = bench.launcher.start(&plan, Stdio::default(), Network::Plain, false).unwrap();
    let mut master = std::fs::File::from(started.pty_master.as_ref().unwrap().try_clone().unwrap());
    let mut seen = String::new();
    let mut wait_for = |master: &mut std::fs::File, text: &str| {
        let mut chunk = [0; 256];
        while !seen.contains(text) {
            let count = master.read(&mut chunk).unwrap();
            seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    };
    wait_for(&mut master, "ready");
    tty::set_window_size(master.as_fd(), 7, 8).unwrap();
    master.write_all(b"hello\n").unwrap();
    wait_for(&mut master, "got hello");
    wait_for(&mut master, "7 8");
    // Control-C: the foreground process group of the session gets SIGINT.
    master.write_all(b"\x03").unwrap();
    assert_eq!(wait_pidfd(&started.pidfd).unwrap(), 5);
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}

#[test]
fn the_terminal_belongs_to_its_user() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("echo mine > /dev/pts/0; stat -c '%u %a' /dev/pts/0");
    plan.process.terminal = Some(SIZE);
    plan.process.user.user = "app".into();
    let mut started = bench.launcher.start(&plan, Stdio::default(), Network::Plain, false).unwrap();
    assert_eq!(read_terminal(&mut started), "mine\n1000 620\n");
    wait_pidfd(&started.pidfd).unwrap();
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}

#[test]
fn a_later_process_gets_a_terminal_of_its_own() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    let mut more = process("tty; stty size; echo x > /dev/tty");
    more.terminal = Some(SIZE);
    let target = running.started.pidfd.as_fd();
    let mut started =
        bench.launcher.exec(target, &plan.cgroup, &more, Stdio::default(), false).unwrap();
    assert_eq!(read_terminal(&mut started), "/dev/pts/0\n33 111\nx\n");
    wait_pidfd(&started.pidfd).unwrap();
}
