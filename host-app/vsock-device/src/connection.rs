//! One connection: a stream between a program on the host and a socket in the guest.
//!
//! ```text
//!  host connects            Requested --RESPONSE--> Established --RST--> Draining --> gone
//!  guest connects           Accepted  --(told)----> Established
//! ```
//!
//! Owns the host's stream, what the guest has sent and the host has not yet taken, the credit of
//! both directions, and who has closed which of them. Knows neither queues nor other connections:
//! each call says what becomes of the connection ([`Fate`], [`Next`]), and its owner acts on it.
//!
//! The streams are watched edge-triggered, so `readable` is remembered until a read finds nothing.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use rustix::event::epoll::EventFlags;

use crate::{
    credit::{Granted, Taken},
    hybrid,
    packet::{Header, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND},
};

/// Which connection a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ports {
    pub(crate) host: u32,
    pub(crate) guest: u32,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fate {
    /// It goes on.
    Lives,
    /// The guest no longer knows it; the host has not yet taken all that the guest sent.
    Drains,
    /// It is over, and the guest must be told.
    Reset,
    /// It is over, and the guest knows.
    Gone,
}

/// The next packet to the guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// This, and the payload is in the caller's buffer.
    Packet(Op, Content),
    /// There is none for now.
    Nothing,
    /// The connection is over, and the guest must be told.
    Reset,
}

/// What a packet carries besides credit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) flags: u32,
    pub(crate) len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The host wants it; `told`: the guest has been asked.
    Requested {
        told: bool,
    },
    /// The guest wants it and the host has accepted; the guest has not been told.
    Accepted,
    Established,
    /// As [`Fate::Drains`].
    Draining,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) ports: Ports,
    /// Its owner has noted that it has something for the guest.
    pub(crate) queued: bool,
    stream: UnixStream,
    phase: Phase,
    /// Sent by the guest, not yet taken by the host. At most what was granted.
    to_host: VecDeque<u8>,
    granted: Granted,
    taken: Taken,
    readable: bool,
    /// `SHUTDOWN_*`: what the guest has said that it will not do any more.
    guest_closed: u32,
    /// `SHUTDOWN_*`: what the host will not do any more.
    host_closed: u32,
    /// As much of `host_closed` as the guest has been told.
    told_closed: u32,
    /// The guest asked for our credit.
    asked: bool,
    /// We asked the guest for its credit, and have not heard since.
    asking: bool,
}

impl Connection {
    /// The host's program on `stream` wants to be connected. `buffer`: how many bytes the guest
    /// may send before the program takes them.
    pub(crate) fn from_host(ports: Ports, stream: UnixStream, buffer: u32) -> Self {
        Self::new(ports, stream, buffer, Phase::Requested { told: false })
    }

    /// The guest wants to be connected (`request`), and the host's program on `stream` is there.
    pub(crate) fn from_guest(
        ports: Ports,
        stream: UnixStream,
        buffer: u32,
        request: &Header,
    ) -> Self {
        let mut connection = Self::new(ports, stream, buffer, Phase::Accepted);
        connection.taken.hear(request.buf_alloc, request.fwd_cnt);
        connection
    }

    fn new(ports: Ports, stream: UnixStream, buffer: u32, phase: Phase) -> Self {
        Self {
            ports,
            queued: false,
            stream,
            phase,
            to_host: VecDeque::new(),
            granted: Granted::new(buffer),
            taken: Taken::default(),
            // Perhaps: the first read will tell.
            readable: true,
            guest_closed: 0,
            host_closed: 0,
            told_closed: 0,
            asked: false,
            asking: false,
        }
    }

    /// Whether [`next_packet`](Self::next_packet) may have one.
    pub(crate) fn wants_to_send(&self) -> bool {
        match self.phase {
            Phase::Requested { told } => !told,
            Phase::Accepted => true,
            Phase::Established => {
                (self.readable && (self.taken.available() > 0 || !self.asking))
                    || self.told_closed != self.host_closed
                    || self.asked
                    || self.granted.is_news()
            }
            Phase::Draining => false,
        }
    }

    /// A packet from the guest; `data` is its whole payload.
    pub(crate) fn receive(&mut self, header: &Header, data: &[u8]) -> Fate {
        self.taken.hear(header.buf_alloc, header.fwd_cnt);
        self.asking = false;
        match (Op::from_number(header.op), self.phase) {
            (Some(Op::Reset), _) => self.guest_reset(),
            (Some(Op::Response), Phase::Requested { told: true }) => self.guest_accepted(),
            (Some(Op::Shutdown), Phase::Accepted | Phase::Established) => {
                self.guest_closes(header.flags)
            }
            (Some(Op::Data), Phase::Established) => self.guest_sends(data),
            (Some(Op::CreditUpdate), Phase::Accepted | Phase::Established) => Fate::Lives,
            (Some(Op::CreditRequest), Phase::Accepted | Phase::Established) => {
                self.asked = true;
                Fate::Lives
            }
            // Nothing that belongs here.
            _ => Fate::Reset,
        }
    }

    fn guest_accepted(&mut self) -> Fate {
        let answer = hybrid::answer(self.ports.host);
        // The stream is empty, so the few bytes go in whole, unless the program has gone.
        match self.stream.write(answer.as_bytes()) {
            Ok(count) if count == answer.len() => {
                self.phase = Phase::Established;
                Fate::Lives
            }
            _ => Fate::Reset,
        }
    }

    fn guest_sends(&mut self, data: &[u8]) -> Fate {
        let count = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if self.guest_closed & SHUTDOWN_SEND != 0 || self.granted.receive(count).is_err() {
            return Fate::Reset;
        }
        let passed = if self.host_closed & SHUTDOWN_RECEIVE != 0 {
            data.len()
        } else if self.to_host.is_empty() {
            match write(&self.stream, data) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.host_takes_none();
                    data.len()
                }
                Err(_) => return Fate::Reset,
            }
        } else {
            // Nothing may overtake what waits already.
            0
        };
        self.forward(passed);
        self.to_host.extend(&data[passed..]);
        Fate::Lives
    }

    fn guest_closes(&mut self, flags: u32) -> Fate {
        let before = self.guest_closed;
        self.guest_closed |= flags & SHUTDOWN_BOTH;
        if before & SHUTDOWN_RECEIVE == 0 && self.guest_closed & SHUTDOWN_RECEIVE != 0 {
            // The program's next write fails with EPIPE, as on a pipe without a reader.
            let _ = self.stream.shutdown(Shutdown::Read);
            self.readable = false;
        }
        self.after_writing()
    }

    /// The guest has forgotten the connection. What it sent before still arrives.
    fn guest_reset(&mut self) -> Fate {
        if self.to_host.is_empty() {
            return Fate::Gone;
        }
        self.phase = Phase::Draining;
        let _ = self.stream.shutdown(Shutdown::Read);
        self.readable = false;
        Fate::Drains
    }

    /// What epoll tells of the host's end.
    pub(crate) fn on_events(&mut self, events: EventFlags) -> Fate {
        let ended = events.intersects(EventFlags::HUP | EventFlags::ERR);
        if ended {
            match self.phase {
                Phase::Requested { told: true } => return Fate::Reset,
                Phase::Requested { told: false } | Phase::Draining => return Fate::Gone,
                Phase::Accepted | Phase::Established => self.host_takes_none(),
            }
        }
        let come = events.intersects(EventFlags::IN | EventFlags::RDHUP);
        let over = (self.guest_closed & SHUTDOWN_RECEIVE) | (self.host_closed & SHUTDOWN_SEND);
        if (come || ended) && over == 0 && self.phase != Phase::Draining {
            self.readable = true;
        }
        self.flush()
    }

    /// The next packet for the guest, its payload in `room`, which is not empty.
    pub(crate) fn next_packet(&mut self, room: &mut [u8]) -> Next {
        match self.phase {
            Phase::Requested { told: false } => {
                self.phase = Phase::Requested { told: true };
                return Next::plain(Op::Request);
            }
            Phase::Accepted => {
                self.phase = Phase::Established;
                return Next::plain(Op::Response);
            }
            Phase::Requested { told: true } | Phase::Draining => return Next::Nothing,
            Phase::Established => {}
        }
        if self.readable {
            match self.read(room) {
                Next::Nothing => {}
                next => return next,
            }
        }
        if self.told_closed != self.host_closed {
            self.told_closed = self.host_closed;
            return Next::Packet(Op::Shutdown, Content { flags: self.host_closed, len: 0 });
        }
        if self.asked || self.granted.is_news() {
            return Next::plain(Op::CreditUpdate);
        }
        Next::Nothing
    }

    /// What the host has sent, or the question for credit to send it.
    fn read(&mut self, room: &mut [u8]) -> Next {
        let credit = usize::try_from(self.taken.available()).unwrap_or(usize::MAX);
        if credit == 0 {
            if self.asking {
                return Next::Nothing;
            }
            self.asking = true;
            return Next::plain(Op::CreditRequest);
        }
        let most = credit.min(room.len());
        loop {
            match (&self.stream).read(&mut room[..most]) {
                Ok(0) => {
                    self.readable = false;
                    self.host_closed |= SHUTDOWN_SEND;
                    return Next::Nothing;
                }
                Ok(count) => {
                    let len = u32::try_from(count).unwrap_or(u32::MAX);
                    self.taken.send(len);
                    return Next::Packet(Op::Data, Content { flags: 0, len });
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Next::Nothing;
                }
                Err(_) => return Next::Reset,
            }
        }
    }

    /// `buf_alloc` and `fwd_cnt` for a packet that goes to the guest now. Each tells the guest all
    /// there is to tell about credit.
    pub(crate) fn tell_credit(&mut self) -> (u32, u32) {
        self.asked = false;
        self.granted.tell()
    }

    /// Gives the host what waits for it, as much as it takes.
    fn flush(&mut self) -> Fate {
        while !self.to_host.is_empty() {
            let (front, _) = self.to_host.as_slices();
            match write(&self.stream, front) {
                Ok(0) => break,
                Ok(count) => {
                    self.to_host.drain(..count);
                    self.forward(count);
                }
                Err(_) if self.phase == Phase::Draining => return Fate::Gone,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.host_takes_none(),
                Err(_) => return Fate::Reset,
            }
        }
        self.after_writing()
    }

    /// Passes the guest's end on, once all that it sent has been passed on.
    fn after_writing(&mut self) -> Fate {
        if !self.to_host.is_empty() {
            return Fate::Lives;
        }
        // A burst should not keep its memory for the rest of a long connection.
        self.to_host = VecDeque::new();
        if self.phase == Phase::Draining {
            return Fate::Gone;
        }
        if self.guest_closed == SHUTDOWN_BOTH {
            // The answer that the guest waits for (virtio 1.2, 5.10.6.6).
            return Fate::Reset;
        }
        if self.guest_closed & SHUTDOWN_SEND != 0 {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Fate::Lives
    }

    fn forward(&mut self, count: usize) {
        self.granted.forward(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn host_takes_none(&mut self) {
        self.host_closed |= SHUTDOWN_RECEIVE;
        self.forward(self.to_host.len());
        self.to_host = VecDeque::new();
    }
}

impl Next {
    fn plain(op: Op) -> Self {
        Self::Packet(op, Content::default())
    }
}

/// Writes as much as the stream takes now; 0 when it takes nothing.
fn write(mut stream: &UnixStream, data: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < data.len() {
        match stream.write(&data[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // What went before is the error's business too: the stream is at its end.
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
