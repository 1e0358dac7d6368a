//! Servers that the tests put into containers.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    process::ExitCode,
    thread,
};

use nix::sys::socket::{setsockopt, sockopt};

/// The header of a message (RFC 1035 4.1.1).
const DNS_HEADER: usize = 12;

/// Sends every datagram back.
pub(crate) fn udp_echo(port: u16) -> Result<ExitCode, String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(text)?;
    let mut datagram = vec![0; 65535];
    loop {
        let (length, peer) = socket.recv_from(&mut datagram).map_err(text)?;
        socket.send_to(&datagram[..length], peer).map_err(text)?;
    }
}

/// Sends back what comes, one connection after the other, and prints how each ended. One that
/// says `reset` is reset.
pub(crate) fn tcp_ends(port: u16) -> Result<ExitCode, String> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(text)?;
    loop {
        let (stream, _) = listener.accept().map_err(text)?;
        println!("{}", converse(stream).map_err(text)?);
    }
}

fn converse(mut stream: TcpStream) -> std::io::Result<&'static str> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok("ended"),
            Ok(count) if buffer[..count].ends_with(b"reset") => {
                // tcp(7): a linger time of zero makes the close a reset.
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&stream, sockopt::Linger, &at_once)?;
                return Ok("resetting");
            }
            Ok(count) => stream.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok("reset"),
            Err(error) => return Err(error),
        }
    }
}

/// A name server to which every name has this address, over UDP and TCP.
pub(crate) fn name_server(address: Ipv4Addr) -> Result<ExitCode, String> {
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).map_err(text)?;
    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 53)).map_err(text)?;
    thread::spawn(move || {
        for stream in tcp.incoming() {
            // A client that leaves is its own affair.
            let _ = stream.and_then(|stream| answer_stream(stream, address));
        }
    });
    let mut query = [0; 512];
    loop {
        let (length, peer) = udp.recv_from(&mut query).map_err(text)?;
        udp.send_to(&answer(&query[..length], address), peer).map_err(text)?;
    }
}

/// One question, with its length before it (RFC 1035 4.2.2).
fn answer_stream(mut stream: TcpStream, address: Ipv4Addr) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut query = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut query)?;
    let reply = answer(&query, address);
    let length = u16::try_from(reply.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &reply].concat())
}

/// The question again, and after it the address if it asks for one.
fn answer(query: &[u8], address: Ipv4Addr) -> Vec<u8> {
    // Up to the root's empty label; then type and class. Questions have no compressed names.
    let mut end = DNS_HEADER;
    while let Some(&label) = query.get(end) {
        end += 1 + usize::from(label);
        if label == 0 {
            break;
        }
    }
    let Some(kind) = query.get(end..end + 4) else { return Vec::new() };
    let asks_for_it = kind == [0, 1, 0, 1];
    let mut reply = query[..end + 4].to_vec();
    // An answer, recursion was desired and is available; one question.
    reply[2..DNS_HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, asks_for_it.into(), 0, 0, 0, 0]);
    if asks_for_it {
        // The name of the question, an address of the Internet, for a minute, four bytes.
        reply.extend([0xc0, DNS_HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address.octets());
    }
    reply
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
