//! Published ports: this host's sockets, and what answers behind them.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use linkspan_test_e2e::{Host, wait_until};
use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{setsockopt, sockopt},
    },
    unistd::Pid,
};

use crate::{CHECKER, Own, SOON, Shared, unique};

/// The image and the command: answers each connection with all that it was told, once it has been told everything.
const TCP_ECHO: &[&str] = &["busybox", "nc", "-ll", "-p", "7", "-e", "cat"];

/// Starts a container with a port and tells its name and where the port is on this host.
fn serve(host: &Host, flags: &[&str], command: &[&str]) -> (String, SocketAddr) {
    let name = unique("ports");
    let args: Vec<&str> = [&["run", "-d", "--name", &name], flags, command].concat();
    let _ = host.run(&args).ok();
    (name.clone(), address(host, &name))
}

pub(crate) fn address(host: &Host, name: &str) -> SocketAddr {
    let text = host.run(&["port", name]).ok().text();
    let line = text.lines().find(|line| line.contains("127.0.0.1")).unwrap_or_default();
    let (_, address) = line.split_once(" -> ").unwrap_or_else(|| panic!("{text}"));
    address.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn ask(address: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(question)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The program in the container may take a moment to listen.
fn answers(address: SocketAddr) -> bool {
    wait_until(SOON, || ask(address, b"hello").is_ok_and(|answer| answer == b"hello"))
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_tcp_port_carries_both_directions_and_the_half_close", |host| {
        let (name, address) = serve(host, &["-p", "7"], TCP_ECHO);
        assert!(answers(address));
        let megabyte: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        assert_eq!(ask(address, &megabyte).unwrap(), megabyte);
        let ps = host.run(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Ports}}"]);
        let shown = format!("{address}->7/tcp");
        assert!(ps.ok().text().contains(&shown), "{shown}");
        let _ = host.run(&["rm", "-f", &name]).ok();
        assert!(TcpStream::connect_timeout(&address, SOON).is_err(), "it is closed");
    }),
    ("a_udp_port_has_a_session_for_each_peer", |host| {
        let server = [CHECKER, "/checker", "udp-echo", "7"];
        let (name, address) = serve(host, &["-p", "127.0.0.1::7/udp"], &server);
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let answered = wait_until(SOON, || {
            peer.send_to(b"ping", address).unwrap();
            let mut answer = [0; 16];
            peer.recv_from(&mut answer)
                .is_ok_and(|(length, from)| from == address && answer[..length] == *b"ping")
        });
        assert!(answered);
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_reset_passes_through_in_both_directions", |host| {
        let server = [CHECKER, "/checker", "tcp-ends", "7"];
        let (name, address) = serve(host, &["-p", "7"], &server);
        assert!(answers(address));
        let established = |word: &[u8]| {
            let mut stream = TcpStream::connect_timeout(&address, SOON).expect("it listens");
            stream.set_read_timeout(Some(SOON)).expect("a socket");
            stream.write_all(b"hello").expect("it reads");
            stream.read_exact(&mut [0; 5]).expect("an answer");
            stream.write_all(word).expect("it reads");
            stream
        };
        // By the container: not the end of an answer.
        let error = established(b"reset").read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        // By the client, whose socket is closed with a linger time of zero (tcp(7)).
        let stream = established(b"");
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, sockopt::Linger, &at_once).expect("a socket");
        drop(stream);
        let ends = || {
            let logs = host.run(&["logs", &name]).ok().text();
            logs.lines().skip_while(|line| *line == "ended").collect::<Vec<_>>().join(" ")
        };
        assert!(wait_until(SOON, || ends() == "resetting reset"), "{}", ends());
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("every_address_of_the_host_is_listened_on_only_when_it_is_asked_for", |host| {
        let (name, loopback) = serve(host, &["-p", "7"], TCP_ECHO);
        assert!(answers(loopback));
        let flags = ["run", "-d", "--name"];
        let open = unique("open");
        let args = [&flags[..], &[&open, "-p", "0.0.0.0::7"], TCP_ECHO].concat();
        let _ = host.run(&args).ok();
        let shown = host.run(&["port", &open]).ok().text();
        let port = shown.strip_prefix("7/tcp -> 0.0.0.0:").unwrap_or_else(|| panic!("{shown}"));
        // One that is neither 127.0.0.1 nor outside of this host.
        let other = |port: u16| SocketAddr::from(([127, 0, 0, 2], port));
        assert!(answers(other(port.parse().expect("a port"))));
        assert!(TcpStream::connect_timeout(&other(loopback.port()), SOON).is_err());
        let _ = host.run(&["rm", "-f", &name, &open]).ok();
    }),
    ("a_taken_port_is_an_error_before_the_container_starts", |host| {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port().to_string();
        let name = unique("taken");
        let publish = format!("{port}:7");
        host.run(&["run", "-d", "--name", &name, "-p", &publish, "busybox", "touch", "/ran"])
            .fails(125, &["cannot publish", &port, "already in use"]);
        let state = host.run(&["inspect", "-f", "{{.State.Status}}", &name]).ok().text();
        assert_eq!(state, "created");
        drop(other);
        let _ = host.run(&["start", &name]).ok();
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("the_first_free_port_of_a_range_is_taken", |host| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = taken.local_addr().unwrap().port().min(u16::MAX - 20);
        let publish = format!("{first}-{}:7", first + 20);
        let (name, address) = serve(host, &["-p", &publish], TCP_ECHO);
        let port = address.port();
        assert!((first..=first + 20).contains(&port), "{address} of {publish}");
        assert_ne!(port, taken.local_addr().unwrap().port());
        assert!(answers(address));
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("all_exposed_ports_are_published_and_restarts_publish_again", |host| {
        let flags = ["--expose", "7", "--expose", "9/udp", "-P"];
        let (name, before) = serve(host, &flags, TCP_ECHO);
        let text = host.run(&["port", &name]).ok().text();
        assert!(text.contains("7/tcp -> ") && text.contains("9/udp -> "), "{text}");
        assert!(answers(before));
        let _ = host.run(&["restart", "-t", "0", &name]).ok();
        assert!(answers(address(host, &name)));
        host.run(&["port", &name, "80"]).fails(1, &["no public port `80/tcp`"]);
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("ports_are_nothing_to_a_container_with_the_vms_network", |host| {
        let name = unique("hostnet");
        let _ = host
            .run(&["run", "-d", "--name", &name, "--network", "host", "-p", "7", "busybox"])
            .code;
        assert_eq!(host.run(&["port", &name]).ok().text(), "");
        let _ = host.run(&["rm", "-f", &name]).ok();
        host.run(&["run", "--network", "container:x", "-p", "7", "busybox"])
            .fails(125, &["container type network mode"]);
    }),
];

pub(crate) const OWN: &[Own] = &[("forwards_come_back_with_the_next_daemon", || {
    let host = Host::new();
    let (name, address) = serve(&host, &["-p", "7"], TCP_ECHO);
    assert!(answers(address));
    kill(Pid::from_raw(host.daemon_pid()), Signal::SIGKILL).unwrap();
    // The next command starts the next daemon, which finds the VM and opens the port again.
    assert!(wait_until(SOON, || host.run(&["port", &name]).code == 0));
    assert!(answers(address), "the same port");
    let _ = host.run(&["machine", "stop"]).ok();
    assert!(TcpStream::connect_timeout(&address, SOON).is_err(), "no VM, no port");
    host.leaves_nothing();
})];
