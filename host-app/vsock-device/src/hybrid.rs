//! The host's side of the device: unix sockets.
//!
//! Host to guest: a program connects to one socket, sends `CONNECT <port>\n` and gets `OK <n>\n`
//! when the guest has accepted; the end of the stream instead means that it has not. Guest to
//! host: the socket `<path>_<port>`. Source of the protocol: Firecracker's `docs/vsock.md`.

use std::{
    io,
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fd::{AsFd, BorrowedFd},
    net::{
        AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
        socket_with,
    },
};

/// `CONNECT 4294967295\n`: the longest request.
const LONGEST_REQUEST: usize = 19;

/// The socket that the host's programs connect to.
#[derive(Debug)]
pub(crate) struct Hybrid {
    listener: UnixListener,
    path: PathBuf,
}

impl Hybrid {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self { listener: bind(path)?, path: path.to_owned() })
    }

    /// The next program; `None` when none waits.
    pub(crate) fn accept(&self) -> io::Result<Option<UnixStream>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Connects to whoever listens for the guest on the host's `port`. Does not wait: a listener
    /// whose backlog is full counts as none.
    pub(crate) fn connect(&self, port: u32) -> io::Result<UnixStream> {
        let mut path = self.path.clone().into_os_string();
        path.push(format!("_{port}"));
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket.into())
    }
}

impl AsFd for Hybrid {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// A listening socket that only this user may connect to, and that does not block.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What a program has asked for so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To be connected to this port of the guest's.
    Connect(u32),
    /// The beginning of that.
    Incomplete,
    /// Something that cannot become a request, or the end.
    Foreign,
}

/// Looks at what the program has sent, and takes the request out of the stream, not one byte more:
/// the program may send the guest's bytes without waiting for the answer.
pub(crate) fn read_request(stream: &UnixStream) -> io::Result<Request> {
    let mut line = [0; LONGEST_REQUEST];
    let seen = match recv(stream, &mut line, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, count)) => &line[..count],
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
            return Ok(Request::Incomplete);
        }
        Err(error) => return Err(error.into()),
    };
    if seen.is_empty() {
        return Ok(Request::Foreign);
    }
    let request = parse_request(seen);
    if let (Request::Connect(_), Some(end)) =
        (&request, seen.iter().position(|byte| *byte == b'\n'))
    {
        recv(stream, &mut line[..=end], RecvFlags::DONTWAIT)?;
    }
    Ok(request)
}

fn parse_request(bytes: &[u8]) -> Request {
    const START: &[u8] = b"CONNECT ";
    if bytes.len() <= START.len() {
        return if START.starts_with(bytes) { Request::Incomplete } else { Request::Foreign };
    }
    let Some(rest) = bytes.strip_prefix(START) else { return Request::Foreign };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let port = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok());
    match (port, rest.get(digits)) {
        (Some(port), Some(b'\n')) => Request::Connect(port),
        (Some(_), None) if bytes.len() < LONGEST_REQUEST => Request::Incomplete,
        _ => Request::Foreign,
    }
}

/// The answer to a program whose connection the guest has accepted.
pub(crate) fn answer(host_port: u32) -> String {
    format!("OK {host_port}\n")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_may_come_in_pieces_and_what_follows_stays_in_the_stream() {
        let (mut program, ours) = UnixStream::pair().expect("a pair");
        for piece in ["CON", "NECT 1", "02"] {
            assert_eq!(read_request(&ours).expect("readable"), Request::Incomplete);
            program.write_all(piece.as_bytes()).expect("written");
        }
        assert_eq!(read_request(&ours).expect("readable"), Request::Incomplete);
        program.write_all(b"4\nhello\n").expect("written");
        assert_eq!(read_request(&ours).expect("readable"), Request::Connect(1024));
        drop(program);
        let mut rest = String::new();
        (&ours).read_to_string(&mut rest).expect("readable");
        assert_eq!(rest, "hello\n");
    }

    #[test]
    fn a_program_that_goes_is_no_request() {
        let (program, ours) = UnixStream::pair().expect("a pair");
        drop(program);
        assert_eq!(read_request(&ours).expect("readable"), Request::Foreign);
    }

    #[test]
    fn sockets_are_the_users_alone_and_a_port_without_a_listener_refuses() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("vsock.sock");
        let hybrid = Hybrid::bind(&path).expect("bound");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(hybrid.accept().expect("nobody waits").is_none());
        assert_eq!(hybrid.connect(7).expect_err("nobody").kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(folder.path().join("vsock.sock_7")).expect("bound");
        hybrid.connect(7).expect("somebody listens");
        drop(listener);
        assert_eq!(hybrid.connect(7).expect_err("gone").kind(), io::ErrorKind::ConnectionRefused);
    }

    proptest! {
        #[test]
        fn every_port_is_understood_and_every_beginning_waits(port: u32) {
            let line = format!("CONNECT {port}\n");
            for end in 1..line.len() {
                prop_assert_eq!(parse_request(&line.as_bytes()[..end]), Request::Incomplete);
            }
            prop_assert_eq!(parse_request(line.as_bytes()), Request::Connect(port));
        }

        #[test]
        fn foreign_bytes_are_refused_at_the_latest_when_no_request_is_so_long(
            bytes in proptest::collection::vec(any::<u8>(), LONGEST_REQUEST),
        ) {
            prop_assert_ne!(parse_request(&bytes), Request::Incomplete);
        }
    }
}
