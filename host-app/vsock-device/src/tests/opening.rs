//! How connections begin, and how they are refused.

use std::collections::HashSet;

use super::*;

#[test]
fn the_host_is_answered_when_the_guest_has_accepted_and_bytes_flow_both_ways() {
    let mut world = World::new();
    let mut program = world.connect(PORT);
    let (request, _) = world.packet();
    assert_eq!((request.op, request.dst_port), (Op::Request as u16, PORT));
    assert!(request.buf_alloc >= 4096, "{request:?}");
    world.expect_silence();
    world.send(request.src_port, Op::Response, 0, &[]);
    world.send(request.src_port, Op::Data, 0, b"from the guest");
    let text = format!("OK {}\nfrom the guest", request.src_port);
    assert_eq!(read(&mut program, text.len()), text.as_bytes());
    program.write_all(b"from the host").expect("written");
    let (header, data) = world.packet();
    assert_eq!((header.op, data.as_slice()), (Op::Data as u16, &b"from the host"[..]));
}

#[test]
fn what_the_host_sends_before_the_answer_arrives_after_it() {
    let mut world = World::new();
    let mut program = world.connect(PORT);
    program.write_all(b"early").expect("written");
    let request = world.expect(Op::Request, 0);
    world.send(request.src_port, Op::Response, 0, &[]);
    assert_eq!(world.packet().1, b"early");
}

#[test]
fn a_refusal_of_the_guests_is_the_end_without_an_answer() {
    let mut world = World::new();
    let mut program = world.connect(PORT);
    let request = world.expect(Op::Request, 0);
    world.send(request.src_port, Op::Reset, 0, &[]);
    assert_eq!(read_all(&mut program), b"");
    world.expect_silence();
}

#[test]
fn a_foreign_greeting_is_the_end_without_an_answer() {
    let mut world = World::new();
    let path = world.folder.path().join("vsock.sock");
    let mut program = UnixStream::connect(path).expect("the device listens");
    program.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    program.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    world.expect_silence();
    // Unread bytes make it a reset.
    let error = program.read(&mut [0; 8]).expect_err("no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn the_guest_reaches_who_listens_and_is_refused_where_nobody_does() {
    let mut world = World::new();
    let listener = world.listen(1026);
    world.send(1026, Op::Request, 0, &[]);
    let response = world.expect(Op::Response, 0);
    assert_eq!((response.src_port, response.dst_port), (1026, PORT));
    world.send(1026, Op::Data, 0, b"booted");
    let (mut program, _) = listener.accept().expect("connected");
    assert_eq!(read(&mut program, 6), b"booted");
    world.send(1027, Op::Request, 0, &[]);
    let reset = world.expect(Op::Reset, 0);
    assert_eq!((reset.src_port, reset.dst_port), (1027, PORT));
}

#[test]
fn host_ports_are_unique_while_they_are_in_use() {
    let mut world = World::new();
    let mut kept = Vec::new();
    let mut ports = HashSet::new();
    for _ in 0..300 {
        kept.push(world.connect(PORT));
        assert!(ports.insert(world.expect(Op::Request, 0).src_port), "used twice");
    }
}

#[test]
fn a_program_that_goes_before_the_answer_leaves_nothing_behind() {
    let mut world = World::with_limit(8);
    for round in 0..200 {
        drop(world.connect(PORT));
        if round % 2 == 0 {
            // It goes before the device has looked.
            world.expect_silence();
            continue;
        }
        // It goes between the request and the guest's answer.
        let program = world.connect(PORT);
        let request = world.expect(Op::Request, 0);
        drop(program);
        if round % 4 == 1 {
            world.expect(Op::Reset, 0);
            world.send(request.src_port, Op::Response, 0, &[]);
        } else {
            world.send(request.src_port, Op::Response, 0, &[]);
        }
        world.expect(Op::Reset, 0);
    }
    // All eight places are free.
    let kept: Vec<_> = (0..8).map(|_| world.established()).collect();
    assert_eq!(read_all(&mut world.connect_refused()), b"");
    drop(kept);
}

impl World {
    fn connect_refused(&mut self) -> UnixStream {
        let path = self.folder.path().join("vsock.sock");
        let stream = UnixStream::connect(path).expect("the device listens");
        self.expect_silence();
        stream
    }
}
