//! Machines by name: settings, stopping, what is refused.

use linkspan_client::{Client, Failure, failure};
use linkspan_proto::{
    error::ErrorCode,
    host::v1::{
        CreateMachineRequest, InspectMachineRequest, MachineSettingsPatch, MachineState,
        StopMachineRequest, UpdateMachineRequest,
    },
    v1::ListContainersRequest,
};

use crate::{
    calls::{all_streams, attach, config, create, names, running},
    host::{Stack, bounded},
};

async fn state(client: &Client) -> MachineState {
    let request = InspectMachineRequest { name: String::new() };
    let answer = client.machines().inspect(request).await.expect("it exists");
    answer.into_inner().machine.expect("always").state()
}

async fn stop(client: &Client, seconds: u32) -> Result<bool, Failure> {
    let request =
        StopMachineRequest { stop_timeout_seconds: Some(seconds), ..StopMachineRequest::default() };
    Ok(client.machines().stop(request).await.map_err(failure)?.into_inner().killed)
}

#[tokio::test]
async fn stop_powers_off_through_the_agent_and_the_machine_is_stopped() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let session = running(&client, "box", &["sigwait"]).await;
        let kernel = stack.world.guest().kernel;
        assert!(!stop(&client, 30).await.expect("it stops"), "it was not killed");
        let calls = kernel.calls();
        assert_eq!(calls.last().map(String::as_str), Some("power PowerOff"), "{calls:?}");
        assert!(calls.contains(&"sync".to_owned()), "{calls:?}");
        assert_eq!(state(&client).await, MachineState::Stopped);
        assert_eq!(stack.driver.running(), 0);
        let outcome = session.outcome().await.expect("the end still arrived");
        assert_eq!(outcome.exit.exit_code, 15, "the container had its stop signal");
        assert!(!stop(&client, 30).await.expect("it has stopped already"));
    })
    .await;
}

#[tokio::test]
async fn images_and_containers_survive_a_stop() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        create(&client, "box", config(&["echo", "still here"])).await.expect("it is made");
        stop(&client, 30).await.expect("it stops");
        assert_eq!(names(&client).await, ["box"], "and the call booted the machine again");
        assert_eq!(stack.driver.starts().len(), 2);
        let session = attach(&client, all_streams("box")).await.expect("it starts");
        assert_eq!(session.outcome().await.expect("it ends").stdout, b"still here\n");
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_nobody_made_is_not_found() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let list = ListContainersRequest::default();
        let refused = client.containers(Some("elsewhere")).list(list.clone()).await;
        let refused = failure(refused.expect_err("there is none"));
        assert_eq!(refused.code, ErrorCode::NotFound);
        assert!(refused.message.contains("elsewhere"), "{refused}");
        assert!(refused.hint.is_some_and(|hint| hint.contains("linkspan machine list")));
        let refused = client.containers(Some("No Name")).list(list).await;
        assert_eq!(failure(refused.expect_err("no name")).code, ErrorCode::InvalidArgument);
        assert!(stack.driver.starts().is_empty());
    })
    .await;
}

#[tokio::test]
async fn calls_go_to_the_machine_that_they_name() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let request = CreateMachineRequest { name: "other".into(), settings: None };
        client.machines().create(request).await.expect("it is made");
        create(&client, "box", config(&["true"])).await.expect("it is made");
        let list = ListContainersRequest { all: true, ..ListContainersRequest::default() };
        let there = client.containers(Some("other")).list(list).await.expect("it boots");
        assert!(there.into_inner().containers.is_empty());
        assert_eq!(names(&client).await, ["box"]);
        assert_eq!(stack.driver.running(), 2);
    })
    .await;
}

#[tokio::test]
async fn every_wrong_setting_is_told_at_once() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let wrong = MachineSettingsPatch {
            cpus: Some(0),
            memory_mib: Some(1),
            disk_gib: Some(0),
            kernel: Some("magic".into()),
            accelerator: Some("turbo".into()),
            ..MachineSettingsPatch::default()
        };
        let request = CreateMachineRequest { name: "new".into(), settings: Some(wrong.clone()) };
        let made = failure(client.machines().create(request).await.expect_err("all is wrong"));
        let request = CreateMachineRequest { name: "old".into(), settings: None };
        client.machines().create(request).await.expect("it is made");
        let request = UpdateMachineRequest { name: "old".into(), settings: Some(wrong) };
        let changed = failure(client.machines().update(request).await.expect_err("all is wrong"));
        for refused in [made, changed] {
            assert_eq!(refused.code, ErrorCode::InvalidArgument);
            for word in ["cpus", "memory", "disk", "kernel", "accelerator"] {
                assert!(refused.message.contains(word), "{word}: {refused}");
            }
        }
    })
    .await;
}
