//! A client that goes away takes its calls with it, up to the guest.

use linkspan_client::{Client, new_stream_id};
use linkspan_proto::v1::{ExecOpen, ImportImageRequest, WaitCondition};

use crate::{
    archives,
    calls::{all_streams, attach, config, create, exec, import, running, wait, with_stdin},
    host::{Stack, bounded},
};

#[tokio::test]
async fn a_client_that_leaves_takes_the_containers_input_with_it() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let leaving = stack.client().await;
        create(&leaving, "box", with_stdin(config(&["cat"]))).await.expect("it is made");
        let mut session = attach(&leaving, all_streams("box")).await.expect("it starts");
        session.write("still here\n").await;
        session.until_stdout("still here").await;
        drop((session, leaving));
        // `cat` ends at the end of its input, which only the end of the call in the guest gives.
        let exit = wait(&client, "box", WaitCondition::NotRunning).await.expect("it exists");
        assert_eq!(exit.exit_code, 0);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_on_a_living_connection_is_cancelled_in_the_guest() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let _session = running(&client, "box", &["sleep", "600"]).await;
        let open = ExecOpen {
            container: "box".into(),
            args: vec!["cat".into()],
            stdin: true,
            ..ExecOpen::default()
        };
        let mut session = exec(&client, open).await.expect("it starts");
        session.write("?\n").await;
        session.until_stdout("?").await;
        let launcher = stack.world.guest().launcher;
        assert_eq!(launcher.processes(), 2);
        drop(session);
        while launcher.processes() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_fails_its_call_and_leaves_no_image() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let id = new_stream_id();
        let request = ImportImageRequest {
            stream_id: id.to_string(),
            reference: "half:1".into(),
            ..ImportImageRequest::default()
        };
        // More than is buffered anywhere on the way is announced; half of it comes.
        let whole = archives::tar(&[("big", &vec![1; 4 << 20])]);
        let mut images = client.images(None);
        let (call, _) = tokio::join!(
            images.import(request),
            client.upload(None, id, &whole[..whole.len() / 2])
        );
        let failure = linkspan_client::failure(call.expect_err("it is not whole"));
        assert_eq!(failure.code, linkspan_proto::error::ErrorCode::DataCorrupt, "{failure}");
        assert_no_image(&client).await;
        import(&client, "half:1", whole).await.expect("the next one is well");
    })
    .await;
}

async fn assert_no_image(client: &Client) {
    let all = linkspan_proto::v1::ListImagesRequest { all: true, ..Default::default() };
    let answer = client.images(None).list(all).await.expect("a list");
    assert!(answer.into_inner().images.is_empty());
}
