//! The way between host and guest, where it is our own vsock device.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use linkspan_test_e2e::{Host, finish, is_vsock_device, wait_until};

use crate::{Own, SOON, Shared, unique};

/// The agent's gRPC port.
const AGENT: u32 = 1024;
const SIZE: usize = 64 << 20;

/// The socket that leads to the guest's ports. `None`, and said so: the kernel is the device.
fn guest_socket(host: &Host) -> Option<PathBuf> {
    let processes = host.processes();
    let device = processes.iter().find(|(_, command)| is_vsock_device(command));
    let Some((_, command)) = device else {
        println!("skipped: the kernel's vhost-vsock is in use");
        return None;
    };
    let path = command.split_whitespace().skip_while(|word| *word != "--uds").nth(1);
    Some(path.expect("a device has a socket").into())
}

fn dial(socket: &Path, port: u32) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("the device listens");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream.write_all(format!("CONNECT {port}\n").as_bytes()).expect("written");
    stream
}

pub(crate) const SHARED: &[Shared] = &[
    ("after_the_end_of_input_the_guest_still_answers", |host| {
        let id = container(host);
        let input = vec![b'x'; 300_000];
        let done = host.run_with_stdin(&["exec", "-i", &id, "busybox", "wc", "-c"], &input).ok();
        assert_eq!(done.text(), "300000");
        let done = host.run_with_stdin(&["exec", "-i", &id, "cat"], &input).ok();
        assert!(done.out == input, "{} bytes", done.out.len());
        let _ = host.run(&["rm", "-f", &id]).ok();
    }),
    ("a_half_closed_connection_is_answered", |host| {
        let Some(socket) = guest_socket(host) else { return };
        let mut stream = dial(&socket, AGENT);
        // The beginning of HTTP/2 and empty settings (RFC 9113, sections 3.4 and 6.5).
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("written");
        stream.shutdown(Shutdown::Write).expect("half-closed");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the guest answers and closes");
        let end = answer.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
        assert!(answer.starts_with(b"OK "), "{}", answer.escape_ascii());
        // The type of the first frame: settings.
        assert_eq!(answer.get(end + 3), Some(&4), "{}", answer.escape_ascii());
    }),
    ("a_port_that_nobody_listens_on_is_refused", |host| {
        let Some(socket) = guest_socket(host) else { return };
        let mut answer = Vec::new();
        let ended = dial(&socket, 4_000_000_000).read_to_end(&mut answer);
        assert_eq!((ended.expect("the end"), answer), (0, Vec::new()));
    }),
    ("who_closes_right_after_asking_harms_nobody", |host| {
        let Some(socket) = guest_socket(host) else { return };
        for _ in 0..100 {
            drop(dial(&socket, AGENT));
        }
        let kept: Vec<_> = (0..20).map(|_| dial(&socket, AGENT)).collect();
        let done = host.run(&["run", "--rm", "busybox", "echo", "still works"]).ok();
        assert_eq!(done.text(), "still works");
        for mut stream in kept {
            let mut answer = [0; 3];
            stream.read_exact(&mut answer).expect("answered");
            assert_eq!(&answer, b"OK ");
        }
    }),
    ("traffic_in_both_directions_at_once_completes", |host| {
        let id = container(host);
        let out = ["exec", &id, "dd", "if=/dev/zero", "bs=256k", "count=256"];
        let into = ["exec", "-i", &id, "busybox", "wc", "-c"];
        let through = ["exec", "-i", &id, "cat"];
        std::thread::scope(|scope| {
            let out = scope.spawn(|| finish(host.spawn(&out), &out).ok());
            let into = scope.spawn(|| host.run_with_stdin(&into, &vec![1; SIZE]).ok());
            let through = scope.spawn(|| host.run_with_stdin(&through, &vec![2; SIZE]).ok());
            assert_eq!(out.join().expect("no panic").out.len(), SIZE);
            assert_eq!(into.join().expect("no panic").text(), SIZE.to_string());
            assert_eq!(through.join().expect("no panic").out.len(), SIZE);
        });
        let _ = host.run(&["rm", "-f", &id]).ok();
    }),
];

pub(crate) const OWN: &[Own] = &[("the_device_ends_with_its_machine", || {
    let host = Host::new();
    for stop in [&["machine", "stop"][..], &["machine", "stop", "--force"]] {
        let _ = host.run(&["machine", "start"]).ok();
        let Some(socket) = guest_socket(&host) else { return };
        let _ = host.run(stop).ok();
        let gone = || !host.processes().iter().any(|(_, command)| is_vsock_device(command));
        assert!(wait_until(Duration::from_secs(10), gone), "{:?}", host.processes());
        assert!(!socket.exists(), "{}", socket.display());
    }
    host.leaves_nothing();
})];

fn container(host: &Host) -> String {
    let name = unique("vsock");
    let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    name
}
