//! All connections of one guest, and what is on its way to it. Knows no queues: the guest's packets
//! come in by [`Device::receive`] and go out by [`Device::next_packet`].
//!
//! Connections take turns, one packet each, so that a busy one keeps no other waiting. What the
//! guest may send on one is bounded by the credit that it is granted, however slow the host's
//! program is; so nobody's slowness is anybody else's, and memory is bounded too (see
//! [`Device::buffer`]).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    ops::RangeInclusive,
    os::unix::net::UnixStream,
};

use rustix::{
    event::{
        EventfdFlags, epoll,
        epoll::{CreateFlags, EventData, EventFlags},
        eventfd,
    },
    fd::{AsFd, BorrowedFd, OwnedFd},
    time::Timespec,
};

use crate::{
    connection::{Connection, Fate, Next, Ports},
    hybrid::{self, Hybrid, Request},
    packet::{HOST_CID, Header, Op, TYPE_STREAM},
};

/// Host ports of connections that the host opens. The guest cannot connect to these, so no two
/// connections ever have the same ports.
const HOST_PORTS: RangeInclusive<u32> = 1 << 30..=u32::MAX / 2;

/// The buffer of each of the first [`WIDE_CONNECTIONS`], and of each further one.
const WIDE_BUFFER: u32 = 256 * 1024;
const NARROW_BUFFER: u32 = 16 * 1024;
const WIDE_CONNECTIONS: usize = 256;

/// Answers to packets that belong to no connection. A guest that causes more and takes none loses
/// the rest.
const MOST_REPLIES: usize = 4096;

/// Events taken from epoll at once.
const EVENTS: usize = 64;

/// What epoll calls its sources; connections and greetings have numbers from `FIRST_ID`.
const LISTENER: u64 = 0;
const AGAIN: u64 = 1;
const FIRST_ID: u64 = 2;

#[derive(Debug)]
pub(crate) struct Device {
    guest_cid: u64,
    hybrid: Hybrid,
    epoll: OwnedFd,
    /// Written to when there is more to do than one turn should.
    again: OwnedFd,
    connections: HashMap<u64, Connection>,
    /// Connections that the guest knows.
    ids: HashMap<Ports, u64>,
    /// Host ports of connections that the host opened.
    host_ports: HashSet<u32>,
    /// Programs that have not yet said which port they want.
    greetings: HashMap<u64, UnixStream>,
    /// Connections that have something for the guest, in turn.
    ready: VecDeque<u64>,
    replies: VecDeque<Header>,
    next_id: u64,
    next_port: u32,
    /// The most connections and greetings together.
    limit: usize,
}

impl Device {
    /// A device for the guest `guest_cid` that has at most `limit` connections.
    pub(crate) fn new(guest_cid: u64, hybrid: Hybrid, limit: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let again = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &hybrid, EventData::new_u64(LISTENER), edge)?;
        epoll::add(&epoll, &again, EventData::new_u64(AGAIN), edge)?;
        Ok(Self {
            guest_cid,
            hybrid,
            epoll,
            again,
            connections: HashMap::new(),
            ids: HashMap::new(),
            host_ports: HashSet::new(),
            greetings: HashMap::new(),
            ready: VecDeque::new(),
            replies: VecDeque::new(),
            next_id: FIRST_ID,
            next_port: *HOST_PORTS.start(),
            limit,
        })
    }

    /// Makes [`as_fd`](Self::as_fd) readable once.
    pub(crate) fn wake(&self) -> io::Result<()> {
        match rustix::io::write(&self.again, &1_u64.to_ne_bytes()) {
            // Full: it is readable already.
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles what has happened on the host's side, without waiting for more.
    ///
    /// # Errors
    /// When epoll fails, which leaves the device of no use.
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spare = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, spare, Some(&at_once)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(),
                // Edge-triggered: the next write makes the next event.
                AGAIN => {}
                id if self.greetings.contains_key(&id) => self.greet(id, event.flags),
                id => self.on_events(id, event.flags),
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            match self.hybrid.accept() {
                Ok(Some(stream)) => self.welcome(stream),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection from the host");
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        if self.is_full() {
            // The program sees the end of its stream: refused.
            tracing::warn!(limit = self.limit, "refused the host a connection: there are too many");
            return;
        }
        let id = self.fresh_id();
        if self.watch(id, &stream) {
            self.greetings.insert(id, stream);
            // What it sent before it was watched makes an event too.
        }
    }

    fn greet(&mut self, id: u64, events: EventFlags) {
        let Some(stream) = self.greetings.remove(&id) else { return };
        if events.contains(EventFlags::HUP) {
            // Nobody waits for the answer any more.
            return;
        }
        let port = match hybrid::read_request(&stream) {
            Ok(Request::Connect(port)) => port,
            Ok(Request::Incomplete) => {
                self.greetings.insert(id, stream);
                return;
            }
            Ok(Request::Foreign) | Err(_) => return,
        };
        let ports = Ports { host: self.fresh_port(), guest: port };
        let connection = Connection::from_host(ports, stream, self.buffer());
        self.host_ports.insert(ports.host);
        self.insert(id, connection);
    }

    fn on_events(&mut self, id: u64, events: EventFlags) {
        // It may have ended while an earlier event was handled.
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let fate = connection.on_events(events);
        self.follow(id, fate);
    }

    /// A packet from the guest; `data` is its whole payload.
    pub(crate) fn receive(&mut self, header: &Header, data: &[u8]) {
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            tracing::debug!(?header, "dropped a packet that is not from our guest to the host");
            return;
        }
        let ports = Ports { host: header.dst_port, guest: header.src_port };
        let id = self.ids.get(&ports).copied().filter(|_| header.kind == TYPE_STREAM);
        let found = id.and_then(|id| Some((id, self.connections.get_mut(&id)?)));
        if let Some((id, connection)) = found {
            let fate = connection.receive(header, data);
            self.follow(id, fate);
            return;
        }
        match Op::from_number(header.op) {
            // Never an answer to this one: two sides would answer each other for ever.
            Some(Op::Reset) => {}
            Some(Op::Request)
                if header.kind == TYPE_STREAM && !HOST_PORTS.contains(&ports.host) =>
            {
                self.guest_connects(ports, header);
            }
            _ => self.reply_reset(ports, header.kind),
        }
    }

    fn guest_connects(&mut self, ports: Ports, request: &Header) {
        if self.is_full() {
            tracing::warn!(
                limit = self.limit,
                "refused the guest a connection: there are too many"
            );
            self.reply_reset(ports, TYPE_STREAM);
            return;
        }
        let stream = match self.hybrid.connect(ports.host) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(port = ports.host, %error, "refused the guest a connection");
                self.reply_reset(ports, TYPE_STREAM);
                return;
            }
        };
        let id = self.fresh_id();
        if self.watch(id, &stream) {
            let connection = Connection::from_guest(ports, stream, self.buffer(), request);
            self.insert(id, connection);
        } else {
            self.reply_reset(ports, TYPE_STREAM);
        }
    }

    /// Whether there is something for the guest.
    pub(crate) fn wants_to_send(&self) -> bool {
        !self.replies.is_empty() || !self.ready.is_empty()
    }

    /// The next packet for the guest, its payload in `room`, which is not empty.
    pub(crate) fn next_packet(&mut self, room: &mut [u8]) -> Option<Header> {
        if let Some(reply) = self.replies.pop_front() {
            return Some(reply);
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            connection.queued = false;
            let ports = connection.ports;
            match connection.next_packet(room) {
                Next::Packet(op, content) => {
                    let (buf_alloc, fwd_cnt) = connection.tell_credit();
                    self.follow(id, Fate::Lives);
                    return Some(Header {
                        len: content.len,
                        flags: content.flags,
                        buf_alloc,
                        fwd_cnt,
                        ..self.header(ports, TYPE_STREAM, op)
                    });
                }
                Next::Nothing => {}
                Next::Reset => {
                    self.forget(id);
                    return Some(self.header(ports, TYPE_STREAM, Op::Reset));
                }
            }
        }
        None
    }

    fn header(&self, ports: Ports, kind: u16, op: Op) -> Header {
        Header {
            src_cid: HOST_CID,
            dst_cid: self.guest_cid,
            src_port: ports.host,
            dst_port: ports.guest,
            kind,
            op: op as u16,
            ..Header::default()
        }
    }

    fn reply_reset(&mut self, ports: Ports, kind: u16) {
        if self.replies.len() < MOST_REPLIES {
            let reply = self.header(ports, kind, Op::Reset);
            self.replies.push_back(reply);
        }
    }

    /// Ends every connection, as after a reset of the guest.
    pub(crate) fn reset(&mut self) {
        self.connections.clear();
        self.ids.clear();
        self.host_ports.clear();
        self.ready.clear();
        self.replies.clear();
    }

    fn insert(&mut self, id: u64, connection: Connection) {
        self.ids.insert(connection.ports, id);
        self.connections.insert(id, connection);
        self.follow(id, Fate::Lives);
    }

    /// Acts on what has become of a connection.
    fn follow(&mut self, id: u64, fate: Fate) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let ports = connection.ports;
        match fate {
            Fate::Lives => {
                if connection.wants_to_send() && !connection.queued {
                    connection.queued = true;
                    self.ready.push_back(id);
                }
            }
            Fate::Drains => self.release(id, ports),
            Fate::Reset => {
                self.forget(id);
                self.reply_reset(ports, TYPE_STREAM);
            }
            Fate::Gone => self.forget(id),
        }
    }

    /// Closes the stream, which also ends its being watched.
    fn forget(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            self.release(id, connection.ports);
        }
    }

    /// The guest no longer knows the connection. The ports may be another one's already.
    fn release(&mut self, id: u64, ports: Ports) {
        if self.ids.get(&ports) == Some(&id) {
            self.ids.remove(&ports);
            self.host_ports.remove(&ports.host);
        }
    }

    fn watch(&self, id: u64, stream: &UnixStream) -> bool {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let added = epoll::add(&self.epoll, stream, EventData::new_u64(id), flags);
        if let Err(error) = &added {
            tracing::warn!(%error, "cannot watch a connection");
        }
        added.is_ok()
    }

    fn is_full(&self) -> bool {
        self.connections.len() + self.greetings.len() >= self.limit
    }

    /// The buffer of the next connection. With thousands of them each gets less, so that all
    /// together hold 64 MiB and 16 KiB for each further one at most.
    fn buffer(&self) -> u32 {
        if self.connections.len() < WIDE_CONNECTIONS { WIDE_BUFFER } else { NARROW_BUFFER }
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// A host port that no other connection of the host's has. There are far more than
    /// connections.
    fn fresh_port(&mut self) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = if port == *HOST_PORTS.end() { *HOST_PORTS.start() } else { port + 1 };
            if !self.host_ports.contains(&port) {
                return port;
            }
        }
    }
}

/// Readable when [`Device::poll`] has something to do.
impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
