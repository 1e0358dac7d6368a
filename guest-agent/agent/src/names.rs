//! The name server of one container: `net` knows the answers, this listens, forwards and waits.
//!
//! A question that is not about a container goes to the servers outside as it came, over the
//! protocol that it came by, one server after the other.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use linkspan_net::{
    Networks,
    dns::{self, Answer, Directory, Sockets},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use crate::accept::Retry;

/// For the log.
const SERVER: &str = "a container's name server";
/// How long a server outside may take. The resolver of the C library asks again after five seconds.
const OUTSIDE: Duration = Duration::from_secs(2);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// Questions and connections of one container at a time; what is more is dropped, as by any busy
/// server.
const AT_ONCE: usize = 128;
/// The largest message over UDP that is worth a buffer (RFC 6891 6.2.5), and some.
const UDP_BUFFER: usize = 8 << 10;

/// What one container may know.
#[derive(Debug, Clone)]
pub struct ContainerNames {
    networks: Arc<Networks>,
    container: Arc<str>,
}

impl ContainerNames {
    /// The names in the networks of `container`.
    #[must_use]
    pub fn new(networks: Arc<Networks>, container: &str) -> Self {
        Self { networks, container: container.into() }
    }
}

impl Directory for ContainerNames {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.networks.resolve(&self.container, name)
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        self.networks.reverse(&self.container, address)
    }
}

/// Serves until it is aborted.
pub async fn serve(
    sockets: Sockets,
    directory: impl Directory + Clone + Send + Sync + 'static,
    outside: Vec<SocketAddr>,
) {
    let made = UdpSocket::from_std(sockets.udp)
        .and_then(|udp| Ok((udp, TcpListener::from_std(sockets.tcp)?)));
    let (udp, tcp) = match made {
        Ok(made) => made,
        Err(error) => return tracing::error!(%error, "a container has no name server"),
    };
    let outside: Arc<[SocketAddr]> = outside.into();
    tokio::join!(
        serve_udp(udp, directory.clone(), Arc::clone(&outside)),
        serve_tcp(tcp, directory, outside)
    );
}

async fn serve_udp(socket: UdpSocket, directory: impl Directory, outside: Arc<[SocketAddr]>) {
    let socket = Arc::new(socket);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    // Aborted with this: a container that is gone is not answered.
    let mut forwards = JoinSet::new();
    let mut buffer = vec![0; UDP_BUFFER];
    let mut retry = Retry::new(SERVER);
    loop {
        while forwards.try_join_next().is_some() {}
        let received = match socket.recv_from(&mut buffer).await {
            // An answer to a client that has gone comes back as an error of the next call.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            received => received,
        };
        let Some((length, from)) = retry.after(received).await else { continue };
        let query = &buffer[..length];
        match dns::answer(query, dns::UDP_LIMIT, &directory) {
            Answer::Ignore => {}
            Answer::Reply(bytes) => send(&socket, &bytes, from).await,
            Answer::Forward => {
                let Ok(turn) = Arc::clone(&room).try_acquire_owned() else { continue };
                let (socket, outside, query) =
                    (Arc::clone(&socket), Arc::clone(&outside), query.to_vec());
                forwards.spawn(async move {
                    let _turn = turn;
                    let reply = ask_udp(&query, &outside).await;
                    if let Some(bytes) = reply.or_else(|| dns::failure(&query)) {
                        send(&socket, &bytes, from).await;
                    }
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(bytes, to).await {
        tracing::debug!(%error, "an answer was not delivered");
    }
}

async fn ask_udp(query: &[u8], outside: &[SocketAddr]) -> Option<Vec<u8>> {
    for server in outside {
        match timeout(OUTSIDE, ask_one_udp(query, *server)).await {
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server was not reached"),
            Err(_) => tracing::debug!(%server, "a name server did not answer"),
        }
    }
    None
}

/// From a port of its own, which the kernel chooses at random: an answer is hard to forge.
async fn ask_one_udp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; UDP_BUFFER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= 2 && buffer[..2] == query[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn serve_tcp(
    listener: TcpListener,
    directory: impl Directory + Clone + Send + Sync + 'static,
    outside: Arc<[SocketAddr]>,
) {
    let mut connections = JoinSet::new();
    let mut retry = Retry::new(SERVER);
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = listener.accept().await;
        let Some((stream, _)) = retry.after(accepted).await else { continue };
        if connections.len() >= AT_ONCE {
            continue;
        }
        let (directory, outside) = (directory.clone(), Arc::clone(&outside));
        connections.spawn(async move {
            // A client that goes away or talks nonsense is its own affair.
            let _ = converse(stream, &directory, &outside).await;
        });
    }
}

/// Questions with their length before them (RFC 1035 4.2.2), one after the other.
async fn converse(
    mut stream: TcpStream,
    directory: &impl Directory,
    outside: &[SocketAddr],
) -> io::Result<()> {
    loop {
        let query = timeout(IDLE, read_message(&mut stream)).await??;
        let reply = match dns::answer(&query, usize::from(u16::MAX), directory) {
            Answer::Ignore => return Ok(()),
            Answer::Reply(bytes) => Some(bytes),
            Answer::Forward => ask_tcp(&query, outside).await.or_else(|| dns::failure(&query)),
        };
        if let Some(bytes) = reply {
            timeout(IDLE, write_message(&mut stream, &bytes)).await??;
        }
    }
}

async fn ask_tcp(query: &[u8], outside: &[SocketAddr]) -> Option<Vec<u8>> {
    for server in outside {
        let ask = async {
            let mut stream = TcpStream::connect(*server).await?;
            write_message(&mut stream, query).await?;
            read_message(&mut stream).await
        };
        match timeout(OUTSIDE, ask).await {
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server was not reached"),
            Err(_) => tracing::debug!(%server, "a name server did not answer"),
        }
    }
    None
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsRawFd as _,
        process::{Command, Stdio},
    };

    use linkspan_sys::process::set_rlimit;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[derive(Clone)]
    struct OnlyDb;

    impl Directory for OnlyDb {
        fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
            (name == "db").then(|| vec![[172, 18, 0, 9].into()])
        }

        fn name(&self, _address: IpAddr) -> Option<String> {
            None
        }
    }

    fn query(name: &str) -> Vec<u8> {
        let mut bytes = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
        bytes
    }

    /// A server that listens on loopback, and where.
    fn listen(outside: Vec<SocketAddr>) -> (SocketAddr, SocketAddr) {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let at = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        tokio::spawn(serve(Sockets { udp, tcp }, OnlyDb, outside));
        at
    }

    async fn ask(server: SocketAddr, query: &[u8]) -> Vec<u8> {
        timeout(DEADLINE, ask_one_udp(query, server)).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_container_is_answered_here_and_everything_else_outside() {
        let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (udp, _) = listen(vec![outside.local_addr().unwrap()]);
        let reply = ask(udp, &query("db")).await;
        assert!(reply.ends_with(&[172, 18, 0, 9]), "{reply:?}");
        let asked = tokio::spawn(async move { ask(udp, &query("example.com")).await });
        let mut buffer = [0; 512];
        let received = timeout(DEADLINE, outside.recv_from(&mut buffer)).await.unwrap();
        let (length, from) = received.unwrap();
        assert_eq!(buffer[..length], query("example.com"));
        // As it came, whatever it is; but not under another question's number.
        outside.send_to(b"\0\x08forged", from).await.unwrap();
        outside.send_to(b"\0\x09answer", from).await.unwrap();
        assert_eq!(asked.await.unwrap(), b"\0\x09answer");
    }

    #[tokio::test]
    async fn over_tcp_it_is_the_same() {
        let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, tcp) = listen(vec![outside.local_addr().unwrap()]);
        let mut stream = TcpStream::connect(tcp).await.unwrap();
        write_message(&mut stream, &query("db")).await.unwrap();
        let reply = timeout(DEADLINE, read_message(&mut stream)).await.unwrap().unwrap();
        assert!(reply.ends_with(&[172, 18, 0, 9]), "{reply:?}");
        write_message(&mut stream, &query("example.com")).await.unwrap();
        let (mut server, _) = timeout(DEADLINE, outside.accept()).await.unwrap().unwrap();
        let asked = timeout(DEADLINE, read_message(&mut server)).await.unwrap().unwrap();
        assert_eq!(asked, query("example.com"));
        write_message(&mut server, b"answer").await.unwrap();
        let reply = timeout(DEADLINE, read_message(&mut stream)).await.unwrap().unwrap();
        assert_eq!(reply, b"answer");
    }

    /// Set in the process whose descriptors are to run out.
    const SCARCE: &str = "LINKSPAN_TEST_NAMES_SCARCE";

    #[test]
    fn a_time_without_descriptors_is_not_the_end() {
        if std::env::var_os(SCARCE).is_some() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            return runtime.unwrap().block_on(without_descriptors_for_a_while());
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "names::tests::a_time_without_descriptors_is_not_the_end"]);
        again.env(SCARCE, "1").stdout(Stdio::null());
        assert!(again.status().unwrap().success());
    }

    async fn without_descriptors_for_a_while() {
        const MOST: u64 = 1024;
        let may_have = |count| set_rlimit(nix::libc::RLIMIT_NOFILE, count, MOST).unwrap();
        let (_, tcp) = listen(Vec::new());
        let client = tokio::net::TcpSocket::new_v4().unwrap();
        let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        may_have(next.try_into().unwrap());
        let mut stream = timeout(DEADLINE, client.connect(tcp)).await.unwrap().unwrap();
        // The server has tried, once or more often.
        tokio::time::sleep(Duration::from_millis(200)).await;
        may_have(MOST);
        write_message(&mut stream, &query("db")).await.unwrap();
        let reply = timeout(DEADLINE, read_message(&mut stream)).await.unwrap().unwrap();
        assert!(reply.ends_with(&[172, 18, 0, 9]), "{reply:?}");
    }

    #[tokio::test]
    async fn when_nobody_outside_answers_the_answer_is_a_failure() {
        let (udp, _) = listen(Vec::new());
        let reply = ask(udp, &query("example.com")).await;
        // SERVFAIL
        assert_eq!((reply[..2].to_vec(), reply[3] & 0xf), (vec![0, 9], 2));
    }
}
