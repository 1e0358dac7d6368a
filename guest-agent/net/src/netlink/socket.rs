//! A netlink socket. It belongs to the network namespace of the thread that opened it, for good:
//! whoever holds it can change that namespace from any thread.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
            setsockopt, socket, sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};

use super::message::Message;

/// The kernel answers within the system call that sends. Not to be waited for forever when it
/// answers fewer messages than were sent.
const PATIENCE: Duration = Duration::from_secs(5);
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Which request the kernel refused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Its position in what was sent.
    pub(crate) index: usize,
    /// The kernel's reason.
    pub(crate) errno: Errno,
}

#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn open(protocol: SockProtocol) -> nix::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        let patience = TimeVal::new(i64::try_from(PATIENCE.as_secs()).unwrap_or(1), 0);
        setsockopt(&fd, ReceiveTimeout, &patience)?;
        Ok(Self { fd, sequence: 1 })
    }

    /// Sends all in one go and waits until each is answered. The first failure is returned; the
    /// kernel has carried out the others nevertheless (rtnetlink) or none (nf_tables).
    pub(crate) fn transact(&mut self, messages: Vec<Message>) -> Result<(), Failed> {
        let first = self.sequence;
        let mut waiting = messages.iter().filter(|message| message.is_answered()).count();
        self.send(messages).map_err(|errno| Failed { index: 0, errno })?;
        let mut failed = None;
        while waiting > 0 {
            let received = self.receive().map_err(|errno| Failed { index: 0, errno })?;
            for reply in replies(&received) {
                if reply.kind != ERROR {
                    continue;
                }
                let Some(code) = reply.code() else { continue };
                let index = reply.sequence.wrapping_sub(first) as usize;
                waiting -= 1;
                if code != 0 {
                    let errno = Errno::from_raw(code.saturating_neg());
                    // Of several failures the one that came first in the list is the cause.
                    let earlier = failed.is_none_or(|known: Failed| index < known.index);
                    if earlier {
                        failed = Some(Failed { index, errno });
                    }
                    // A batch that is refused as a whole is not answered message by message.
                    waiting = if index == 0 { 0 } else { waiting };
                }
                if waiting == 0 {
                    break;
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Sends a request for a list and returns each entry: what follows the common header.
    pub(crate) fn dump(&mut self, request: Message) -> nix::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        self.send(vec![request])?;
        loop {
            let received = self.receive()?;
            for reply in replies(&received) {
                match reply.kind {
                    DONE => return Ok(found),
                    ERROR => match reply.code() {
                        Some(0) | None => return Ok(found),
                        Some(code) => return Err(Errno::from_raw(code.saturating_neg())),
                    },
                    _ => found.push(reply.body.to_vec()),
                }
            }
        }
    }

    fn send(&mut self, messages: Vec<Message>) -> nix::Result<()> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(message.numbered(self.sequence));
            self.sequence = self.sequence.wrapping_add(1);
        }
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.fd.as_raw_fd(), &bytes, &kernel, MsgFlags::empty()).map(drop)
    }

    fn receive(&self) -> nix::Result<Vec<u8>> {
        // What the kernel puts into one datagram of a dump at most (NLMSG_GOODSIZE), and more.
        let mut buffer = vec![0; 64 << 10];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    buffer.truncate(length);
                    return Ok(buffer);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
                Err(errno) => return Err(errno),
            }
        }
    }
}

struct Reply<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

impl Reply<'_> {
    /// The code of an ERROR: 0, or a negative errno.
    fn code(&self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?))
    }
}

fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        let body = bytes.get(16..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply { kind, sequence, body })
    })
}
