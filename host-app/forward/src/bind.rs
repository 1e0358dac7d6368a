//! Which addresses and ports a mapping listens on, and the sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use crate::{Mapping, Protocol, PublishError};

/// As the standard library has it.
const BACKLOG: i32 = 1024;
/// A port that is free for IPv4 may be taken for IPv6. So often another one is tried.
const TRIES: usize = 16;

/// A socket with its address.
pub(crate) enum Bound {
    Tcp(TcpListener, SocketAddr),
    Udp(UdpSocket, SocketAddr),
}

impl Bound {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(_, address) | Self::Udp(_, address) => *address,
        }
    }
}

/// The sockets of a mapping: one, or two of the same port where it does not say an address.
pub(crate) fn bind(mapping: &Mapping) -> Result<Vec<Bound>, PublishError> {
    let protocol = mapping.protocol;
    let ip = mapping.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    // The second address: what `localhost` means to many programs first.
    let also = mapping.host_ip.is_none().then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    match &mapping.host_ports {
        None => {
            let mut result = bind_port(ip, also, 0, protocol);
            for _ in 1..TRIES {
                match result {
                    Err(error) if is_taken(&error) => result = bind_port(ip, also, 0, protocol),
                    _ => break,
                }
            }
            result
        }
        Some(range) => {
            for port in range.clone() {
                match bind_port(ip, also, port, protocol) {
                    Err(error) if is_taken(&error) && range.start() != range.end() => {}
                    result => return result,
                }
            }
            Err(PublishError::RangeTaken { ip, range: range.clone(), protocol })
        }
    }
}

fn is_taken(error: &PublishError) -> bool {
    matches!(error, PublishError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

fn bind_port(
    ip: IpAddr,
    also: Option<IpAddr>,
    port: u16,
    protocol: Protocol,
) -> Result<Vec<Bound>, PublishError> {
    let first = bind_one(SocketAddr::new(ip, port), protocol)?;
    let port = first.address().port();
    let mut bound = vec![first];
    if let Some(also) = also {
        match bind_one(SocketAddr::new(also, port), protocol) {
            Ok(second) => bound.push(second),
            Err(error) if is_taken(&error) => return Err(error),
            // No IPv6 here.
            Err(_) => {}
        }
    }
    Ok(bound)
}

fn bind_one(address: SocketAddr, protocol: Protocol) -> Result<Bound, PublishError> {
    let listen = || -> io::Result<Bound> {
        let kind = match protocol {
            Protocol::Tcp => Type::STREAM,
            Protocol::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if address.is_ipv6() {
            // `[::]` leaves IPv4 to whoever asks for it.
            socket.set_only_v6(true)?;
        }
        // On Unix: not to wait for the connections of the last run to be forgotten. On Windows
        // the option means something else: two programs with one port.
        #[cfg(unix)]
        if protocol == Protocol::Tcp {
            socket.set_reuse_address(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        match protocol {
            Protocol::Tcp => {
                socket.listen(BACKLOG)?;
                let listener = TcpListener::from_std(socket.into())?;
                let address = listener.local_addr()?;
                Ok(Bound::Tcp(listener, address))
            }
            Protocol::Udp => {
                let socket = UdpSocket::from_std(socket.into())?;
                let address = socket.local_addr()?;
                Ok(Bound::Udp(socket, address))
            }
        }
    };
    listen().map_err(|source| PublishError::Listen { address, protocol, source })
}
