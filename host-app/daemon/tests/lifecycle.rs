//! How a daemon starts, is found, is kept single and ends: with the real program and the real
//! client, but no machine.
#![cfg(target_os = "linux")]

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use linkspan_client::{Client, ConnectOptions};
use linkspan_proto::{DAEMON_RUNS_EXIT_CODE, error::ErrorCode};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::{Pid, getsid},
};
use tempfile::TempDir;

const DAEMON: &str = env!("CARGO_BIN_EXE_linkspand");

/// A home whose daemon does not outlive the test.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions {
            home: Some(self.0.path().into()),
            daemon_program: Some(DAEMON.into()),
            start_timeout: Duration::from_secs(30),
            ..ConnectOptions::default()
        }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.options()).await.unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.0.path().join("linkspand.log")).unwrap_or_default()
    }
}

impl Drop for Home {
    /// Every daemon of this home, not only the one that serves it: another one that lost the race
    /// and has not noticed yet would take its place.
    fn drop(&mut self) {
        let home = self.0.path().as_os_str().as_encoded_bytes();
        let ours = |process: &std::fs::DirEntry| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next() == Some(DAEMON.as_bytes()) && words.any(|word| word == home)
        };
        let mut quiet = 0;
        while quiet < 3 {
            let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids: Vec<u32> = processes
                .filter(ours)
                .filter_map(|process| process.file_name().to_str()?.parse().ok())
                .collect();
            quiet = if pids.is_empty() { quiet + 1 } else { 0 };
            for pid in pids {
                signal(pid, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("cannot signal {pid}: {error}"),
    }
}

/// Waits until a process has ended; one that nobody has waited for yet (a zombie) has ended too.
async fn ended(pid: u32) {
    let stat = format!("/proc/{pid}/stat");
    let runs = || {
        let fields = std::fs::read_to_string(&stat).unwrap_or_default();
        fields.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    };
    let waiting = async {
        while runs() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the daemon ends");
}

fn daemon_in_foreground(home: &Path) -> Command {
    let mut command = Command::new(DAEMON);
    command.arg("--home").arg(home).arg("--foreground").stdin(Stdio::null());
    command
}

#[tokio::test]
async fn clients_that_start_the_daemon_at_once_share_one() {
    let home = Home::new();
    let clients = (0..6).map(|_| Client::connect(home.options()));
    let clients = futures::future::join_all(clients).await;
    let pids: Vec<u32> = clients.into_iter().map(|client| client.unwrap().daemon().pid).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0] && *pid != 0), "{pids:?}");
}

#[tokio::test]
async fn a_daemon_without_a_file_to_spare_serves_again_when_it_has_one() {
    let home = Home::new();
    let mut daemon = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" --home \"$1\" --foreground", DAEMON])
        .arg(home.0.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let options = ConnectOptions { start_daemon: false, ..home.options() };
    let up = async {
        loop {
            if let Ok(client) = Client::connect(options.clone()).await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let client = tokio::time::timeout(Duration::from_secs(20), up).await.expect("it starts");
    let socket = client.paths().daemon_socket();
    // They wait in the listener's queue, more than the daemon can take.
    let many: Vec<_> = (0..100)
        .map(|_| std::os::unix::net::UnixStream::connect(&socket).expect("it is queued"))
        .collect();
    let starved = async {
        while !home.log().contains("a client has to wait") {
            assert!(daemon.try_wait().unwrap().is_none(), "it ended: {}", home.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), starved).await.expect("it runs out of files");
    drop(many);
    assert_eq!(home.connect().await.daemon().pid, daemon.id(), "the same daemon answers");
    signal(daemon.id(), Signal::SIGTERM);
    daemon.wait().unwrap();
}

#[tokio::test]
async fn a_daemon_may_open_as_many_files_as_its_user_may() {
    let home = Home::new();
    let pid = home.connect().await.daemon().pid;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = files.split_whitespace().collect();
    let (soft, hard) = (words[3].parse::<u64>().unwrap(), words[4].parse::<u64>().unwrap());
    assert_eq!(soft, hard.min(1 << 20), "{files}");
}

#[tokio::test]
async fn a_second_daemon_says_who_holds_the_home() {
    let home = Home::new();
    let client = home.connect().await;
    let second = daemon_in_foreground(home.0.path()).output().unwrap();
    assert_eq!(second.status.code(), Some(DAEMON_RUNS_EXIT_CODE));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&format!("process {}", client.daemon().pid)), "{said}");
    // The first one is none the worse for it.
    home.connect().await.host().info(linkspan_proto::host::v1::HostInfoRequest {}).await.unwrap();
}

#[tokio::test]
async fn after_a_sigkill_the_next_client_starts_the_next_daemon() {
    let home = Home::new();
    let first = home.connect().await;
    let pid = first.daemon().pid;
    signal(pid, Signal::SIGKILL);
    ended(pid).await;
    assert!(first.paths().daemon_socket().exists(), "the socket is left behind");
    let second = home.connect().await;
    assert_ne!(second.daemon().pid, pid);
    // The old client finds the new daemon too.
    let hello = linkspan_proto::host::v1::HostHelloRequest::default();
    let mut answered = first.host().hello(hello.clone()).await;
    if answered.is_err() {
        // It may first have to learn that its connection is gone.
        answered = first.host().hello(hello).await;
    }
    assert_eq!(answered.unwrap().into_inner().pid, second.daemon().pid);
}

#[tokio::test]
async fn shutdown_ends_the_daemon_and_the_next_can_start_at_once() {
    let home = Home::new();
    assert!(!Client::shutdown_daemon(&home.options(), false).await.unwrap(), "there is none");
    let mut pids = vec![home.connect().await.daemon().pid];
    for _ in 0..3 {
        assert!(Client::shutdown_daemon(&home.options(), false).await.unwrap());
        pids.push(home.connect().await.daemon().pid);
    }
    pids.dedup();
    assert_eq!(pids.len(), 4, "{pids:?}\n{}", home.log());
}

#[tokio::test]
async fn sigterm_ends_it_in_order() {
    let home = Home::new();
    let mut daemon = daemon_in_foreground(home.0.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let waiting = async {
        let options = ConnectOptions { start_daemon: false, ..home.options() };
        loop {
            match Client::connect(options.clone()).await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let client = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    assert_eq!(client.daemon().pid, daemon.id());
    signal(daemon.id(), Signal::SIGTERM);
    let status = tokio::task::spawn_blocking(move || daemon.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}\n{}", home.log());
    assert!(!client.paths().daemon_socket().exists() && !client.paths().streams_socket().exists());
}

#[tokio::test]
async fn a_daemon_that_cannot_start_is_explained_with_its_own_words() {
    let home = Home::new();
    std::fs::write(home.0.path().join("config.json"), r#"{"format":1,"nonsense":true}"#).unwrap();
    let failure = Client::connect(home.options()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Unavailable);
    let evidence = failure.evidence.join("\n");
    assert!(evidence.contains("nonsense"), "{failure}: {evidence}");
    assert!(failure.hint.unwrap().contains("linkspand.log"));
}

#[tokio::test]
async fn a_client_that_may_not_start_one_says_that_none_runs() {
    let home = Home::new();
    let options = ConnectOptions { start_daemon: false, ..home.options() };
    let failure = Client::connect(options).await.unwrap_err();
    assert_eq!(
        (failure.code, failure.message.as_str()),
        (ErrorCode::Unavailable, "the daemon does not run")
    );
    assert!(!home.0.path().join("linkspand.lock").exists());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let home = Home::new();
    let options =
        ConnectOptions { daemon_program: Some("/nowhere/linkspand".into()), ..home.options() };
    let failure = Client::connect(options).await.unwrap_err();
    assert!(failure.message.contains("/nowhere/linkspand"), "{failure}");
}

#[tokio::test]
async fn the_daemon_leaves_the_session_of_the_one_who_started_it() {
    let home = Home::new();
    let pid = Pid::from_raw(i32::try_from(home.connect().await.daemon().pid).unwrap());
    assert_eq!(getsid(Some(pid)), Ok(pid));
    assert_ne!(getsid(None), Ok(pid));
}

/// The lock of a script (`exec 9>lock; flock 9`) would be held for as long as the daemon lives, and
/// who reads a pipe to its end would wait as long.
#[tokio::test]
async fn the_daemon_holds_no_file_of_the_one_who_started_it() {
    let home = Home::new();
    // Without FD_CLOEXEC, as a shell's.
    let (_read, write) = nix::unistd::pipe().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&write);
    let file = |pid: &str, number: &str| std::fs::read_link(format!("/proc/{pid}/fd/{number}"));
    let ours = file("self", &number.to_string()).unwrap();
    let daemon = home.connect().await.daemon().pid.to_string();
    for entry in std::fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().flatten() {
        let number = entry.file_name();
        let theirs = file(&daemon, number.to_str().unwrap());
        assert_ne!(theirs.ok().as_ref(), Some(&ours), "descriptor {number:?}");
    }
}

#[tokio::test]
async fn its_sockets_are_its_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let client = home.connect().await;
    for socket in [client.paths().daemon_socket(), client.paths().streams_socket()] {
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", socket.display());
    }
}
