//! One more process in a container.

use linkspan_proto::{
    error::ErrorCode,
    v1::{ExecOpen, stdio_output::Kind as Output},
};

use crate::{
    calls::{config, create, exec, running},
    host::{Stack, bounded},
};

fn open(command: &[&str]) -> ExecOpen {
    ExecOpen {
        container: "box".into(),
        args: command.iter().map(ToString::to_string).collect(),
        stdin: true,
        ..ExecOpen::default()
    }
}

#[tokio::test]
async fn exec_returns_output_and_exit_code_and_leaves_the_container_running() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let _session = running(&client, "box", &["sleep", "600"]).await;
        let said = exec(&client, open(&["echo", "inside"])).await.expect("it starts");
        assert_eq!(said.outcome().await.expect("it ends").stdout, b"inside\n");
        let failed = exec(&client, open(&["sh", "-c", "exit 7"])).await.expect("it starts");
        assert_eq!(failed.outcome().await.expect("it ends").exit.exit_code, 7);
        assert_eq!(stack.world.guest().launcher.processes(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_standard_input_reaches_an_execd_program() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let _session = running(&client, "box", &["sleep", "600"]).await;
        let session = exec(&client, open(&["cat"])).await.expect("it starts");
        session.write("there and back\n").await;
        session.close_stdin().await;
        let outcome = session.outcome().await.expect("it ends");
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.exit.exit_code),
            (&b"there and back\n"[..], 0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_detached_process_is_told_to_have_started_and_goes_on() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let _session = running(&client, "box", &["sleep", "600"]).await;
        let detached = ExecOpen { detach: true, stdin: false, ..open(&["sleep", "600"]) };
        let mut session = exec(&client, detached).await.expect("it starts");
        let first = session.next().await.expect("no failure");
        assert!(matches!(first, Some(Output::Started(_))), "{first:?}");
        assert_eq!(session.next().await.expect("no failure"), None);
        drop(session);
        // A call after it, so that whatever the end of the call does has been done.
        let after = exec(&client, open(&["true"])).await.expect("it starts");
        assert_eq!(after.outcome().await.expect("it ends").exit.exit_code, 0);
        assert_eq!(stack.world.guest().launcher.processes(), 2);
    })
    .await;
}

#[tokio::test]
async fn exec_needs_a_running_container_and_a_program() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let failed = |result: Result<_, _>| result.err().expect("it is refused");
        assert_eq!(failed(exec(&client, open(&["true"])).await).code, ErrorCode::NotFound);
        create(&client, "box", config(&["sleep", "600"])).await.expect("it is made");
        assert_eq!(failed(exec(&client, open(&["true"])).await).code, ErrorCode::WrongState);
        let _session = {
            let open = crate::calls::all_streams("box");
            crate::calls::attach(&client, open).await.expect("it starts")
        };
        let missing = failed(exec(&client, open(&["nosuch"])).await);
        assert_eq!((missing.code, missing.code.run_exit_code()), (ErrorCode::CommandNotFound, 127));
    })
    .await;
}
