//! Descriptors over a unix socket (SCM_RIGHTS).

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::{Errno, Result};

/// Sends bytes, and with the first of them a descriptor. Returns how many bytes went.
pub fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<usize> {
    let fds: Vec<RawFd> = fd.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let control = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    let payload = [IoSlice::new(bytes)];
    loop {
        // MSG_NOSIGNAL: the other end may have died; that is an answer, not a reason to die too.
        let flags = MsgFlags::MSG_NOSIGNAL;
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &payload, control, flags, None) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Receives up to `buffer.len()` bytes and the descriptors that came with them, closed on exec.
/// Zero bytes: the other end has closed.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; 8]);
    let mut payload = [IoSliceMut::new(buffer)];
    loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = socket.as_fd().as_raw_fd();
        let message = match recvmsg::<()>(fd, &mut payload, Some(&mut control), flags) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = part {
                // SAFETY: the kernel has just installed these descriptors for this message, and
                // each is taken into ownership exactly once.
                fds.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        return Ok((message.bytes, fds));
    }
}
