//! A daemon that ends leaves its VMs; the next one takes them over.

use super::*;
use crate::{
    StopOrder, StopResult,
    driver::{DriverError, VmExit},
    fake::{FakePoint, HelloScript, Step},
};

/// A machine whose daemon has ended, with its VM still running.
async fn left_behind() -> (Ground, Snapshot) {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    let snapshot = machine.snapshot();
    let mut out = machine.subscribe();
    drop(machine);
    // The owner ends with its last handle, and lets go of the lock.
    while out.changed().await.is_ok() {}
    let lock = ground.parts().paths.lock();
    while linkspan_state::Lock::probe(&lock).unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(ground.driver.running(), 1, "the VM outlives its daemon");
    (ground, snapshot)
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_well_is_adopted_as_it_was() {
    let (ground, before) = left_behind().await;
    let machine = Machine::open(ground.parts()).await.unwrap();
    assert!(!machine.start().await.unwrap().booted, "a start shares the adoption");
    let after = machine.settled().await;
    let (before, after) = (before.state.running().unwrap(), after.state.running().unwrap());
    assert!(after.adopted && !before.adopted);
    assert_eq!(after.started_at, before.started_at);
    assert_eq!((after.vmm_pid, &after.kernel), (before.vmm_pid, &before.kernel));
    assert_eq!((&after.phases, &after.socket), (&before.phases, &before.socket));
    assert_eq!(ground.driver.starts().len(), 1);
    machine.stop(StopOrder::default()).await.unwrap();
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_does_not_answer_is_kept_and_told() {
    let (ground, _) = left_behind().await;
    ground.guest.says(HelloScript::Silent);
    let begun = Instant::now();
    let machine = Machine::open(ground.parts()).await.unwrap();
    let State::Failed(failed) = machine.settled().await.state else { panic!() };
    assert!(begun.elapsed() <= BUDGET + Duration::from_secs(1));
    assert!(failed.failure.remedy.contains("linkspan machine stop --force"));
    assert!(failed.stranded_pid.is_some());
    assert_eq!(ground.driver.running(), 1, "its containers may be well");
    assert!(matches!(machine.start().await, Err(MachineError::Refused { .. })));
    assert_eq!(machine.kill().await.unwrap(), StopResult::Killed);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_gone_leaves_a_stopped_machine() {
    let (ground, _) = left_behind().await;
    ground.driver.end_all(&VmExit::Vanished);
    let machine = Machine::open(ground.parts()).await.unwrap();
    assert!(machine.start().await.unwrap().booted, "a start that shared it boots afterwards");
    assert_eq!(ground.driver.starts().len(), 2);
    machine.kill().await.unwrap();
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_does_not_keep_a_vm_from_being_adopted() {
    for content in ["{\"format\":1,\"vmm", "{\"format\":99}"] {
        let (ground, _) = left_behind().await;
        std::fs::write(ground.run_record(), content).unwrap();
        let machine = Machine::open(ground.parts()).await.unwrap();
        assert!(machine.settled().await.state.running().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_was_still_booting_is_adopted() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![Step::Hang]);
    // The daemon dies in the middle: its runtime, and all that ran there.
    let parts = ground.parts();
    let boot = tokio::spawn(
        crate::boot::Boot::new(
            Arc::new(parts),
            machine.snapshot().settings,
            tokio_util::sync::CancellationToken::new(),
            Arc::new(tokio::sync::watch::Sender::new(machine.snapshot())),
            Vec::new(),
        )
        .run(),
    );
    while !ground.run_record().exists() {
        assert!(!boot.is_finished(), "the boot hangs by order");
        tokio::task::yield_now().await;
    }
    boot.abort();
    assert!(boot.await.is_err_and(|error| error.is_cancelled()));
    let machine = Machine::open(ground.parts()).await.unwrap();
    assert!(machine.settled().await.state.running().is_some_and(|running| running.adopted));
}

#[tokio::test(start_paused = true)]
async fn a_kill_does_not_wait_for_an_adoption() {
    let (ground, _) = left_behind().await;
    ground.guest.says(HelloScript::Silent);
    let machine = Machine::open(ground.parts()).await.unwrap();
    let begun = Instant::now();
    machine.kill().await.unwrap();
    assert!(begun.elapsed() < BUDGET);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn an_adoption_that_cannot_be_tried_says_why() {
    let (ground, _) = left_behind().await;
    ground.driver.fail(FakePoint::Adopt, || DriverError::Missing {
        what: "the pid file".into(),
        why: "someone removed it".into(),
        hint: "end the VM yourself".into(),
    });
    let machine = Machine::open(ground.parts()).await.unwrap();
    let State::Failed(failed) = machine.settled().await.state else { panic!() };
    assert_eq!(failed.failure.remedy, "end the VM yourself");
    assert_eq!(failed.stranded_pid, None);
}
