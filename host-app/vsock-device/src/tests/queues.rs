//! Guest memory: the driver's side of both queues, in memory.

use proptest::prelude::*;
use virtio_queue::{
    Queue,
    desc::{RawDescriptor, split::Descriptor},
    mock::MockSplitQueue,
};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryMmap};

use super::*;
use crate::{
    packet::HEADER_LEN,
    queues::{Left, Payload, give, take},
};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const BUFFERS: u64 = 0x10_0000;

fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x40_0000)]).expect("memory")
}

fn payload() -> Payload {
    Box::new([0; 64 * 1024])
}

/// One chain of buffers of these lengths, from `BUFFERS` on.
fn chain(lengths: &[u32], flags: u16) -> Vec<RawDescriptor> {
    let mut at = BUFFERS;
    let mut chain = Vec::new();
    for (index, &length) in lengths.iter().enumerate() {
        let last = index + 1 == lengths.len();
        let next = u16::try_from(index + 1).expect("few");
        let flags = if last { flags } else { flags | NEXT };
        chain.push(RawDescriptor::from(Descriptor::new(at, length, flags, next)));
        at += u64::from(length);
    }
    chain
}

/// What the device does with one packet of the guest's in such a chain.
fn take_one(world: &mut World, bytes: &[u8], lengths: &[u32]) {
    let memory = memory();
    let driver = MockSplitQueue::new(&memory, 16);
    memory.write_slice(bytes, GuestAddress(BUFFERS)).expect("in memory");
    driver.add_desc_chains(&chain(lengths, 0), 0).expect("added");
    let mut queue: Queue = driver.create_queue().expect("a queue");
    let left = take(&mut queue, &memory, &mut world.device, &mut payload()).expect("taken");
    assert_eq!(left, Left::Nothing);
    assert_eq!(driver.used().idx().load(), 1, "the buffer went back");
}

#[test]
fn a_packet_is_whole_however_many_buffers_it_lies_in() {
    let lengths: [&[u32]; 5] =
        [&[5044], &[44, 5000], &[44, 1, 4999], &[10, 34, 2500, 2500], &[20, 4000, 4000]];
    for lengths in lengths {
        let mut world = World::new();
        let (mut program, port) = world.established();
        let mut bytes = world.header(port, Op::Data as u16, 0, 5000).encode().to_vec();
        bytes.extend(pattern(0, 5000));
        take_one(&mut world, &bytes, lengths);
        assert!(read(&mut program, 5000) == pattern(0, 5000), "{lengths:?}");
    }
}

#[test]
fn a_packet_that_is_longer_than_its_buffer_resets_its_connection() {
    for len in [101, 5000, 1 << 17, u32::MAX] {
        let mut world = World::new();
        let (mut program, port) = world.established();
        let header = Header { len, ..world.header(port, Op::Data as u16, 0, 0) };
        take_one(&mut world, &header.encode(), &[44, 100]);
        world.expect(Op::Reset, 0);
        assert_eq!(read_all(&mut program), b"");
    }
}

#[test]
fn a_buffer_without_a_header_goes_back() {
    let mut world = World::new();
    take_one(&mut world, &[], &[43]);
    take_one(&mut world, &[], &[0]);
    world.expect_silence();
}

#[test]
fn packets_to_the_guest_fill_its_buffers_and_useless_ones_go_back_empty() {
    let mut world = World::new();
    let (mut program, _) = world.established();
    program.write_all(&pattern(0, 150)).expect("written");
    world.device.poll().expect("epoll works");
    let memory = memory();
    let driver = MockSplitQueue::new(&memory, 16);
    // Two that are too small, one in two parts, one in one, one that is not needed.
    let mut chains = Vec::new();
    for (index, (address, length, flags)) in [
        (0x10_0000_u64, 44_u32, WRITE),
        (0xffff_0000, 4096, WRITE),
        (0x11_0000, 44, WRITE | NEXT),
        (0x12_0000, 100, WRITE),
        (0x13_0000, 4096, WRITE),
        (0x14_0000, 4096, WRITE),
    ]
    .into_iter()
    .enumerate()
    {
        let next = u16::try_from(index + 1).expect("few");
        chains.push(RawDescriptor::from(Descriptor::new(address, length, flags, next)));
    }
    driver.add_desc_chains(&chains, 0).expect("added");
    let mut queue: Queue = driver.create_queue().expect("a queue");
    let left = give(&mut queue, &memory, &mut world.device, &mut payload()).expect("given");
    assert_eq!(left, Left::Nothing);
    let used: Vec<_> = (0..4)
        .map(|at| driver.used().ring().ref_at(at).expect("there").load())
        .map(|used| (used.id(), used.len()))
        .collect();
    assert_eq!(used, [(0, 0), (1, 0), (2, 144), (4, 94)]);
    assert_eq!(driver.used().idx().load(), 4, "the last one is still the device's");
    let mut first = [0; 100];
    memory.read_slice(&mut first, GuestAddress(0x12_0000)).expect("in memory");
    assert!(first[..] == pattern(0, 100));
    let mut header = [0; HEADER_LEN];
    memory.read_slice(&mut header, GuestAddress(0x13_0000)).expect("in memory");
    let header = Header::parse(&header);
    assert_eq!((header.op, header.len), (Op::Data as u16, 50));
}

#[test]
fn without_buffers_packets_wait() {
    let mut world = World::new();
    let (mut program, _) = world.established();
    program.write_all(b"patience").expect("written");
    world.device.poll().expect("epoll works");
    let memory = memory();
    let mut driver = MockSplitQueue::new(&memory, 16);
    let mut queue: Queue = driver.create_queue().expect("a queue");
    let mut room = payload();
    let left = give(&mut queue, &memory, &mut world.device, &mut room).expect("given");
    assert_eq!((left, driver.used().idx().load()), (Left::Nothing, 0));
    assert!(world.device.wants_to_send());
    let _ = &mut driver;
    assert_eq!(world.packet().1, b"patience");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_ring_and_no_chain_harms_the_device(
        descriptors in proptest::collection::vec(
            (0_u64..0x80_0000, any::<u32>(), 0_u16..8, 0_u16..20), 1..16,
        ),
        heads in proptest::collection::vec(0_u16..20, 1..16),
        ahead in 0_u16..40,
        bytes in proptest::collection::vec(any::<u8>(), 512),
    ) {
        let mut world = World::new();
        let (mut program, port) = world.established();
        program.write_all(b"data").expect("written");
        world.device.poll().expect("epoll works");
        let memory = memory();
        let driver = MockSplitQueue::new(&memory, 16);
        for (index, (address, length, flags, next)) in descriptors.into_iter().enumerate() {
            let raw = RawDescriptor::from(Descriptor::new(address, length, flags, next));
            driver.desc_table().store(u16::try_from(index).expect("few"), raw).expect("stored");
            let _ = memory.write_slice(&bytes, GuestAddress(address));
            let header = world.header(port, Op::Data as u16, 0, 100);
            let _ = memory.write_slice(&header.encode(), GuestAddress(address));
        }
        for (at, head) in heads.into_iter().enumerate() {
            driver.avail().ring().ref_at(at).expect("there").store(head);
        }
        driver.avail().idx().store(ahead);
        let mut room = payload();
        let mut queue: Queue = driver.create_queue().expect("a queue");
        let _ = take(&mut queue, &memory, &mut world.device, &mut room);
        let mut queue: Queue = driver.create_queue().expect("a queue");
        let _ = give(&mut queue, &memory, &mut world.device, &mut room);
    }
}
