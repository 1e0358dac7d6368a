//! Waiting, stopping and removing.

use std::time::{Duration, Instant};

use linkspan_client::{Client, Failure, failure};
use linkspan_proto::{
    error::ErrorCode,
    v1::{
        ContainerConfig, ContainerState, KillContainerRequest, RemoveContainerRequest,
        StartContainerRequest, StopContainerRequest, WaitCondition,
    },
};

use crate::{
    calls::{all_streams, attach, config, create, inspect, names, run, running, wait},
    host::{Stack, bounded},
};

async fn stop(client: &Client, name: &str, seconds: u32) -> Result<(), Failure> {
    let request = StopContainerRequest {
        container: name.into(),
        timeout_seconds: Some(seconds),
        signal: String::new(),
    };
    client.containers(None).stop(request).await.map(drop).map_err(failure)
}

async fn remove(client: &Client, name: &str, force: bool) -> Result<String, Failure> {
    let request = RemoveContainerRequest { container: name.into(), force, volumes: false };
    let answer = client.containers(None).remove(request).await.map_err(failure)?;
    Ok(answer.into_inner().id)
}

#[tokio::test]
async fn wait_answers_when_its_condition_holds() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let session = running(&client, "box", &["sigwait"]).await;
        let waiter = stack.client().await;
        let exit = tokio::spawn(async move { wait(&waiter, "box", WaitCondition::NextExit).await });
        let request = KillContainerRequest { container: "box".into(), signal: "USR1".into() };
        client.containers(None).kill(request).await.expect("it runs");
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 10);
        // The waiter may have come before or after the end: only `not running` cannot be missed.
        let after = wait(&client, "box", WaitCondition::NotRunning).await.expect("it exists");
        assert_eq!(after.exit_code, 10);
        let request = RemoveContainerRequest { container: "box".into(), ..Default::default() };
        client.containers(None).remove(request).await.expect("it has ended");
        let exit = exit.await.expect("no panic").expect("it existed");
        assert_eq!(exit.exit_code, 10);
    })
    .await;
}

#[tokio::test]
async fn stop_lets_a_program_end_by_itself() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let session = running(&client, "box", &["sigwait"]).await;
        stop(&client, "box", 60).await.expect("it stops");
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 15, "SIGTERM");
        stop(&client, "box", 60).await.expect("it has stopped already");
    })
    .await;
}

#[tokio::test]
async fn stop_kills_after_the_grace_period() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let session = running(&client, "box", &["stubborn"]).await;
        let began = Instant::now();
        stop(&client, "box", 1).await.expect("it stops");
        assert!(began.elapsed() >= Duration::from_secs(1), "it had its time");
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 137);
        let detail = inspect(&client, "box").await.expect("it exists");
        assert_eq!(detail.summary.expect("always").state(), ContainerState::Exited);
    })
    .await;
}

#[tokio::test]
async fn a_running_container_is_removed_only_by_force() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let session = running(&client, "box", &["stubborn"]).await;
        let refused = remove(&client, "box", false).await.expect_err("it runs");
        assert_eq!(refused.code, ErrorCode::WrongState);
        assert!(refused.message.contains("--force"), "{refused}");
        let id = inspect(&client, "box").await.expect("it exists").summary.expect("always").id;
        assert_eq!(remove(&client, "box", true).await.expect("it goes"), id);
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 137);
        assert!(names(&client).await.is_empty());
        assert!(stack.world.guest().launcher.cgroups().is_empty(), "nothing is left behind");
        assert_eq!(remove(&client, "box", true).await.expect_err("gone").code, ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_created_and_an_ended_container_are_removed() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        create(&client, "made", config(&["true"])).await.expect("it is made");
        create(&client, "ended", config(&["true"])).await.expect("it is made");
        let session = attach(&client, all_streams("ended")).await.expect("it starts");
        session.outcome().await.expect("it ends");
        for name in ["made", "ended"] {
            remove(&client, name, false).await.expect(name);
        }
        assert!(names(&client).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_container_with_rm_goes_by_itself_and_its_client_still_gets_the_end() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let own = ContainerConfig { auto_remove: true, ..config(&["sh", "-c", "exit 3"]) };
        let id = create(&client, "box", own).await.expect("it is made");
        let waiter = client.clone();
        let gone = tokio::spawn(async move { wait(&waiter, &id, WaitCondition::Removed).await });
        let session = attach(&client, all_streams("box")).await.expect("it starts");
        assert_eq!(session.outcome().await.expect("it ends").exit.exit_code, 3);
        match gone.await.expect("no panic") {
            Ok(exit) => assert_eq!(exit.exit_code, 3),
            // The container was gone before the call came.
            Err(failure) => assert_eq!(failure.code, ErrorCode::NotFound),
        }
        while !names(&client).await.is_empty() {
            tokio::task::yield_now().await;
        }
        // Its name is free.
        create(&client, "box", config(&["true"])).await.expect("it is made");
    })
    .await;
}

#[tokio::test]
async fn an_ended_container_starts_again() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let outcome = run(&client, config(&["echo", "again"])).await.expect("it runs");
        let name = names(&client).await.pop().expect("it is there");
        let request = StartContainerRequest { container: name.clone() };
        client.containers(None).start(request).await.expect("it starts");
        let exit = wait(&client, &name, WaitCondition::NotRunning).await.expect("it exists");
        assert_eq!(exit.exit_code, outcome.exit.exit_code);
    })
    .await;
}
