//! Back-pressure: nobody sends more than was granted, and nobody waits for somebody else's reader.

use proptest::prelude::*;

use super::*;

#[test]
fn the_host_sends_what_the_guest_granted_and_waits_for_more() {
    let mut world = World::new();
    let (mut program, port) = world.established();
    program.set_nonblocking(true).expect("set");
    let data = pattern(0, 100_000);
    assert_eq!(program.write(&data).expect("the socket holds it"), data.len());
    let packets = world.packets();
    let (last, sent) = packets.split_last().expect("packets");
    let count: u32 = sent.iter().map(|(header, _)| header.len).sum();
    assert_eq!(count, GUEST_BUFFER);
    assert_eq!(last.0.op, Op::CreditRequest as u16);
    world.expect_silence();
    world.read.insert(port, 10);
    world.send(port, Op::CreditUpdate, 0, &[]);
    let packets = world.packets();
    assert_eq!(packets[0].0.len, 10);
    assert_eq!(packets[0].1, data[65_536..65_546]);
}

#[test]
fn a_slow_reader_keeps_nobody_else_waiting() {
    let mut world = World::new();
    let (mut slow, slow_port) = world.established();
    let (mut quick, quick_port) = world.established();
    // Until the guest may send no more.
    let mut sent = 0;
    let granted = 256 * 1024;
    while sent < granted {
        world.send(slow_port, Op::Data, 0, &pattern(sent, 4096));
        sent += 4096;
        for (header, _) in world.packets() {
            assert_eq!(header.op, Op::CreditUpdate as u16);
        }
    }
    for round in 0..100 {
        world.send(quick_port, Op::Data, 0, &pattern(round, 4096));
        assert_eq!(read(&mut quick, 4096), pattern(round, 4096));
        quick.write_all(b"pong").expect("written");
        // The other direction of the slow one is open too.
        slow.write_all(b"ping").expect("written");
        let data: Vec<_> = world.packets().into_iter().map(|(_, data)| data).collect();
        assert!(data.contains(&b"pong".to_vec()) && data.contains(&b"ping".to_vec()));
    }
    let reader = std::thread::spawn(move || read(&mut slow, sent));
    wait(|| {
        world.packets();
        reader.is_finished()
    });
    assert!(reader.join().expect("read") == pattern(0, sent));
}

#[test]
fn one_byte_more_than_granted_resets() {
    let mut world = World::new();
    let (_program, port) = world.established();
    world.send(port, Op::CreditRequest, 0, &[]);
    let header = world.expect(Op::CreditUpdate, 0);
    let mut free = header.buf_alloc - header.fwd_cnt;
    // As if the guest did not count: the socket takes some, the device the rest, then no one.
    let mut reset = false;
    for _ in 0..10_000 {
        world.send(port, Op::Data, 0, &[0; 4096]);
        for (header, _) in world.packets() {
            free = header.fwd_cnt.wrapping_add(header.buf_alloc);
            reset |= header.op == Op::Reset as u16;
        }
        if reset {
            break;
        }
    }
    assert!(reset, "{free}");
}

#[test]
fn a_busy_connection_leaves_turns_to_others() {
    let mut world = World::new();
    let (mut busy, _) = world.established();
    let (mut other, other_port) = world.established();
    busy.write_all(&pattern(0, 60_000)).expect("the socket holds it");
    other.write_all(b"me too").expect("written");
    let packets = world.packets();
    let turn = packets.iter().position(|(header, _)| header.src_port == other_port);
    assert!(turn.expect("it had a turn") < 2, "{turn:?}");
}

#[derive(Debug, Clone)]
enum Step {
    HostWrites(usize),
    HostReads(usize),
    GuestWrites(usize),
    GuestReads(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_usize..50_000).prop_map(Step::HostWrites),
        (1_usize..50_000).prop_map(Step::HostReads),
        (1_usize..50_000).prop_map(Step::GuestWrites),
        (1_u32..50_000).prop_map(Step::GuestReads),
    ]
}

/// The guest's and the host's end of one connection, and what each has sent and got.
struct Ends {
    world: World,
    port: u32,
    program: UnixStream,
    host_sent: usize,
    guest_sent: usize,
    at_guest: Vec<u8>,
    at_host: Vec<u8>,
    /// As the guest has heard.
    granted: (u32, u32),
}

impl Ends {
    fn new() -> Self {
        let mut world = World::new();
        let (program, port) = world.established();
        program.set_nonblocking(true).expect("set");
        let granted = (256 * 1024, 0);
        let (at_guest, at_host) = (Vec::new(), Vec::new());
        Self { world, port, program, host_sent: 0, guest_sent: 0, at_guest, at_host, granted }
    }

    fn exchange(&mut self) {
        for (header, data) in self.world.packets() {
            assert_ne!(header.op, Op::Reset as u16);
            self.at_guest.extend(data);
            self.granted = (header.buf_alloc, header.fwd_cnt);
        }
        let read = self.world.read.get(&self.port).copied().unwrap_or(0);
        let held = self.at_guest.len() - usize::try_from(read).expect("small");
        assert!(held <= usize::try_from(GUEST_BUFFER).expect("small"), "more than was granted");
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::HostWrites(count) => {
                let data = pattern(self.host_sent, count);
                self.host_sent += self.program.write(&data).unwrap_or(0);
            }
            Step::HostReads(count) => {
                let mut room = vec![0; count];
                let count = self.program.read(&mut room).unwrap_or(0);
                self.at_host.extend(&room[..count]);
            }
            Step::GuestWrites(count) => {
                let (buffer, forwarded) = self.granted;
                let held = u32::try_from(self.guest_sent).expect("small").wrapping_sub(forwarded);
                let count = count.min(usize::try_from(buffer - held).expect("small"));
                let data = pattern(self.guest_sent, count);
                self.guest_sent += count;
                self.world.send(self.port, Op::Data, 0, &data);
            }
            Step::GuestReads(count) => {
                let read = self.world.read.entry(self.port).or_default();
                let all = u32::try_from(self.at_guest.len()).expect("small");
                *read = (*read + count).min(all);
                self.world.send(self.port, Op::CreditUpdate, 0, &[]);
            }
        }
        self.exchange();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_once_and_in_order_in_whatever_order_the_ends_act(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut ends = Ends::new();
        for step in &steps {
            ends.take(step);
        }
        // Both read on: all that was sent comes.
        wait(|| {
            ends.take(&Step::HostReads(50_000));
            ends.take(&Step::GuestReads(50_000));
            ends.at_host.len() == ends.guest_sent && ends.at_guest.len() == ends.host_sent
        });
        prop_assert!(ends.at_host == pattern(0, ends.guest_sent));
        prop_assert!(ends.at_guest == pattern(0, ends.host_sent));
    }
}
