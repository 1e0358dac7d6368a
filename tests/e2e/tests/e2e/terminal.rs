//! Terminals: driven through a pseudo-terminal, as a person's would be.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use linkspan_test_e2e::{Host, wait_until};
use nix::pty::{Winsize, openpty};

use crate::{CHECKER, SOON, Shared, unique};

/// A `linkspan` command with a terminal of its own.
struct Screen {
    child: Child,
    keys: File,
    seen: Arc<Mutex<Vec<u8>>>,
    terminal: OwnedFd,
}

impl Screen {
    fn open(host: &Host, args: &[&str]) -> Self {
        let size = Winsize { ws_row: 31, ws_col: 97, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a pseudo-terminal");
        let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let child = host
            .command(args)
            .env("TERM", "xterm")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("linkspan starts");
        let mut from = File::from(pty.master.try_clone().expect("a descriptor"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(size @ 1..) = from.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..size]);
            }
        });
        Self { child, keys: File::from(pty.master), seen, terminal: pty.slave }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn expect(&self, words: &str) {
        assert!(
            wait_until(SOON, || self.text().contains(words)),
            "`{words}` did not appear:\n{}",
            self.text()
        );
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).expect("the terminal takes keys");
    }

    #[track_caller]
    fn end(&mut self) -> i32 {
        assert!(
            wait_until(SOON, || self.child.try_wait().unwrap().is_some()),
            "it did not end:\n{}",
            self.text()
        );
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Whether the terminal is in the line mode that it began with.
    fn is_restored(&self) -> bool {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        tcgetattr(self.terminal.as_fd())
            .is_ok_and(|now| now.local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO))
    }
}

pub(crate) const TESTS: &[Shared] = &[
    ("an_interactive_shell_echoes_runs_and_exits", |host| {
        let mut screen = Screen::open(host, &["run", "--rm", "-it", "busybox"]);
        screen.expect("/ # ");
        screen.press(b"echo $((40+2))-answer\r");
        screen.expect("42-answer");
        screen.press(b"exit 6\r");
        assert_eq!(screen.end(), 6);
        assert!(screen.is_restored());
    }),
    ("the_size_arrives_and_follows", |host| {
        let mut screen = Screen::open(host, &["run", "--rm", "-it", "busybox"]);
        screen.expect("/ # ");
        screen.press(b"stty size\r");
        screen.expect("31 97");
        let size = Winsize { ws_row: 44, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        resize(&screen.keys, size);
        // A terminal of its own session would be told by the kernel; here the test tells it.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(screen.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGWINCH).unwrap();
        assert!(wait_until(SOON, || {
            screen.press(b"stty size\r");
            std::thread::sleep(Duration::from_millis(300));
            screen.text().contains("44 120")
        }));
        screen.press(b"exit\r");
        screen.end();
    }),
    ("control_c_goes_to_the_program", |host| {
        let mut screen = Screen::open(host, &["run", "--rm", "-it", "busybox"]);
        screen.expect("/ # ");
        screen.press(b"sleep 500\r");
        std::thread::sleep(Duration::from_millis(500));
        screen.press(&[3]);
        screen.press(b"echo still-$((1+1))\r");
        screen.expect("still-2");
        screen.press(b"exit 0\r");
        assert_eq!(screen.end(), 0);
    }),
    ("detach_keys_leave_it_running", |host| {
        let name = unique("detach");
        let mut screen = Screen::open(host, &["run", "-it", "--name", &name, "busybox"]);
        screen.expect("/ # ");
        screen.press(&[16, 17]);
        screen.end();
        assert!(screen.is_restored());
        let running = host.run(&["inspect", "-f", "{{.State.Running}}", &name]).ok().text();
        assert_eq!(running, "true");
        let mut again = Screen::open(host, &["attach", &name]);
        again.press(b"echo back-$((2+2))\r");
        again.expect("back-4");
        again.press(b"exit 4\r");
        assert_eq!(again.end(), 4);
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("exec_has_a_terminal_of_its_own", |host| {
        let name = unique("tty");
        let _ = host.run(&["run", "-d", "--name", &name, CHECKER, "sleep", "300"]).ok();
        let mut screen = Screen::open(host, &["exec", "-it", &name, "/checker"]);
        screen.expect("\"stdout_is_terminal\": true");
        assert_eq!(screen.end(), 0);
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("an_exec_follows_its_terminals_size_and_is_left_with_keys_of_ones_own", |host| {
        let name = unique("keys");
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "300"]).ok();
        let args = ["exec", "-it", "--detach-keys", "ctrl-a,d", &name, "sh"];
        let mut screen = Screen::open(host, &args);
        screen.expect("/ # ");
        screen.press(b"stty size\r");
        screen.expect("31 97");
        resize(&screen.keys, Winsize { ws_row: 44, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 });
        let pid = nix::unistd::Pid::from_raw(i32::try_from(screen.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGWINCH).unwrap();
        assert!(wait_until(SOON, || {
            screen.press(b"stty size\r");
            std::thread::sleep(Duration::from_millis(300));
            screen.text().contains("44 120")
        }));
        // The default keys are the shell's now: the line before, which ^U takes away.
        screen.press(&[16, 17, 21]);
        screen.press(b"echo still-$((3+4))\r");
        screen.expect("still-7");
        screen.press(b"\x01d");
        assert_eq!(screen.end(), 0);
        assert!(screen.is_restored());
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_started_container_is_left_with_keys_of_ones_own", |host| {
        let name = unique("keys");
        let _ = host.run(&["create", "-it", "--name", &name, "busybox"]).ok();
        let mut screen = Screen::open(host, &["start", "-ai", "--detach-keys", "ctrl-x", &name]);
        screen.expect("/ # ");
        screen.press(&[0x18]);
        assert_eq!(screen.end(), 0);
        let mut again = Screen::open(host, &["attach", "--detach-keys", "ctrl-x", &name]);
        again.press(b"echo back-$((2+2))\r");
        again.expect("back-4");
        again.press(b"exit 3\r");
        assert_eq!(again.end(), 3);
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("a_terminal_cannot_be_asked_for_without_one", |host| {
        host.run(&["run", "--rm", "-it", "busybox"]).fails(125, &["the input device is not a TTY"]);
    }),
    ("the_machine_has_a_root_shell", |host| {
        let mut screen = Screen::open(host, &["machine", "shell"]);
        screen.expect("# ");
        screen.press(b"cat /proc/1/comm\r");
        screen.expect("linkspan-agent");
        screen.press(b"exit 0\r");
        assert_eq!(screen.end(), 0);
    }),
];

fn resize(terminal: &File, size: Winsize) {
    rustix::termios::tcsetwinsize(
        terminal,
        rustix::termios::Winsize {
            ws_row: size.ws_row,
            ws_col: size.ws_col,
            ws_xpixel: size.ws_xpixel,
            ws_ypixel: size.ws_ypixel,
        },
    )
    .expect("the terminal can be resized");
}
