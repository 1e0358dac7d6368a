//! A guest that keeps to no rule harms itself only.

use proptest::prelude::*;

use super::*;

#[test]
fn what_belongs_to_no_connection_is_reset_and_a_reset_is_not_answered() {
    let mut world = World::new();
    for op in [Op::Response, Op::Shutdown, Op::Data, Op::CreditUpdate, Op::CreditRequest] {
        world.send(7, op, 0, &[]);
        let reset = world.expect(Op::Reset, 0);
        assert_eq!((reset.src_port, reset.dst_port), (7, PORT));
    }
    world.send(7, Op::Reset, 0, &[]);
    world.expect_silence();
}

#[test]
fn another_type_of_socket_is_reset_by_its_type() {
    let mut world = World::new();
    let _listener = world.listen(1026);
    let header = Header { kind: 2, ..world.header(1026, Op::Request as u16, 0, 0) };
    world.device.receive(&header, &[]);
    let reset = world.expect(Op::Reset, 0);
    assert_eq!(reset.kind, 2);
}

#[test]
fn packets_from_or_to_others_are_dropped() {
    let mut world = World::new();
    let header = world.header(7, Op::Data as u16, 0, 0);
    world.device.receive(&Header { src_cid: 4, ..header }, &[]);
    world.device.receive(&Header { dst_cid: 4, ..header }, &[]);
    world.expect_silence();
}

#[test]
fn an_operation_that_is_none_resets_its_connection() {
    let mut world = World::new();
    for op in [0, 8, u16::MAX, Op::Request as u16, Op::Response as u16] {
        let (mut program, port) = world.established();
        let header = world.header(port, op, 0, 0);
        world.device.receive(&header, &[]);
        world.expect(Op::Reset, 0);
        assert_eq!(read_all(&mut program), b"", "{op}");
    }
}

#[test]
fn answers_that_the_guest_does_not_take_are_bounded() {
    let mut world = World::new();
    for port in 0..100_000 {
        world.send(port, Op::Data, 0, &[]);
    }
    assert!(world.packets().len() < 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_packets_harms_another_connection(
        packets in proptest::collection::vec(
            (0_u16..9, 0_u32..4, 0_usize..5000, any::<u32>(), any::<u32>(), 0_u8..4), 0..100,
        ),
    ) {
        let mut world = World::with_limit(16);
        let _listener = world.listen(1026);
        let (mut bystander, bystander_port) = world.established();
        let (_program, port) = world.established();
        let _waiting = world.connect(PORT);
        world.packets();
        for (op, flags, len, buf_alloc, fwd_cnt, whither) in packets {
            let host = [port, 1026, 1027, port + 1][usize::from(whither)];
            let header = Header { buf_alloc, fwd_cnt, ..world.header(host, op, flags, len) };
            world.device.receive(&header, &pattern(0, len));
            if flags == 0 {
                world.packets();
            }
        }
        world.packets();
        world.send(bystander_port, Op::Data, 0, b"unharmed");
        prop_assert_eq!(read(&mut bystander, 8), b"unharmed");
        bystander.write_all(b"still here").expect("written");
        prop_assert_eq!(world.packet().1, b"still here");
    }
}
