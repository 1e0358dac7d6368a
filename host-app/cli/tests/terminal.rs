//! The real program on a pseudo-terminal: raw mode, detach keys, and the terminal afterwards.
#![cfg(unix)]

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};

use common::{Daemon, until};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

struct Terminal {
    keyboard: File,
    /// Kept open, so that its settings can be read when the program has ended.
    line: OwnedFd,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn run(daemon: &Daemon, args: &[&str]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
        let copy = || slave.try_clone().expect("a descriptor");
        let child = daemon
            .linkspan(args)
            .stdin(copy())
            .stdout(copy())
            .stderr(copy())
            .spawn()
            .expect("the program starts");
        let keyboard = File::from(master);
        let mut reader = keyboard.try_clone().expect("a descriptor");
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                shown.lock().expect("not poisoned").extend_from_slice(&buffer[..length]);
            }
        });
        Self { keyboard, line: slave, screen, child }
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("a terminal").local_flags;
        !modes.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    fn shows(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.screen.lock().expect("not poisoned")).contains(text)
    }

    fn types(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).expect("a terminal");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        until("the program ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

#[test]
fn keys_go_to_the_container_as_bytes_and_the_detach_keys_leave() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::run(&daemon, &["run", "-it", "busybox", "cat"]);
    until("raw mode", || terminal.is_raw());
    // Ctrl-C, and a Ctrl-P that is not followed by Ctrl-Q: bytes like any other.
    terminal.types(b"<\x03\x10>");
    until("the echo", || terminal.shows("<\x03\x10>"));
    terminal.types(b"\x10\x11");
    assert_eq!(terminal.exit_code(), Some(0));
    until("the farewell", || terminal.shows("read escape sequence"));
    assert!(!terminal.is_raw(), "the terminal was not restored");
    assert!(!daemon.calls().iter().any(|call| call.starts_with("kill")), "{:?}", daemon.calls());
}

#[test]
fn the_detach_keys_can_be_chosen() {
    let daemon = Daemon::start();
    let mut terminal =
        Terminal::run(&daemon, &["exec", "-it", "--detach-keys", "ctrl-x,y", "web", "cat"]);
    until("raw mode", || terminal.is_raw());
    terminal.types(b"\x10\x11|");
    until("the echo", || terminal.shows("\x10\x11|"));
    terminal.types(b"\x18y");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn the_terminal_is_restored_when_a_signal_ends_us() {
    let daemon = Daemon::start();
    let mut terminal =
        Terminal::run(&daemon, &["run", "-it", "--sig-proxy=false", "busybox", "cat"]);
    until("raw mode", || terminal.is_raw());
    // The handlers stand when the container answers.
    terminal.types(b"x");
    until("the echo", || terminal.shows("x"));
    let pid = Pid::from_raw(i32::try_from(terminal.child.id()).expect("a process id"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    assert_eq!(terminal.exit_code(), Some(143));
    assert!(!terminal.is_raw(), "the terminal was not restored");
}

#[test]
fn the_terminal_is_restored_when_the_container_cannot_run() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::run(&daemon, &["run", "-it", "busybox", "absent"]);
    assert_eq!(terminal.exit_code(), Some(127));
    until("the reason", || terminal.shows("linkspan: cannot run `absent`"));
    assert!(!terminal.is_raw(), "the terminal was not restored");
}

#[test]
fn a_login_asks_for_name_and_password_and_shows_only_the_name() {
    let daemon = Daemon::start();
    let mut terminal = Terminal::run(&daemon, &["login", "host:5000"]);
    until("the first question", || terminal.shows("Username: "));
    terminal.types(b"user\n");
    until("the second question", || terminal.shows("Password: "));
    let hidden = |terminal: &Terminal| {
        !tcgetattr(&terminal.line).expect("a terminal").local_flags.intersects(LocalFlags::ECHO)
    };
    until("no echo", || hidden(&terminal));
    terminal.types(b"secret\n");
    assert_eq!(terminal.exit_code(), Some(0));
    until("the answer", || terminal.shows("Login Succeeded"));
    assert!(terminal.shows("user") && !terminal.shows("secret"));
    assert!(!hidden(&terminal), "the terminal was not restored");
}
