//! The first call boots the machine.

use futures::future::join_all;
use linkspan_proto::{
    host::v1::{MachineState, PhaseState, StartMachineRequest},
    v1::ListContainersRequest,
};

use crate::host::{Stack, bounded};

#[tokio::test]
async fn five_first_calls_at_once_boot_the_machine_once() {
    bounded(async {
        let stack = Stack::new().await;
        let clients = join_all((0..5).map(|_| stack.client())).await;
        assert_eq!(stack.driver.starts().len(), 0, "a connection alone boots nothing");
        let calls = clients.iter().map(|client| async {
            client.containers(None).list(ListContainersRequest::default()).await
        });
        for answer in join_all(calls).await {
            assert!(answer.expect("a list").into_inner().containers.is_empty());
        }
        assert_eq!(stack.driver.starts().len(), 1);
        assert_eq!(stack.world.boots().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_start_tells_every_phase_and_ends_with_running() {
    bounded(async {
        let stack = Stack::new().await;
        let client = stack.client().await;
        let request = StartMachineRequest { name: String::new() };
        let mut updates = client.machines().start(request).await.expect("a start").into_inner();
        let mut last = None;
        while let Some(update) = updates.message().await.expect("no failure") {
            last = update.machine;
        }
        let machine = last.expect("at least one update");
        assert_eq!(machine.state(), MachineState::Running);
        let not_done: Vec<_> =
            machine.phases.iter().filter(|phase| phase.state() != PhaseState::Done).collect();
        assert!(not_done.is_empty(), "{not_done:?}");
        assert_eq!(machine.agent_version, env!("CARGO_PKG_VERSION"));
    })
    .await;
}
