//! What becomes of a machine whose guest panics while it runs.

use super::*;
use crate::{FailureKind, StopOrder, driver::VmExit, fake::Step};

/// Waits until there have been so many VMs and the last one runs.
async fn runs_as_number(ground: &Ground, machine: &Machine, number: usize) -> Snapshot {
    let mut out = machine.subscribe();
    let wait = out.wait_for(|snapshot| {
        snapshot.state.running().is_some() && ground.driver.starts().len() == number
    });
    let found = tokio::time::timeout(BUDGET * 20, wait).await;
    found.unwrap_or_else(|_| panic!("not running: {:?}", machine.snapshot())).unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_panics_is_started_again_and_the_crash_is_told() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    assert!(machine.snapshot().crash.is_none());
    std::fs::write(ground.serial_log(), "Kernel panic\n").unwrap();
    ground.driver.end_all(&VmExit::GuestPanicked);
    let snapshot = runs_as_number(&ground, &machine, 2).await;
    let crash = snapshot.crash.expect("it crashed");
    assert_eq!((crash.failure.kind, crash.failure.phase), (FailureKind::Ended, None));
    assert_eq!(crash.failure.serial, ["Kernel panic"]);
    let State::Running(running) = snapshot.state else { panic!() };
    assert!(running.notices.iter().any(|notice| notice.contains("crashed")), "{running:?}");
    // Seen by whoever stops it; what follows is a run like any other.
    machine.stop(StopOrder::default()).await.unwrap();
    assert!(machine.snapshot().crash.is_none());
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_panics_again_and_again_is_left_failed_until_somebody_starts_it() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    for number in 1..=3 {
        runs_as_number(&ground, &machine, number).await;
        ground.driver.end_all(&VmExit::GuestPanicked);
    }
    runs_as_number(&ground, &machine, 4).await;
    ground.driver.end_all(&VmExit::GuestPanicked);
    let State::Failed(failed) = until(&machine, "failed").await.state else { panic!() };
    assert!(failed.failure.cause.contains("started again 3 times"), "{}", failed.failure);
    assert_nothing_left(&ground);
    assert!(machine.start().await.unwrap().booted);
    ground.driver.end_all(&VmExit::GuestPanicked);
    runs_as_number(&ground, &machine, 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_start_after_a_crash_that_crashes_too_counts() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    for _ in 0..3 {
        ground.guest.boots(vec![Step::End(VmExit::GuestPanicked)]);
    }
    ground.driver.end_all(&VmExit::GuestPanicked);
    let State::Failed(failed) = until(&machine, "failed").await.state else { panic!() };
    assert!(failed.failure.cause.contains("started again 3 times"), "{}", failed.failure);
    assert_eq!(ground.driver.starts().len(), 4);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_first_boot_that_panics_is_not_tried_again() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![Step::End(VmExit::GuestPanicked)]);
    let failure = failed_start(&machine, BUDGET).await;
    assert_eq!(failure.kind, FailureKind::Ended);
    assert_eq!(ground.driver.starts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_starts_or_stops_it_meanwhile_joins_or_ends_the_start() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    ground.driver.delay_starts(Duration::from_secs(1));
    ground.driver.end_all(&VmExit::GuestPanicked);
    until(&machine, "starting").await;
    machine.start().await.unwrap();
    assert_eq!(ground.driver.starts().len(), 2, "it shared the start that was under way");

    ground.driver.end_all(&VmExit::GuestPanicked);
    until(&machine, "starting").await;
    machine.kill().await.unwrap();
    assert_eq!(machine.snapshot().state.name(), "stopped");
    assert_nothing_left(&ground);
}
