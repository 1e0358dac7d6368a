//! Listeners on this host's loopback, with a guest of pipes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use linkspan_forward::{Connect, Mapping, Ports, Protocol, PublishError, Published, Target};
use linkspan_transport::BoxStream;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

const SOON: Duration = Duration::from_secs(10);

/// A guest in which every port answers with what it was told, in capital letters, once it has
/// been told everything (TCP), or datagram by datagram (UDP).
#[derive(Default)]
struct Shouting {
    opened: AtomicUsize,
    refuse: bool,
}

#[async_trait::async_trait]
impl Connect for Shouting {
    async fn connect(&self, target: &Target) -> io::Result<BoxStream> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.refuse {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = tokio::io::duplex(64 * 1024);
        match target.protocol {
            Protocol::Tcp => tokio::spawn(shout_all(far)),
            Protocol::Udp => tokio::spawn(shout_each(far)),
        };
        Ok(Box::pin(near))
    }
}

async fn shout_all(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    stream.write_all(text.to_uppercase().as_bytes()).await
}

async fn shout_each(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut datagram = vec![0; length.into()];
        stream.read_exact(&mut datagram).await?;
        datagram.make_ascii_uppercase();
        stream.write_u16(length).await?;
        stream.write_all(&datagram).await?;
    }
}

fn any(protocol: Protocol) -> Mapping {
    Mapping { host_ip: None, host_ports: None, container_port: 80, protocol }
}

fn on(port: u16) -> Mapping {
    Mapping { host_ports: Some(port..=port), ..any(Protocol::Tcp) }
}

fn v4(ports: &[Published]) -> SocketAddr {
    ports.iter().find(|port| port.address.is_ipv4()).expect("IPv4 is always there").address
}

async fn ask(address: SocketAddr, question: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("something listens");
    stream.write_all(question.as_bytes()).await.expect("it is read");
    stream.shutdown().await.expect("half-close");
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.expect("in time").expect("no reset");
    answer
}

#[tokio::test]
async fn a_connection_reaches_the_guest_and_its_half_close_too() {
    let ports = Ports::new(Arc::new(Shouting::default()));
    let published = ports.publish("id", "web", &[any(Protocol::Tcp)]).await.expect("free ports");
    for port in &published {
        assert!(port.address.ip().is_loopback(), "{port:?}");
        assert_eq!(port.address.port(), v4(&published).port(), "one port for both families");
        assert_eq!(ask(port.address, "are you there?").await, "ARE YOU THERE?");
    }
}

#[tokio::test]
async fn each_peer_has_a_stream_of_its_own_for_its_datagrams() {
    let guest = Arc::new(Shouting::default());
    let ports = Ports::new(guest.clone());
    let published = ports.publish("id", "dns", &[any(Protocol::Udp)]).await.expect("free ports");
    let mut peers = Vec::new();
    for _ in 0..3 {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        peer.connect(v4(&published)).await.expect("an address");
        peers.push(peer);
    }
    for round in 0..2 {
        for (number, peer) in peers.iter().enumerate() {
            let question = format!("peer {number}, round {round}");
            peer.send(question.as_bytes()).await.expect("sent");
            let mut answer = [0; 64];
            let length = timeout(SOON, peer.recv(&mut answer)).await.expect("in time").expect("ok");
            assert_eq!(answer[..length], *question.to_uppercase().as_bytes());
        }
    }
    assert_eq!(guest.opened.load(Ordering::SeqCst), 3);
}

/// A guest that has much to say before it listens again. The ways to and from it hold one datagram.
struct Talkative;

const DATAGRAM: u16 = 512;
const QUESTIONS: u8 = 8;
/// For each question. All of them fit into the buffer of the peer's socket, so none is dropped.
const ANSWERS: usize = 8;

#[async_trait::async_trait]
impl Connect for Talkative {
    async fn connect(&self, _: &Target) -> io::Result<BoxStream> {
        let (near, mut far) = tokio::io::duplex(600);
        tokio::spawn(async move {
            for word in 0..QUESTIONS {
                let length = far.read_u16().await?;
                far.read_exact(&mut vec![0; length.into()]).await?;
                for _ in 0..ANSWERS {
                    far.write_u16(DATAGRAM).await?;
                    far.write_all(&[word; DATAGRAM as usize]).await?;
                }
            }
            io::Result::Ok(())
        });
        Ok(Box::pin(near))
    }
}

#[tokio::test]
async fn a_guest_that_answers_before_it_listens_stops_nothing() {
    let ports = Ports::new(Arc::new(Talkative));
    let published = ports.publish("id", "dns", &[any(Protocol::Udp)]).await.expect("free ports");
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    peer.connect(v4(&published)).await.expect("an address");
    for _ in 0..QUESTIONS {
        peer.send(&[0; DATAGRAM as usize]).await.expect("sent");
    }
    let mut answer = [0; 2048];
    loop {
        let length = timeout(SOON, peer.recv(&mut answer)).await.expect("in time").expect("ok");
        if answer[..length] == [QUESTIONS - 1; DATAGRAM as usize] {
            break;
        }
    }
}

#[tokio::test]
async fn all_is_published_or_nothing() {
    let ports = Ports::new(Arc::new(Shouting::default()));
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let taken = other.local_addr().expect("bound").port();
    let first = any(Protocol::Tcp);
    let error = ports.publish("id", "web", &[first, on(taken)]).await.expect_err("it is taken");
    assert!(matches!(&error, PublishError::Listen { address, .. } if address.port() == taken));
    assert_eq!(ports.table(), []);
    drop(other);
    ports.publish("id", "web", &[on(taken)]).await.expect("free by now");
}

#[tokio::test]
async fn a_port_of_ours_is_said_to_be_whose() {
    let ports = Ports::new(Arc::new(Shouting::default()));
    let published = ports.publish("1", "web", &[any(Protocol::Tcp)]).await.expect("free ports");
    let port = v4(&published).port();
    let error = ports.publish("2", "other", &[on(port)]).await.expect_err("it is taken");
    assert_eq!(
        error.to_string(),
        format!("port 127.0.0.1:{port}/tcp is already published by container web")
    );
}

#[tokio::test]
async fn the_first_free_port_of_a_range_is_taken_and_a_full_range_says_so() {
    let ports = Ports::new(Arc::new(Shouting::default()));
    // Two neighbours that are free: held until the range is asked for.
    let (first, second, low) = loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let low = first.local_addr().expect("bound").port();
        let Some(high) = low.checked_add(1) else { continue };
        if let Ok(second) = TcpListener::bind((Ipv4Addr::LOCALHOST, high)).await {
            break (first, second, low);
        }
    };
    let ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let range = Mapping {
        host_ip: ip,
        host_ports: Some(low..=low + 1),
        container_port: 80,
        protocol: Protocol::Tcp,
    };
    let wish = std::slice::from_ref(&range);
    let error = ports.publish("id", "web", wish).await.expect_err("both are taken");
    assert!(matches!(error, PublishError::RangeTaken { .. }), "{error}");
    drop(second);
    let published = ports.publish("id", "web", wish).await.expect("one is free");
    assert_eq!(v4(&published).port(), low + 1);
    drop(first);
}

#[tokio::test]
async fn what_is_withdrawn_is_closed_with_its_connections_and_free() {
    let ports = Ports::new(Arc::new(Shouting::default()));
    let published = ports.publish("id", "web", &[any(Protocol::Tcp)]).await.expect("free ports");
    let address = v4(&published);
    let mut open = TcpStream::connect(address).await.expect("something listens");
    open.write_all(b"half a quest").await.expect("it is read");
    timeout(SOON, ports.withdraw("id")).await.expect("it does not wait for the client");
    let mut rest = Vec::new();
    // The end or a reset: never an answer.
    let ended = timeout(SOON, open.read_to_end(&mut rest)).await.expect("in time");
    assert!(ended.is_err() || rest.is_empty());
    TcpListener::bind(address).await.expect("the port is free");
    assert!(ports.published("id").is_none());
}

#[tokio::test]
async fn only_what_is_wanted_is_kept() {
    let ports = Ports::new(Arc::new(Shouting::default()));
    for id in ["a", "b", "c"] {
        ports.publish(id, id, &[any(Protocol::Tcp)]).await.expect("free ports");
    }
    ports.retain(&["b"]).await;
    let left: Vec<_> = ports.table().into_iter().map(|open| open.container_id).collect();
    assert_eq!(left, ["b"]);
}

#[tokio::test]
async fn a_guest_that_cannot_be_reached_resets_the_client() {
    let guest = Shouting { refuse: true, ..Shouting::default() };
    let ports = Ports::new(Arc::new(guest));
    let published = ports.publish("id", "web", &[any(Protocol::Tcp)]).await.expect("free ports");
    let mut stream = TcpStream::connect(v4(&published)).await.expect("something listens");
    let mut answer = Vec::new();
    let error = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("in time");
    assert_eq!(error.expect_err("a reset").kind(), io::ErrorKind::ConnectionReset);
}
