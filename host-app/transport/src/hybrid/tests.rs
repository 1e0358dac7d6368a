use proptest::prelude::*;

use super::*;
use crate::{GuestSocket, dialer, listen};

/// A device that answers each connection with `answer` and then behaves as `then` says.
fn device(folder: &Path, answer: Vec<u8>, echo: bool) -> GuestSocket {
    let path = folder.join("vsock.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut line = Vec::new();
                while line.last() != Some(&b'\n') {
                    match stream.read_u8().await {
                        Ok(byte) => line.push(byte),
                        Err(_) => return,
                    }
                }
                if stream.write_all(&answer).await.is_err() || !echo {
                    return;
                }
                let (mut reader, mut writer) = stream.split();
                let _ = writer.write_all(&line).await;
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    GuestSocket::Hybrid { path }
}

async fn dial_error(answer: &[u8]) -> io::ErrorKind {
    let folder = tempfile::tempdir().expect("folder");
    let socket = device(folder.path(), answer.to_vec(), false);
    let dialled = dialer(&socket).expect("supported").dial(1024).await;
    dialled.err().expect("must be refused").kind()
}

#[tokio::test]
async fn the_first_byte_after_the_answer_is_the_guests() {
    let folder = tempfile::tempdir().expect("folder");
    let socket = device(folder.path(), b"OK 1073741824\n".to_vec(), true);
    let mut stream = dialer(&socket).expect("supported").dial(1024).await.expect("accepted");
    stream.write_all(b"hello").await.expect("write");
    stream.shutdown().await.expect("half-close");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("read");
    assert_eq!(text, "CONNECT 1024\nhello");
}

#[tokio::test]
async fn the_end_before_the_answer_is_a_refusal() {
    assert_eq!(dial_error(b"").await, io::ErrorKind::ConnectionRefused);
    assert_eq!(dial_error(b"OK 12").await, io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn overlong_and_foreign_answers_are_refused() {
    assert_eq!(dial_error(b"OK 00000000000000000000\n").await, io::ErrorKind::InvalidData);
    assert_eq!(dial_error(b"OK 4294967296\n").await, io::ErrorKind::InvalidData);
    assert_eq!(dial_error(b"HTTP/1.1 400 Bad Request\r\n").await, io::ErrorKind::InvalidData);
    assert_eq!(dial_error(b"OK \n\n").await, io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_missing_device_is_not_found_and_named() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("gone.sock");
    let error = dialer(&GuestSocket::Hybrid { path }).expect("supported").dial(1).await;
    let error = error.err().expect("nothing there");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("gone.sock"), "{error}");
}

#[tokio::test]
async fn a_dial_that_nobody_waits_for_is_given_up() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("vsock.sock");
    let listener = UnixListener::bind(&path).expect("bind");
    let dialer = dialer(&GuestSocket::Hybrid { path }).expect("supported");
    let dial = tokio::spawn(async move { dialer.dial(7).await.map(drop) });
    let (mut stream, _) = listener.accept().await.expect("connected");
    let mut line = [0; 10];
    stream.read_exact(&mut line).await.expect("the request");
    dial.abort();
    assert!(dial.await.expect_err("aborted").is_cancelled());
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut line)).await;
    assert_eq!(ended.expect("closed").expect("read"), 0);
}

#[tokio::test]
async fn many_connections_at_once_do_not_mix() {
    let folder = tempfile::tempdir().expect("folder");
    let socket = device(folder.path(), b"OK 9\n".to_vec(), true);
    let dialer = dialer(&socket).expect("supported");
    let mut tasks = tokio::task::JoinSet::new();
    for port in 0..200 {
        let dialer = dialer.clone();
        tasks.spawn(async move {
            let mut stream = dialer.dial(port).await.expect("accepted");
            let body = vec![u8::try_from(port).expect("small"); 5000];
            stream.write_all(&body).await.expect("write");
            stream.shutdown().await.expect("half-close");
            let mut back = Vec::new();
            stream.read_to_end(&mut back).await.expect("read");
            let head = format!("CONNECT {port}\n");
            assert_eq!(back.strip_prefix(head.as_bytes()), Some(&body[..]));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("each connection is whole");
    }
}

#[tokio::test]
async fn a_guests_connection_arrives_at_its_port_and_the_socket_goes_with_the_listener() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("vsock.sock");
    let socket = GuestSocket::Hybrid { path: path.clone() };
    let port_path = folder.path().join("vsock.sock_1026");
    // A stale file, as a killed daemon leaves it.
    drop(std::os::unix::net::UnixListener::bind(&port_path).expect("bind"));

    let mut listener = listen(&socket, 1026).expect("a stale socket is no obstacle");
    let mode = std::fs::metadata(&port_path).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let busy = listen(&socket, 1026).err().expect("one listener a port");
    assert_eq!(busy.kind(), io::ErrorKind::AddrInUse);
    drop(listener.accept().await.expect("the probe of the second listen"));

    let mut guest = UnixStream::connect(&port_path).await.expect("connect");
    guest.write_all(b"ready").await.expect("write");
    drop(guest);
    let mut text = String::new();
    listener.accept().await.expect("accept").read_to_string(&mut text).await.expect("read");
    assert_eq!(text, "ready");
    drop(listener);
    assert!(!port_path.exists());
}

proptest! {
    #[test]
    fn every_port_number_is_accepted_and_every_beginning_of_it_waits(port in any::<u32>()) {
        let line = format!("OK {port}\n");
        for end in 0..line.len() {
            prop_assert_eq!(parse_answer(&line.as_bytes()[..end]), Answer::Incomplete);
        }
        prop_assert_eq!(parse_answer(line.as_bytes()), Answer::Accepted);
    }

    #[test]
    fn foreign_bytes_never_wait_for_more_than_the_longest_answer(
        bytes in proptest::collection::vec(any::<u8>(), LONGEST_ANSWER..40)
    ) {
        prop_assert_ne!(parse_answer(&bytes), Answer::Incomplete);
    }

    #[test]
    fn only_a_well_formed_line_is_accepted(text in "[A-Z ]{0,4}[0-9 +-]{0,10}\n?") {
        let accepted = parse_answer(text.as_bytes()) == Answer::Accepted;
        let number = text.strip_prefix("OK ").and_then(|rest| rest.strip_suffix('\n'));
        let well_formed = number
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()) && n.parse::<u32>().is_ok());
        prop_assert_eq!(accepted, well_formed);
    }
}
