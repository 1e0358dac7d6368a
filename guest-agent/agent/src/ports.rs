//! Published ports, the guest's half: orders to the host that holds `PortService.Serve` open, and
//! the far end of each connection that comes through a port.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use futures::{SinkExt as _, Stream, StreamExt as _};
use linkspan_containers::ports::{
    Broker, PortError, PortErrorKind, PortMapping as ContainerMapping,
    PublishedPort as ContainerPort,
};
use linkspan_proto::{
    connection::Connection,
    error::{ErrorCode, Failure},
    v1::{
        PortAnswer, PortMapping, PortOrder, PortProtocol, PortTarget, PublishPorts, PublishedPort,
        SyncPorts, WithdrawPorts, port_order,
    },
};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, copy_bidirectional_with_sizes},
    net::{TcpStream, UdpSocket},
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::rpc::ports as wire_ports;

/// How long a container that publishes ports waits for a host. Longer than a daemon takes to say
/// Hello and to call; short enough not to look like a hang.
const HOST_WITHIN: Duration = Duration::from_secs(10);
/// How long the host may take to bind or to close sockets.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a container may take to accept a connection: what Linux gives a lost SYN or two.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A `PortTarget` is an id and two small numbers.
const LONGEST_TARGET: usize = 256;
/// The most that a UDP datagram can carry.
const MOST_BYTES: usize = 65535;
/// Bytes of buffer for each direction of a connection, which become a chunk of the stream. Memory of
/// the machine, for each connection that has something to carry.
const BUFFER: usize = 64 << 10;
/// As long as the host keeps a peer.
const SILENCE: Duration = Duration::from_secs(90);

/// What is published, and the way to the host. Cheap to clone.
#[derive(Clone, Default)]
pub struct Ports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A host has come.
    linked: Notify,
}

#[derive(Default)]
struct State {
    /// By container id; with the ports that the host chose, so that it opens the same again.
    wanted: BTreeMap<String, PublishPorts>,
    link: Option<Link>,
    last: u64,
}

struct Link {
    number: u64,
    orders: mpsc::UnboundedSender<PortOrder>,
    waiting: HashMap<u64, oneshot::Sender<PortAnswer>>,
}

impl Ports {
    /// Has the host listen for a container: on all of its ports or on none.
    ///
    /// # Errors
    /// The host's, with its words; `Unavailable` when there is no host.
    pub async fn publish(
        &self,
        container_id: &str,
        container_name: &str,
        mappings: Vec<PortMapping>,
    ) -> Result<Vec<PublishedPort>, Failure> {
        let mut order = PublishPorts {
            container_id: container_id.to_owned(),
            container_name: container_name.to_owned(),
            mappings,
        };
        let answer = self.order(port_order::Kind::Publish(order.clone())).await;
        // A host that was slow may have opened them all the same.
        let answer = answer.inspect_err(|_| self.forget(container_id))?;
        if let Some(error) = answer.error {
            return Err(error.into());
        }
        order.mappings = answer.ports.iter().map(again).collect();
        self.0.state.lock().wanted.insert(container_id.to_owned(), order);
        Ok(answer.ports)
    }

    /// Has the host close a container's ports. One that is away learns it when it comes back.
    pub async fn withdraw(&self, container_id: &str) {
        let known = {
            let mut state = self.0.state.lock();
            state.wanted.remove(container_id).is_some() && state.link.is_some()
        };
        if known {
            let order = WithdrawPorts { container_id: container_id.to_owned() };
            if let Err(error) = self.order(port_order::Kind::Withdraw(order)).await {
                tracing::debug!(error = %error.message, "the host did not confirm that ports are closed");
            }
        }
    }

    /// Has the host close a container's ports, whenever it comes to it.
    fn forget(&self, container_id: &str) {
        let mut state = self.0.state.lock();
        state.last += 1;
        let id = state.last;
        if let Some(link) = &state.link {
            let order = WithdrawPorts { container_id: container_id.to_owned() };
            // A host that has gone is told what is to be open when it comes back.
            let _ =
                link.orders.send(PortOrder { id, kind: Some(port_order::Kind::Withdraw(order)) });
        }
    }

    async fn order(&self, kind: port_order::Kind) -> Result<PortAnswer, Failure> {
        let away = || {
            Failure::new(ErrorCode::Unavailable, "no host is there to publish ports on")
                .hint("the daemon connects by itself; try again")
        };
        let answer = timeout(HOST_WITHIN, self.send(kind)).await.map_err(|_| away())?;
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            // The call ended with the order under way.
            Ok(Err(_)) => Err(away()),
            Err(_) => {
                let seconds = ANSWER_WITHIN.as_secs();
                let what = format!("the host did not answer an order for ports within {seconds} s");
                Err(Failure::new(ErrorCode::TimedOut, what))
            }
        }
    }

    /// Sends an order once there is a host.
    async fn send(&self, kind: port_order::Kind) -> oneshot::Receiver<PortAnswer> {
        loop {
            let linked = self.0.linked.notified();
            {
                let mut state = self.0.state.lock();
                state.last += 1;
                let id = state.last;
                if let Some(link) = &mut state.link {
                    let (sender, answer) = oneshot::channel();
                    let order = PortOrder { id, kind: Some(kind.clone()) };
                    if link.orders.send(order).is_ok() {
                        // Of orders that were given up.
                        link.waiting.retain(|_, waiting| !waiting.is_closed());
                        link.waiting.insert(id, sender);
                        return answer;
                    }
                }
            }
            linked.await;
        }
    }

    /// A host's call: the orders for it, the first of which tells all that is to be open. Its
    /// answers are read until it leaves.
    pub fn serve<E: Send + 'static>(
        &self,
        mut answers: impl Stream<Item = Result<PortAnswer, E>> + Send + Unpin + 'static,
    ) -> mpsc::UnboundedReceiver<PortOrder> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let number = {
            let mut state = self.0.state.lock();
            state.last += 1;
            let number = state.last;
            let publications = state.wanted.values().cloned().collect();
            let sync = port_order::Kind::Sync(SyncPorts { publications });
            // The receiver is in our hands.
            let _ = orders.send(PortOrder { id: number, kind: Some(sync) });
            // The one before loses its sender, and so its call ends.
            state.link = Some(Link { number, orders, waiting: HashMap::new() });
            number
        };
        self.0.linked.notify_waiters();
        let ports = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(answer)) = answers.next().await {
                let mut state = ports.0.state.lock();
                let Some(link) = state.link.as_mut().filter(|link| link.number == number) else {
                    return;
                };
                if let Some(waiting) = link.waiting.remove(&answer.id) {
                    // Whoever waited may have given up.
                    let _ = waiting.send(answer);
                }
            }
            let mut state = ports.0.state.lock();
            if state.link.as_ref().is_some_and(|link| link.number == number) {
                state.link = None;
            }
        });
        receiver
    }
}

#[async_trait]
impl Broker for Ports {
    async fn publish(
        &self,
        container: &str,
        name: &str,
        wanted: &[ContainerMapping],
    ) -> Result<Vec<ContainerPort>, PortError> {
        let mappings = wanted.iter().map(wire_ports::mapping_to_wire).collect();
        let ports = Self::publish(self, container, name, mappings).await;
        let ports = match ports.map(|ports| wire_ports::published(&ports)) {
            Ok(Err(nonsense)) => {
                Self::withdraw(self, container).await;
                Err(nonsense)
            }
            Ok(known) => known,
            Err(refusal) => Err(refusal),
        };
        ports.map_err(|failure| PortError {
            kind: match failure.code {
                ErrorCode::InUse => PortErrorKind::InUse,
                ErrorCode::PermissionDenied => PortErrorKind::Denied,
                ErrorCode::InvalidArgument => PortErrorKind::Invalid,
                ErrorCode::Unavailable | ErrorCode::TimedOut => PortErrorKind::Unavailable,
                _ => PortErrorKind::Failed,
            },
            message: failure.message,
            hint: failure.hint,
        })
    }

    async fn withdraw(&self, container: &str) {
        Self::withdraw(self, container).await;
    }
}

/// The wish that gives the same port again.
fn again(port: &PublishedPort) -> PortMapping {
    PortMapping {
        host_ip: port.host_ip.clone(),
        host_port: port.host_port,
        host_port_last: port.host_port,
        container_port: port.container_port,
        protocol: port.protocol,
    }
}

/// The far end of a connection through a port, from its `PortTarget` on. `address` tells where a
/// container is.
///
/// # Errors
/// When the target cannot be read, its container has no address, or one of the two ends breaks.
pub async fn connect<S>(
    mut stream: S,
    address: impl FnOnce(&str) -> Option<IpAddr>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let target = timeout(CONNECT_WITHIN, read_target(&mut stream)).await??;
    let port = u16::try_from(target.port).map_err(invalid)?;
    let id = &target.container_id;
    let ip = address(id).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("container {id} has no address"))
    })?;
    match target.protocol() {
        PortProtocol::Tcp => {
            let mut inner = timeout(CONNECT_WITHIN, TcpStream::connect((ip, port))).await??;
            inner.set_nodelay(true)?;
            let mut outer = Connection::new(stream);
            let result =
                copy_bidirectional_with_sizes(&mut outer, &mut inner, BUFFER, BUFFER).await;
            if result.is_err() {
                // Each end of a connection that breaks sees a reset: this one by a linger time of
                // zero (socket(7)), the client because the stream ends without its last chunk.
                inner.set_zero_linger()?;
            }
            result.map(drop)
        }
        PortProtocol::Udp => {
            let any: IpAddr = if ip.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
            let inner = UdpSocket::bind((any, 0)).await?;
            inner.connect((ip, port)).await?;
            datagrams(stream, &inner).await
        }
    }
}

async fn read_target(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<PortTarget> {
    // Byte by byte up to the length's end: what follows the message is the connection's.
    let mut head = Vec::new();
    let length = loop {
        head.push(stream.read_u8().await?);
        match prost::decode_length_delimiter(head.as_slice()) {
            Ok(length) if length <= LONGEST_TARGET => break length,
            Ok(length) => return Err(invalid(format!("a target of {length} bytes"))),
            Err(error) if head.len() >= 10 => return Err(invalid(error)),
            Err(_) => {}
        }
    };
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    PortTarget::decode(message.as_slice()).map_err(invalid)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// One peer's datagrams, both ways, until the host ends the stream or both have been silent.
async fn datagrams(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    inner: &UdpSocket,
) -> io::Result<()> {
    let codec = LengthDelimitedCodec::builder().length_field_type::<u16>().new_codec();
    let (mut to_host, mut from_host) = Framed::new(stream, codec).split();
    let heard = Notify::new();
    // Side by side: a host that takes none for a while is no reason not to hear it.
    let there = async {
        while let Some(datagram) = from_host.next().await {
            // One that nobody takes is lost, as on any network.
            let _ = inner.send(&datagram?).await;
            heard.notify_one();
        }
        Ok(())
    };
    let back = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(MOST_BYTES);
            // An error is the echo of a datagram that nobody took.
            if inner.recv_buf(&mut buffer).await.is_ok() {
                to_host.send(buffer.split().freeze()).await?;
            }
            heard.notify_one();
        }
    };
    let silence = async { while timeout(SILENCE, heard.notified()).await.is_ok() {} };
    tokio::select! {
        result = there => result,
        result = back => result,
        () = silence => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::Ipv4Addr};

    use linkspan_proto::v1::ErrorInfo;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    /// A host that answers every order with `answer`, and tells which orders came.
    fn host(
        ports: &Ports,
        answer: impl Fn(&PortOrder) -> PortAnswer + Send + 'static,
    ) -> mpsc::UnboundedReceiver<PortOrder> {
        let (answers, receiver) = mpsc::unbounded_channel::<Result<_, Infallible>>();
        let mut orders = ports.serve(UnboundedReceiverStream::new(receiver));
        let (seen, log) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                let _ = answers.send(Ok(answer(&order)));
                let _ = seen.send(order);
            }
        });
        log
    }

    fn yes(order: &PortOrder) -> PortAnswer {
        let ports = match &order.kind {
            Some(port_order::Kind::Publish(order)) => order
                .mappings
                .iter()
                .map(|mapping| PublishedPort {
                    host_ip: "127.0.0.1".into(),
                    host_port: 49152,
                    container_port: mapping.container_port,
                    protocol: mapping.protocol,
                })
                .collect(),
            _ => Vec::new(),
        };
        PortAnswer { id: order.id, ports, error: None }
    }

    fn http() -> Vec<PortMapping> {
        vec![PortMapping { container_port: 80, ..PortMapping::default() }]
    }

    #[tokio::test]
    async fn a_host_that_comes_back_is_told_the_ports_that_the_first_one_chose() {
        let ports = Ports::default();
        let _first = host(&ports, yes);
        let published = ports.publish("id", "web", http()).await.expect("the host says yes");
        assert_eq!(published[0].host_port, 49152);
        let mut second = host(&ports, yes);
        let Some(port_order::Kind::Sync(sync)) = second.recv().await.expect("an order").kind else {
            panic!("the first order is not sync");
        };
        assert_eq!(sync.publications.len(), 1);
        assert_eq!(sync.publications[0].mappings[0].host_port, 49152);
        ports.withdraw("id").await;
        let last = second.recv().await.expect("an order").kind;
        assert!(
            matches!(last, Some(port_order::Kind::Withdraw(order)) if order.container_id == "id")
        );
    }

    #[tokio::test]
    async fn a_refusal_is_the_hosts_and_leaves_nothing_wanted() {
        let ports = Ports::default();
        let _host = host(&ports, |order| {
            let failure = Failure::new(ErrorCode::InUse, "port 80 is taken");
            let error = matches!(order.kind, Some(port_order::Kind::Publish(_)));
            PortAnswer {
                id: order.id,
                ports: Vec::new(),
                error: error.then(|| ErrorInfo::from(failure)),
            }
        });
        let failure = ports.publish("id", "web", http()).await.expect_err("it is taken");
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (ErrorCode::InUse, "port 80 is taken")
        );
        assert!(ports.0.state.lock().wanted.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_host_a_publication_fails_in_time() {
        let failure = Ports::default().publish("id", "web", http()).await.expect_err("no host");
        assert_eq!(failure.code, ErrorCode::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn ports_of_an_order_that_was_not_answered_in_time_are_closed() {
        let ports = Ports::default();
        let (_answers, receiver) = mpsc::unbounded_channel::<Result<_, Infallible>>();
        let mut orders = ports.serve(UnboundedReceiverStream::new(receiver));
        let failure = ports.publish("id", "web", http()).await.expect_err("nobody answers");
        assert_eq!(failure.code, ErrorCode::TimedOut);
        let mut told = Vec::new();
        while let Ok(order) = orders.try_recv() {
            told.extend(order.kind);
        }
        let last = told.pop().expect("an order");
        assert!(matches!(told.pop(), Some(port_order::Kind::Publish(_))), "{told:?}");
        let is_it = |order: &WithdrawPorts| order.container_id == "id";
        assert!(matches!(&last, port_order::Kind::Withdraw(order) if is_it(order)), "{last:?}");
    }

    #[tokio::test]
    async fn ports_of_an_answer_that_makes_no_sense_are_closed() {
        let ports = Ports::default();
        let mut orders = host(&ports, |order| {
            let mut answer = yes(order);
            answer.ports.iter_mut().for_each(|port| port.host_ip = "nonsense".into());
            answer
        });
        let wanted = ContainerMapping {
            host_ip: None,
            host_ports: None,
            port: "80/tcp".parse().expect("a port"),
        };
        let refused = Broker::publish(&ports, "id", "web", &[wanted]).await;
        refused.expect_err("it makes no sense");
        assert!(ports.0.state.lock().wanted.is_empty());
        let mut told = Vec::new();
        while let Ok(order) = orders.try_recv() {
            told.extend(order.kind);
        }
        assert!(matches!(told.last(), Some(port_order::Kind::Withdraw(_))), "{told:?}");
    }

    #[tokio::test]
    async fn datagrams_come_in_while_the_host_takes_none() {
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = inside.local_addr().expect("bound").port();
        let (mut near, far) = tokio::io::duplex(64);
        let target = PortTarget {
            container_id: "id".into(),
            port: port.into(),
            protocol: PortProtocol::Udp.into(),
        };
        near.write_all(&target.encode_length_delimited_to_vec()).await.expect("it is read");
        let far = tokio::spawn(connect(far, |_| Some(Ipv4Addr::LOCALHOST.into())));
        let within = Duration::from_secs(20);
        let mut buffer = [0; 64];
        for number in 0..20 {
            near.write_all(&[0, 1, number]).await.expect("it is read");
            let taken = timeout(within, inside.recv_from(&mut buffer)).await;
            let (_, peer) = taken.expect("it comes").expect("a datagram");
            assert_eq!(buffer[0], number);
            inside.send_to(&[number; 60], peer).await.expect("it is sent");
        }
        drop(near);
        let _ = timeout(within, far).await.expect("it ends with the host").expect("no panic");
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_containers_port_with_its_half_close() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (mut near, far) = tokio::io::duplex(1024);
        let target = PortTarget { container_id: "id".into(), port: port.into(), protocol: 0 };
        near.write_all(&target.encode_length_delimited_to_vec()).await.expect("it is read");
        let mut near = Connection::new(near);
        near.write_all(b"question").await.expect("it is read");
        near.shutdown().await.expect("half-close");
        let far = tokio::spawn(connect(far, |id| (id == "id").then(|| Ipv4Addr::LOCALHOST.into())));
        let (mut server, _) = listener.accept().await.expect("a connection");
        let mut question = String::new();
        server.read_to_string(&mut question).await.expect("text");
        server.write_all(b"answer").await.expect("it is read");
        drop(server);
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.expect("text");
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
        far.await.expect("no panic").expect("no error");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_reset_at_both_ends() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let reset = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        for by_container in [true, false] {
            let (mut near, far) = tokio::io::duplex(1024);
            let target = PortTarget { container_id: "id".into(), port: port.into(), protocol: 0 };
            near.write_all(&target.encode_length_delimited_to_vec()).await.expect("it is read");
            let far = tokio::spawn(connect(far, |_| Some(Ipv4Addr::LOCALHOST.into())));
            let (mut server, _) = listener.accept().await.expect("a connection");
            let mut near = Connection::new(near);
            let mut byte = [0];
            if by_container {
                server.set_zero_linger().expect("a socket");
                drop(server);
                reset(near.read(&mut byte).await.expect_err("it broke off"));
            } else {
                drop(near);
                reset(server.read(&mut byte).await.expect_err("it broke off"));
            }
            let _ = far.await.expect("no panic").expect_err("it broke off");
        }
    }

    #[tokio::test]
    async fn a_target_that_is_too_long_or_nonsense_is_refused() {
        for bytes in [&[0xff; 16][..], &[0xff, 0xff, 0x03], &[2, 0xff, 0xff]] {
            let error = connect(tokio::io::join(bytes, tokio::io::sink()), |_| None).await;
            assert_eq!(error.expect_err("nonsense").kind(), io::ErrorKind::InvalidData);
        }
    }
}
