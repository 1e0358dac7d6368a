//! `run`: create, then one attach that starts.

use linkspan_proto::v1::{AttachOpen, ContainerConfig, TerminalSize, stdio_input::Kind as Input};

use crate::{
    calls::{all_streams, attach, config, create, run, with_stdin},
    host::{Stack, bounded},
};

#[tokio::test]
async fn run_returns_the_output_and_the_exit_code() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let said = run(&client, config(&["echo", "hello", "world"])).await.expect("it runs");
        assert_eq!((said.stdout.as_slice(), said.exit.exit_code), (&b"hello world\n"[..], 0));
        let failed = run(&client, config(&["sh", "-c", "exit 42"])).await.expect("it runs");
        assert_eq!(failed.exit.exit_code, 42);
        assert!(failed.exit.error.is_empty(), "it ran: {}", failed.exit.error);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_standard_input_reaches_the_program() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let id = create(&client, "", with_stdin(config(&["cat"]))).await.expect("it is made");
        let session = attach(&client, all_streams(&id)).await.expect("it starts");
        session.write("one\n").await;
        session.write("two\n").await;
        session.close_stdin().await;
        let outcome = session.outcome().await.expect("it ends");
        assert_eq!((outcome.stdout.as_slice(), outcome.exit.exit_code), (&b"one\ntwo\n"[..], 0));
    })
    .await;
}

#[tokio::test]
async fn standard_output_and_error_stay_apart() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let outcome = run(&client, config(&["err", "alas"])).await.expect("it runs");
        assert_eq!((outcome.stdout, outcome.stderr.as_slice()), (Vec::new(), &b"alas\n"[..]));
        let outcome = run(&client, config(&["echo", "good"])).await.expect("it runs");
        assert_eq!((outcome.stdout.as_slice(), outcome.stderr), (&b"good\n"[..], Vec::new()));
        // What was not asked for does not come.
        let id = create(&client, "", config(&["err", "alas"])).await.expect("it is made");
        let open = AttachOpen { stderr: false, ..all_streams(&id) };
        let outcome = attach(&client, open).await.expect("it starts").outcome().await;
        assert!(outcome.expect("it ends").stderr.is_empty());
    })
    .await;
}

#[tokio::test]
async fn thirty_two_mebibytes_of_output_arrive_exactly() {
    bounded(async {
        const SIZE: usize = 32 << 20;
        const LINE: &[u8] = b"the quick brown fox jumps over 13 lazy dogs.\n";
        let (_stack, client) = Stack::with_busybox().await;
        let size = SIZE.to_string();
        let outcome = run(&client, config(&["bytes", &size])).await.expect("it runs");
        assert_eq!((outcome.stdout.len(), outcome.exit.exit_code), (SIZE, 0));
        let wrong = outcome.stdout.chunks(LINE.len()).position(|part| part != &LINE[..part.len()]);
        assert_eq!(wrong, None, "the first wrong line");
    })
    .await;
}

#[tokio::test]
async fn a_signal_of_the_client_reaches_the_program() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let id = create(&client, "", config(&["sigwait"])).await.expect("it is made");
        let mut session = attach(&client, all_streams(&id)).await.expect("it starts");
        session.until_stdout("ready").await;
        session.send(Input::Signal(10)).await;
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 10);
    })
    .await;
}

#[tokio::test]
async fn a_terminal_has_the_size_of_the_clients_and_follows_it() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let with_terminal = ContainerConfig { tty: true, open_stdin: true, ..config(&["size"]) };
        let id = create(&client, "", with_terminal).await.expect("it is made");
        let size = Some(TerminalSize { rows: 40, columns: 100 });
        let open = AttachOpen { size, ..all_streams(&id) };
        let mut session = attach(&client, open).await.expect("it starts");
        session.write("?\n").await;
        session.until_stdout("40 100").await;
        session.send(Input::Resize(TerminalSize { rows: 50, columns: 200 })).await;
        session.write("?\n").await;
        session.until_stdout("50 200").await;
        session.send(Input::Signal(9)).await;
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 137);
    })
    .await;
}
