//! Published ports whose one end does not read: the other end waits, and nothing is kept for it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Host, is_daemon, is_vsock_device, wait_until};
use nix::sys::socket::{setsockopt, sockopt};
use sha2::{Digest as _, Sha256};

use crate::{CHECKER, SOON, Shared, ports, run::pattern, unique};

/// More than the sockets on the way hold (tcp_rmem, tcp_wmem), which is about ten MiB.
const BLOCKS: usize = 24;
const BLOCK: usize = 1 << 20;
/// What a process may grow by meanwhile for other reasons, other tests' among them, KiB.
const BOUND: u64 = 16 << 10;

/// Starts a container that runs `script` for each connection to its port.
fn serve(host: &Host, script: &str) -> (String, SocketAddr) {
    let name = unique("stalled");
    let server = ["/bin/busybox", "nc", "-ll", "-p", "7", "-e", "sh", "-c", script];
    let args = ["run", "-d", "--name", &name, "-p", "7", CHECKER];
    let _ = host.run(&[&args[..], &server].concat()).ok();
    let address = ports::address(host, &name);
    (name, address)
}

/// A connection to the container, whose first word has come. It may take a moment to listen.
fn connect(address: SocketAddr) -> TcpStream {
    let connect = || {
        let mut stream = TcpStream::connect_timeout(&address, SOON).ok()?;
        stream.set_read_timeout(Some(SOON)).ok()?;
        // The kernel would let it grow.
        setsockopt(&stream, sockopt::RcvBuf, &(64 << 10)).ok()?;
        let mut word = [0; 6];
        stream.read_exact(&mut word).ok()?;
        (word == *b"ready\n").then_some(stream)
    };
    let mut stream = None;
    let connected = wait_until(SOON, || {
        stream = connect();
        stream.is_some()
    });
    assert!(connected, "nobody listens at {address}");
    stream.expect("it was waited for")
}

/// Resident memory in KiB: of the daemon and the vsock device together, and of the agent.
fn memory(host: &Host) -> [u64; 2] {
    let resident = |status: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or_else(|| panic!("no memory: {status}"))
    };
    let here = host.processes().into_iter();
    let here = here.filter(|(_, command)| is_daemon(command) || is_vsock_device(command));
    let status = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let agent = host.run(&["machine", "shell", "--", "cat", "/proc/1/status"]).ok().text();
    [here.map(|(pid, _)| resident(&status(pid))).sum(), resident(&agent)]
}

fn assert_bounded(host: &Host, before: [u64; 2]) {
    let now = memory(host);
    let bounded = now.iter().zip(before).all(|(now, before)| *now < before + BOUND);
    assert!(bounded, "{before:?} KiB became {now:?}");
}

/// Waits until as many blocks as were written stay as many: not all of them.
fn assert_stalls(mut written: impl FnMut() -> usize) {
    let (mut last, mut since) = (written(), Instant::now());
    let stands = wait_until(2 * SOON, || {
        let now = written();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        // What is only slow may seem to stand: it is then found with too few blocks, not too many.
        since.elapsed() > Duration::from_secs(3)
    });
    assert!(stands, "it goes on: {last} blocks");
    assert!(last < BLOCKS, "all {last} blocks were written, and none was read");
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_client_that_does_not_read_stalls_the_container_and_gets_everything_later", |host| {
        let script = format!(
            "echo ready; i=0; while [ $i -lt {BLOCKS} ]; do /checker emit {BLOCK}; \
             i=$((i+1)); echo $i > /tmp/written; done"
        );
        let (name, address) = serve(host, &script);
        let before = memory(host);
        let mut stream = connect(address);
        assert_stalls(|| {
            let text = host.run(&["exec", &name, "cat", "/tmp/written"]).text();
            text.parse().unwrap_or_default()
        });
        assert_bounded(host, before);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("the rest comes");
        assert!(all == pattern(BLOCK).repeat(BLOCKS), "{} bytes, and not those", all.len());
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_container_that_does_not_read_stalls_the_client_and_gets_everything_later", |host| {
        let wait = "echo ready; while [ ! -e /tmp/go ]; do busybox usleep 50000; done;";
        let (name, address) = serve(host, &format!("{wait} exec busybox sha256sum"));
        let before = memory(host);
        let mut stream = connect(address);
        let block = pattern(BLOCK);
        let written = Arc::new(AtomicUsize::new(0));
        // Not a scope's thread: a test that fails does not wait for it.
        let all = std::thread::spawn({
            let (mut writer, block) = (stream.try_clone().expect("a socket"), block.clone());
            let written = Arc::clone(&written);
            move || {
                for _ in 0..BLOCKS {
                    writer.write_all(&block).expect("it is read in the end");
                    written.fetch_add(1, Ordering::Relaxed);
                }
                writer.shutdown(Shutdown::Write).expect("it is open");
            }
        });
        assert_stalls(|| written.load(Ordering::Relaxed));
        assert_bounded(host, before);
        let _ = host.run(&["exec", &name, "sh", "-c", "> /tmp/go"]).ok();
        all.join().expect("the writer does not panic");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let digest = Sha256::digest(block.repeat(BLOCKS));
        let expected: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(answer.split_whitespace().next(), Some(&*expected));
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
];
