//! What a container said earlier, and what it says now.

use linkspan_client::Client;
use linkspan_proto::v1::{ContainerLogsRequest, ContainerLogsResponse, LogRecord, LogStream};
use tonic::Streaming;

use crate::{
    calls::{all_streams, attach, config, create, run, with_stdin},
    host::{Stack, bounded},
};

fn of(container: &str) -> ContainerLogsRequest {
    ContainerLogsRequest {
        container: container.into(),
        stdout: true,
        stderr: true,
        ..ContainerLogsRequest::default()
    }
}

async fn open(client: &Client, request: ContainerLogsRequest) -> Streaming<ContainerLogsResponse> {
    client.containers(None).logs(request).await.expect("a log").into_inner()
}

/// Reads on until there are `count` records, or to the end.
async fn records(log: &mut Streaming<ContainerLogsResponse>, count: usize) -> Vec<LogRecord> {
    let mut records = Vec::new();
    while records.len() < count {
        match log.message().await.expect("no failure") {
            Some(answer) => records.extend(answer.records),
            None => break,
        }
    }
    records
}

fn lines(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.line).into_owned()).collect()
}

#[tokio::test]
async fn tail_gives_the_last_lines_and_follow_what_comes_until_the_end() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let reader = stack.client().await;
        create(&client, "box", with_stdin(config(&["cat"]))).await.expect("it is made");
        let mut session = attach(&client, all_streams("box")).await.expect("it starts");
        session.write("one\ntwo\nthree\n").await;
        session.until_stdout("three\n").await;
        let mut tail = open(&reader, ContainerLogsRequest { tail: Some(2), ..of("box") }).await;
        assert_eq!(lines(&records(&mut tail, usize::MAX).await), ["two\n", "three\n"]);

        let following = ContainerLogsRequest { tail: Some(1), follow: true, ..of("box") };
        let mut follow = open(&reader, following).await;
        assert_eq!(lines(&records(&mut follow, 1).await), ["three\n"]);
        session.write("four\n").await;
        assert_eq!(lines(&records(&mut follow, 1).await), ["four\n"]);
        session.close_stdin().await;
        session.outcome().await.expect("it ends");
        assert_eq!(records(&mut follow, 1).await, [], "the log ends with the container");
    })
    .await;
}

#[tokio::test]
async fn a_log_knows_which_stream_a_line_came_from() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        create(&client, "box", config(&["err", "alas"])).await.expect("it is made");
        let session = attach(&client, all_streams("box")).await.expect("it starts");
        session.outcome().await.expect("it ends");
        let all = records(&mut open(&client, of("box")).await, usize::MAX).await;
        assert_eq!(lines(&all), ["alas\n"]);
        assert_eq!(all[0].stream(), LogStream::Stderr);
        let only_stdout = ContainerLogsRequest { stderr: false, ..of("box") };
        assert_eq!(records(&mut open(&client, only_stdout).await, usize::MAX).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_large_log_is_read_whole() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let size = 2 << 20;
        let outcome = run(&client, config(&["bytes", &size.to_string()])).await.expect("it runs");
        let name = crate::calls::names(&client).await.pop().expect("it is there");
        let log = records(&mut open(&client, of(&name)).await, usize::MAX).await;
        let bytes: Vec<u8> = log.iter().flat_map(|record| record.line.to_vec()).collect();
        assert!(bytes == outcome.stdout, "{} bytes of {}", bytes.len(), outcome.stdout.len());
    })
    .await;
}
