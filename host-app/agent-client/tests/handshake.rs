//! What holds for the connection to an agent, over an in-memory guest.

use std::{sync::Arc, time::Duration};

use linkspan_agent_client::{AgentChannel, AgentError, AgentOptions, fake::FakeGuest};
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    v1::PingRequest,
};
use linkspan_transport::{BoxStream, Dial};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
};

fn channel(guest: &FakeGuest) -> AgentChannel {
    let options = AgentOptions {
        connect_timeout: Duration::from_secs(2),
        required_features: &["upload"],
        ..AgentOptions::new("box")
    };
    guest.set_hello(|hello| hello.features.push("upload".into()));
    AgentChannel::new(Arc::new(guest.clone()), options)
}

#[tokio::test]
async fn hello_comes_before_the_first_call_and_only_once() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    assert!(channel.hello().is_none());
    for _ in 0..3 {
        channel.agent().ping(PingRequest::default()).await.unwrap();
    }
    assert_eq!(guest.hellos(), 1);
    assert_eq!(channel.hello().unwrap().boot_id, "first");
}

#[tokio::test]
async fn many_first_callers_share_one_connection() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    let calls = (0..32).map(|_| {
        let channel = channel.clone();
        async move { channel.agent().ping(PingRequest::default()).await }
    });
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(guest.hellos(), 1);
}

#[tokio::test]
async fn another_protocol_version_is_refused_and_both_are_named() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    guest.set_hello(|hello| {
        hello.protocol_version = PROTOCOL_VERSION + 1;
        hello.version = "9.8.7".into();
    });
    let error = channel.connect().await.unwrap_err();
    assert!(matches!(error, AgentError::VersionMismatch { .. }), "{error}");
    let failure = Failure::from(error);
    assert_eq!(failure.code, ErrorCode::VersionMismatch);
    let [theirs, ours] = [PROTOCOL_VERSION + 1, PROTOCOL_VERSION].map(|n| format!("protocol {n}"));
    for part in ["9.8.7", &theirs, &ours, env!("CARGO_PKG_VERSION")] {
        assert!(failure.message.contains(part), "`{part}` in {failure}");
    }
    // The same through a stub, as a caller sees it.
    let status = channel.agent().ping(PingRequest::default()).await.unwrap_err();
    assert_eq!(Failure::from(status).code, ErrorCode::VersionMismatch);
}

#[tokio::test]
async fn a_missing_feature_is_refused_by_name() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    guest.set_hello(|hello| hello.features.clear());
    let error = channel.connect().await.unwrap_err();
    assert!(matches!(&error, AgentError::MissingFeature { feature, .. } if feature == "upload"));
}

#[tokio::test]
async fn a_lost_connection_is_made_again_with_a_new_hello() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    channel.connect().await.unwrap();
    guest.set_hello(|hello| hello.boot_id = "second".into());
    guest.break_connections();
    tokio::time::timeout(Duration::from_secs(10), async {
        // A call may still meet the old connection's end; the next one must not.
        while channel.agent().ping(PingRequest::default()).await.is_err() {}
    })
    .await
    .expect("reconnects");
    assert_eq!(guest.hellos(), 2);
    assert_eq!(channel.hello().unwrap().boot_id, "second");
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_given_up_in_time() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    guest.set_silent(true);
    let error = channel.connect().await.unwrap_err();
    assert!(matches!(error, AgentError::Silent { .. }), "{error}");
    // And it is no verdict for ever.
    guest.set_silent(false);
    channel.connect().await.unwrap();
}

/// A guest that can stand still: its connections stay open, and nothing comes through them.
struct Halting {
    guest: FakeGuest,
    halted: watch::Receiver<bool>,
}

#[async_trait::async_trait]
impl Dial for Halting {
    async fn dial(&self, port: u32) -> std::io::Result<BoxStream> {
        let (guest_reads, guest_writes) = tokio::io::split(self.guest.dial(port).await?);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (host_reads, host_writes) = tokio::io::split(far);
        tokio::spawn(pass(guest_reads, host_writes, self.halted.clone()));
        tokio::spawn(pass(host_reads, guest_writes, self.halted.clone()));
        Ok(Box::pin(near))
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin + Send,
    mut to: impl AsyncWrite + Unpin + Send,
    mut halted: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let goes_on = halted.wait_for(|&halted| !halted).await.is_ok();
        if !goes_on || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_call_to_an_agent_that_stands_still_ends() {
    let (halt, halted) = watch::channel(false);
    let dial = Halting { guest: FakeGuest::default(), halted };
    let options =
        AgentOptions { keep_alive: Duration::from_millis(500), ..AgentOptions::new("box") };
    let channel = AgentChannel::new(Arc::new(dial), options);
    channel.agent().ping(PingRequest::default()).await.unwrap();
    halt.send(true).unwrap();
    let mut agent = channel.agent();
    let call = tokio::time::timeout(Duration::from_secs(20), agent.ping(PingRequest::default()));
    let failure = Failure::from(call.await.expect("it ends").unwrap_err());
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.message.contains("the agent of machine `box` was lost"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_as_long_as_the_machine_is_known_to_stand_still() {
    let (halt, halted) = watch::channel(false);
    let (tell, told) = watch::channel(None);
    let guest = FakeGuest::default();
    let dial = Halting { guest: guest.clone(), halted };
    let options = AgentOptions { halted: told, ..AgentOptions::new("box") };
    let channel = AgentChannel::new(Arc::new(dial), options);
    channel.agent().ping(PingRequest::default()).await.unwrap();
    halt.send(true).unwrap();
    tell.send(Some("the host's disk is full".to_owned())).unwrap();
    let mut agent = channel.agent();
    let mut call = std::pin::pin!(agent.ping(PingRequest::default()));
    let early = tokio::time::timeout(Duration::from_secs(3600), &mut call).await;
    assert!(early.is_err(), "it ended: {early:?}");
    tell.send(None).unwrap();
    halt.send(false).unwrap();
    call.await.unwrap();
    assert_eq!(guest.hellos(), 1, "on the same connection");
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_until_the_deadline() {
    let guest = FakeGuest::default();
    let channel = channel(&guest);
    guest.set_down(true);
    let soon = tokio::time::Instant::now() + Duration::from_millis(60);
    let error = channel.connect_by(soon).await.unwrap_err();
    assert!(matches!(error, AgentError::Dial { .. }), "{error}");

    let later = guest.clone();
    let up = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        later.set_down(false);
    });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    channel.connect_by(deadline).await.unwrap();
    up.await.unwrap();
}
