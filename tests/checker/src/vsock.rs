//! Whether something in reach of this process answers on a vsock port.

use std::{fs::File, io::Read as _, io::Write as _, os::fd::AsRawFd as _, process::ExitCode};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, SockFlag, SockType, VsockAddr, connect, setsockopt, socket,
            sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

/// The beginning of HTTP/2 and empty settings (RFC 9113, sections 3.4 and 6.5).
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Prints `answered`, `closed`, `silent`, `no socket: ERRNO` or `no connection: ERRNO`.
pub(crate) fn ask(cid: u32, port: u32) -> Result<ExitCode, String> {
    println!("{}", ended(cid, port).unwrap_or_else(|why| why));
    Ok(ExitCode::SUCCESS)
}

fn ended(cid: u32, port: u32) -> Result<String, String> {
    let failed = |what: &str, errno: Errno| format!("{what}: {errno:?}");
    let stream = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None)
        .map_err(|errno| failed("no socket", errno))?;
    setsockopt(&stream, ReceiveTimeout, &TimeVal::seconds(5))
        .map_err(|errno| failed("no time-out", errno))?;
    connect(stream.as_raw_fd(), &VsockAddr::new(cid, port))
        .map_err(|errno| failed("no connection", errno))?;
    let mut stream = File::from(stream);
    if stream.write_all(HELLO).is_err() {
        return Ok("closed".into());
    }
    Ok(match stream.read(&mut [0]) {
        Ok(0) => "closed",
        Ok(_) => "answered",
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => "silent",
        Err(_) => "closed",
    }
    .into())
}
