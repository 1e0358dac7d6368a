//! A guest that does not come up, and one that dies.

use std::pin::pin;

use linkspan_agent::boot::BootError;
use linkspan_client::failure;
use linkspan_machine::driver::VmExit;
use linkspan_proto::{
    error::ErrorCode,
    host::v1::{MachineState, PhaseState},
    v1::{ListContainersRequest, WaitCondition},
};

use crate::{
    calls::{inspect, names, running, wait},
    host::{Stack, bounded},
};

#[tokio::test]
async fn a_phase_that_fails_in_the_guest_is_told_with_cause_hint_and_console() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let cause = BootError::ForeignDisk;
        let (words, remedy) = (cause.to_string(), cause.hint().map(str::to_owned));
        assert!(remedy.is_some(), "this cause has a remedy");
        stack.world.breaks_disk(cause);
        let call = client.containers(None).list(ListContainersRequest::default()).await;
        let told = failure(call.expect_err("it does not boot"));
        assert!(told.message.contains("phase disk") && told.message.contains(&words), "{told}");
        assert_eq!(told.hint, remedy);
        assert!(told.evidence.iter().any(|line| line.contains("linkspan-agent")), "{told:?}");

        let machine = stack.until(&client, MachineState::Failed).await;
        let failed: Vec<_> = machine
            .phases
            .iter()
            .filter(|phase| phase.state() == PhaseState::Failed)
            .map(|phase| phase.name.as_str())
            .collect();
        assert_eq!(failed, ["disk"]);
        assert_eq!(machine.failure.map(|info| info.hint), remedy);
        assert_eq!(stack.driver.running(), 0, "nothing is left running");
        // And the next call tries again.
        assert!(names(&client).await.is_empty());
        assert_eq!(stack.world.boots().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_vm_that_is_killed_fails_its_calls_and_the_next_call_boots_again() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        let session = running(&client, "box", &["sleep", "600"]).await;
        // A call without a stream too; a later one's answer says that it has arrived.
        let mut waiting = pin!(wait(&client, "box", WaitCondition::NextExit));
        tokio::select! {
            biased;
            ended = &mut waiting => panic!("it runs: {ended:?}"),
            names = names(&client) => assert_eq!(names, ["box"]),
        }
        stack.driver.end_all(&VmExit::Vanished);
        let lost = session.outcome().await.expect_err("the guest is gone");
        assert_eq!(lost.code, ErrorCode::Unavailable, "{lost:?}");
        assert!(lost.message.contains("agent") && lost.hint.is_some(), "{lost:?}");
        let lost = waiting.await.expect_err("the guest is gone");
        assert_eq!(lost.code, ErrorCode::Unavailable, "{lost:?}");
        stack.until(&client, MachineState::Failed).await;
        // What the container was is on the disk.
        assert_eq!(names(&client).await, ["box"]);
        assert_eq!(stack.driver.starts().len(), 2);
        let detail = inspect(&client, "box").await.expect("it is there");
        assert_eq!(detail.pid, 0, "it does not run any more");
    })
    .await;
}

#[tokio::test]
async fn a_guest_that_panics_is_booted_again_unasked_and_the_crash_is_told() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        stack.driver.end_all(&VmExit::GuestPanicked);
        let machine = loop {
            let machine = stack.until(&client, MachineState::Running).await;
            if machine.last_crash.is_some() {
                break machine;
            }
        };
        let crash = machine.last_crash.expect("asked");
        assert!(crash.message.contains("panicked"), "{crash:?}");
        assert_ne!(machine.last_crash_unix_nanos, 0);
        assert_eq!(stack.driver.starts().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_dead_machine_says_how_it_died() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        stack.driver.end_all(&VmExit::Vanished);
        let machine = stack.until(&client, MachineState::Failed).await;
        let told = machine.failure.expect("a failed machine has a failure");
        assert!(told.message.contains("crashed or was killed"), "{told:?}");
    })
    .await;
}
