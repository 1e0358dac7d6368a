//! The device between real unix sockets and a guest that is played here.

mod closing;
mod credit;
mod hostile;
mod opening;
mod queues;

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    device::Device,
    hybrid::Hybrid,
    packet::{HOST_CID, Header, Op, TYPE_STREAM},
};

const CID: u64 = 3;
/// A port that the guest listens on.
const PORT: u32 = 1024;
/// What the guest grants each connection.
const GUEST_BUFFER: u32 = 64 * 1024;

/// A device, its folder, and what the guest knows.
struct World {
    device: Device,
    folder: TempDir,
    /// Bytes that the guest's program has read, by host port.
    read: HashMap<u32, u32>,
}

impl World {
    fn new() -> Self {
        Self::with_limit(10_000)
    }

    fn with_limit(limit: usize) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let hybrid = Hybrid::bind(&folder.path().join("vsock.sock")).expect("bound");
        let device = Device::new(CID, hybrid, limit).expect("a device");
        Self { device, folder, read: HashMap::new() }
    }

    /// A program of the host's that asks for `port`.
    fn connect(&mut self, port: u32) -> UnixStream {
        let path = self.folder.path().join("vsock.sock");
        let mut stream = UnixStream::connect(path).expect("the device listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.write_all(format!("CONNECT {port}\n").as_bytes()).expect("written");
        stream
    }

    /// A connection that the guest has accepted, and its ports.
    fn established(&mut self) -> (UnixStream, u32) {
        let mut stream = self.connect(PORT);
        let (request, _) = self.packet();
        assert_eq!(request.op, Op::Request as u16);
        self.send(request.src_port, Op::Response, 0, &[]);
        let answer = format!("OK {}\n", request.src_port);
        assert_eq!(read(&mut stream, answer.len()), answer.as_bytes());
        (stream, request.src_port)
    }

    /// A program that listens for the guest on the host's `port`.
    fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.folder.path().join(format!("vsock.sock_{port}"))).expect("bound")
    }

    /// The guest sends from `PORT` to `host`.
    fn send(&mut self, host: u32, op: Op, flags: u32, data: &[u8]) {
        let header = self.header(host, op as u16, flags, data.len());
        self.device.receive(&header, data);
    }

    fn header(&self, host: u32, op: u16, flags: u32, len: usize) -> Header {
        Header {
            src_cid: CID,
            dst_cid: HOST_CID,
            src_port: PORT,
            dst_port: host,
            len: u32::try_from(len).expect("small"),
            kind: TYPE_STREAM,
            op,
            flags,
            buf_alloc: GUEST_BUFFER,
            fwd_cnt: self.read.get(&host).copied().unwrap_or(0),
        }
    }

    /// All that the device has for the guest now.
    fn packets(&mut self) -> Vec<(Header, Vec<u8>)> {
        let mut packets = Vec::new();
        let mut room = [0; 4096];
        // What one poll accepts, the next may read.
        for _ in 0..3 {
            self.device.poll().expect("epoll works");
        }
        while let Some(header) = self.device.next_packet(&mut room) {
            assert_eq!((header.src_cid, header.dst_cid), (HOST_CID, CID));
            let data = room[..usize::try_from(header.len).expect("small")].to_vec();
            packets.push((header, data));
        }
        packets
    }

    /// The one packet that the device has for the guest, or will have soon.
    #[track_caller]
    fn packet(&mut self) -> (Header, Vec<u8>) {
        let mut packets = Vec::new();
        wait(|| {
            packets.append(&mut self.packets());
            !packets.is_empty()
        });
        assert_eq!(packets.len(), 1, "{packets:?}");
        packets.remove(0)
    }

    /// The one packet is for this.
    #[track_caller]
    fn expect(&mut self, op: Op, flags: u32) -> Header {
        let (header, _) = self.packet();
        assert_eq!((Op::from_number(header.op), header.flags), (Some(op), flags), "{header:?}");
        header
    }

    #[track_caller]
    fn expect_silence(&mut self) {
        assert_eq!(self.packets(), []);
    }
}

/// Waits for a condition.
#[track_caller]
fn wait(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "it did not come true");
        std::thread::yield_now();
    }
}

/// Exactly so many bytes.
#[track_caller]
fn read(stream: &mut UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("they come");
    bytes
}

/// All until the end.
#[track_caller]
fn read_all(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the end comes");
    bytes
}

/// Bytes that are not the same everywhere.
fn pattern(start: usize, count: usize) -> Vec<u8> {
    (start..start + count).map(|at| (at % 251) as u8).collect()
}
