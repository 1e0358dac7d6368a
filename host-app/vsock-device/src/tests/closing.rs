//! How connections end: in halves, whole, and by force.

use std::{io::ErrorKind, net::Shutdown};

use super::*;
use crate::packet::{SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

#[test]
fn after_the_hosts_half_close_the_guest_still_answers() {
    let mut world = World::new();
    let (mut program, port) = world.established();
    program.write_all(b"question").expect("written");
    program.shutdown(Shutdown::Write).expect("half-closed");
    let packets = world.packets();
    assert_eq!(packets[0].1, b"question");
    assert_eq!((packets[1].0.op, packets[1].0.flags), (Op::Shutdown as u16, SHUTDOWN_SEND));
    world.send(port, Op::Data, 0, b"answer");
    world.send(port, Op::Shutdown, SHUTDOWN_BOTH, &[]);
    assert_eq!(read_all(&mut program), b"answer");
    world.expect(Op::Reset, 0);
}

#[test]
fn after_the_guests_half_close_the_host_still_sends() {
    let mut world = World::new();
    let (mut program, port) = world.established();
    world.send(port, Op::Data, 0, b"last words");
    world.send(port, Op::Shutdown, SHUTDOWN_SEND, &[]);
    assert_eq!(read_all(&mut program), b"last words");
    program.write_all(b"understood").expect("the other half is open");
    assert_eq!(world.packet().1, b"understood");
    drop(program);
    let header = world.expect(Op::Shutdown, SHUTDOWN_BOTH);
    assert_eq!(header.src_port, port);
    // Linux answers so, once its program has read all.
    world.send(port, Op::Reset, 0, &[]);
    world.expect_silence();
}

#[test]
fn a_guest_that_receives_no_more_breaks_the_hosts_pipe() {
    let mut world = World::new();
    let (mut program, port) = world.established();
    world.send(port, Op::Shutdown, SHUTDOWN_RECEIVE, &[]);
    let error = program.write_all(b"x").expect_err("nobody reads");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    world.send(port, Op::Data, 0, b"still here");
    assert_eq!(read(&mut program, 10), b"still here");
}

#[test]
fn a_host_that_receives_no_more_tells_the_guest_and_still_sends() {
    let mut world = World::new();
    let (mut program, port) = world.established();
    program.shutdown(Shutdown::Read).expect("half-closed");
    world.send(port, Op::Data, 0, b"lost");
    world.expect(Op::Shutdown, SHUTDOWN_RECEIVE);
    program.write_all(b"still here").expect("the other half is open");
    assert_eq!(world.packet().1, b"still here");
}

#[test]
fn what_the_host_sent_before_it_closed_arrives_before_the_end() {
    let mut world = World::new();
    let (mut program, _) = world.established();
    program.write_all(&pattern(0, 10_000)).expect("written");
    drop(program);
    let mut packets = world.packets();
    let (end, _) = packets.pop().expect("the end");
    assert_eq!((end.op, end.flags), (Op::Shutdown as u16, SHUTDOWN_BOTH));
    let data: Vec<u8> = packets.into_iter().flat_map(|(_, data)| data).collect();
    assert!(data == pattern(0, 10_000));
}

#[test]
fn a_host_that_closes_without_reading_resets_the_guest() {
    let mut world = World::new();
    let (program, port) = world.established();
    world.send(port, Op::Data, 0, b"never read");
    drop(program);
    let packets = world.packets();
    assert_eq!(packets.last().expect("told").0.op, Op::Reset as u16);
    world.send(port, Op::Data, 0, b"late");
    world.expect(Op::Reset, 0);
}

#[test]
fn what_the_guest_sent_before_its_end_arrives_however_slow_the_host_is() {
    for end in [Op::Reset, Op::Shutdown] {
        let mut world = World::new();
        let (mut program, port) = world.established();
        // Far more than the socket holds, so most of it waits in the device.
        let granted = usize::try_from(world.expect_credit(port)).expect("small");
        let data = pattern(0, granted);
        for part in data.chunks(4096) {
            world.send(port, Op::Data, 0, part);
        }
        world.send(port, end, SHUTDOWN_BOTH, &[]);
        // The same ports belong to nobody now, if the guest has forgotten them.
        if end == Op::Reset {
            world.send(port, Op::CreditUpdate, 0, &[]);
            world.expect(Op::Reset, 0);
        }
        let reader = std::thread::spawn(move || read_all(&mut program));
        let mut told = Vec::new();
        wait(|| {
            told.extend(world.packets());
            reader.is_finished()
        });
        assert!(reader.join().expect("read") == data);
        let resets = told.iter().filter(|(header, _)| header.op == Op::Reset as u16).count();
        assert_eq!(resets, usize::from(end == Op::Shutdown), "{told:?}");
    }
}

#[test]
fn both_halves_may_be_closed_at_once() {
    let mut world = World::new();
    let (mut program, port) = world.established();
    program.shutdown(Shutdown::Write).expect("half-closed");
    world.send(port, Op::Shutdown, SHUTDOWN_SEND, &[]);
    assert_eq!(read_all(&mut program), b"");
    let packets = world.packets();
    assert!(packets.iter().all(|(header, _)| header.op == Op::Shutdown as u16), "{packets:?}");
    world.send(port, Op::Shutdown, SHUTDOWN_BOTH, &[]);
    let packets = world.packets();
    assert_eq!(packets.last().expect("answered").0.op, Op::Reset as u16);
}

impl World {
    /// What the guest may send now, by asking.
    fn expect_credit(&mut self, port: u32) -> u32 {
        self.send(port, Op::CreditRequest, 0, &[]);
        let header = self.expect(Op::CreditUpdate, 0);
        header.buf_alloc
    }
}
