//! Starts, stops and what comes between them.

use futures::FutureExt as _;

use super::*;
use crate::{
    Ended, FailureKind, Phase, PhaseState, StopOrder, StopResult,
    driver::{DriverError, VmExit},
    fake::{FakePoint, PowerOffScript, Step, boot_steps},
};

fn ended(machine: &Machine) -> Option<Ended> {
    match machine.snapshot().state {
        State::Stopped(stopped) => stopped.ended,
        other => panic!("not stopped: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_starts_runs_and_powers_off() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    assert_eq!(machine.status().await.unwrap().disk_size_bytes, 0);
    assert!(machine.start().await.unwrap().booted);
    let snapshot = machine.snapshot();
    let running = snapshot.state.running().expect("it runs");
    assert!(running.phases.iter().all(|status| status.state == PhaseState::Done));
    assert_eq!((running.kernel.as_str(), running.adopted), ("lean", false));
    assert!(!machine.start().await.unwrap().booted, "it runs already");
    let status = machine.status().await.unwrap();
    assert_eq!(status.disk_size_bytes, 20 << 30);
    assert!(status.disk_allocated_bytes < 1 << 20 && status.host_memory_bytes > 0);
    let spec = ground.driver.starts().remove(0);
    assert!(spec.cmdline.starts_with("console=ttyS0 linkspan.machine=box"), "{}", spec.cmdline);
    // The guest is told of the folders that it has.
    assert!(spec.shares.iter().all(|share| spec.cmdline.contains(&share.tag)), "{spec:?}");
    let order = StopOrder { stop_timeout: Some(Duration::from_secs(3)), ..StopOrder::default() };
    assert_eq!(machine.stop(order).await.unwrap(), StopResult::Done);
    assert_eq!(ground.guest.stop_timeouts(), [Some(Duration::from_secs(3))]);
    assert_eq!(ended(&machine), Some(Ended::PoweredOff));
    assert_nothing_left(&ground);
    let again = machine.stop(StopOrder::default()).await.unwrap();
    assert_eq!(again, StopResult::Done, "stopping twice is fine");
}

#[tokio::test(start_paused = true)]
async fn two_starts_at_once_share_one_boot() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    let (one, other) = tokio::join!(machine.start(), machine.start());
    assert!(one.unwrap().booted && other.unwrap().booted);
    assert_eq!(ground.driver.starts().len(), 1);
    machine.kill().await.unwrap();
    ground.guest.boots(vec![Step::Hang]);
    let (one, other) = tokio::join!(machine.start(), machine.start());
    let (one, other) = (one.unwrap_err(), other.unwrap_err());
    assert_eq!(one.to_string(), other.to_string());
    assert_eq!(ground.driver.starts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_starter_that_goes_away_does_not_break_the_boot_off() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    assert!(machine.start().now_or_never().is_none());
    until(&machine, "running").await;
}

#[tokio::test(start_paused = true)]
async fn watchers_see_the_phases_and_the_present_state_first() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    let mut slow = Vec::new();
    for step in boot_steps() {
        slow.extend([step, Step::Wait(Duration::from_millis(10))]);
    }
    ground.guest.boots(slow);
    let mut out = machine.subscribe();
    out.changed().await.unwrap();
    assert_eq!(out.borrow_and_update().state.name(), "stopped");
    let starter = tokio::spawn({
        let machine = machine.clone();
        async move { machine.start().await }
    });
    let mut seen = Vec::new();
    loop {
        out.changed().await.unwrap();
        let snapshot = out.borrow_and_update().clone();
        let now = snapshot
            .state
            .phases()
            .and_then(|phases| phases.iter().find(|status| status.state == PhaseState::Running));
        seen.extend(now.map(|status| status.phase));
        if snapshot.state.name() == "running" {
            break;
        }
    }
    starter.await.unwrap().unwrap();
    for phase in [Phase::Image, Phase::Kernel, Phase::Disk, Phase::Ready] {
        assert!(seen.contains(&phase), "{phase} in {seen:?}");
    }
    assert!(seen.is_sorted(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_does_not_power_off_is_killed_and_that_is_said() {
    for script in [PowerOffScript::Stay, PowerOffScript::Silent, PowerOffScript::Unreachable] {
        let ground = Ground::new();
        let machine = ground.machine().await;
        machine.start().await.unwrap();
        ground.guest.powers_off(script);
        let begun = Instant::now();
        let stopped = machine.stop(StopOrder::default()).await.unwrap();
        assert_eq!(stopped, StopResult::Killed, "{script:?}");
        assert!(begun.elapsed() <= BUDGET * 2 + Duration::from_secs(1));
        assert_eq!(ended(&machine), Some(Ended::Killed));
        assert_nothing_left(&ground);
    }
}

#[tokio::test(start_paused = true)]
async fn containers_have_the_time_to_stop_that_they_are_set_to() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    let time = BUDGET * 30;
    ground.guest.has_containers(time);
    ground.guest.powers_off(PowerOffScript::After(time));
    assert_eq!(machine.stop(StopOrder::default()).await.unwrap(), StopResult::Done);
    assert_eq!(ended(&machine), Some(Ended::PoweredOff));
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_stands_still_is_seen_until_it_goes_on() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    assert_eq!(machine.snapshot().halted, None);
    let mut seen = machine.subscribe();
    for why in [Some("the disk is full"), None, Some("again")] {
        ground.driver.halt_all(why);
        let told = seen.wait_for(|snapshot| snapshot.halted.as_deref() == why);
        tokio::time::timeout(BUDGET, told).await.expect("it is told").unwrap();
    }
    machine.kill().await.unwrap();
    assert_eq!(machine.snapshot().halted, None, "nothing stands still any more");
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_start_ends_both() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![Step::Hang]);
    let starter = tokio::spawn({
        let machine = machine.clone();
        async move { machine.start().await }
    });
    let mut out = machine.subscribe();
    out.wait_for(|_| ground.driver.running() == 1).await.unwrap_or_else(|_| panic!());
    let begun = Instant::now();
    assert_eq!(machine.stop(StopOrder::default()).await.unwrap(), StopResult::StartBrokenOff);
    assert!(begun.elapsed() < BUDGET);
    assert!(matches!(starter.await.unwrap(), Err(MachineError::Interrupted(_))));
    assert_eq!(ended(&machine), Some(Ended::StartInterrupted));
    assert_nothing_left(&ground);
    let again = machine.stop(StopOrder::default()).await.unwrap();
    assert_eq!(again, StopResult::Done, "a second stop had nothing to break off");
    machine.start().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_during_a_stop_boots_afterwards() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    ground.guest.powers_off(PowerOffScript::Stay);
    let (stopped, started) = tokio::join!(machine.stop(StopOrder::default()), machine.start());
    assert_eq!(stopped.unwrap(), StopResult::Killed);
    assert!(started.unwrap().booted);
    assert_eq!(ground.driver.starts().len(), 2);
    assert_eq!(ground.driver.running(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kill_hurries_a_stop_that_waits() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    ground.guest.powers_off(PowerOffScript::Silent);
    let begun = Instant::now();
    let (stopped, killed) = tokio::join!(machine.stop(StopOrder::default()), machine.kill());
    assert_eq!(stopped.unwrap(), StopResult::Killed);
    killed.unwrap();
    assert!(begun.elapsed() < BUDGET, "it took {:?}", begun.elapsed());
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_does_not_die_is_an_error_and_still_held() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    ground.driver.fail(FakePoint::Kill, || DriverError::TimedOut {
        what: "the end of the VM".into(),
        seconds: 10,
    });
    let error = machine.kill().await.unwrap_err();
    assert!(error.to_string().contains("within 10 s"), "{error}");
    assert_eq!(machine.snapshot().state.name(), "failed");
    assert!(matches!(machine.start().await, Err(MachineError::Refused { .. })));
    machine.kill().await.unwrap();
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_vm_is_seen_without_asking() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    ground.driver.end_all(&VmExit::PoweredOff);
    until(&machine, "stopped").await;
    assert_nothing_left(&ground);
    machine.start().await.unwrap();
    std::fs::write(ground.serial_log(), "its last words\n").unwrap();
    ground.driver.end_all(&VmExit::Vanished);
    let State::Failed(failed) = until(&machine, "failed").await.state else { panic!() };
    assert_eq!((failed.failure.kind, failed.failure.phase), (FailureKind::Ended, None));
    assert_eq!(failed.failure.serial, ["its last words"]);
    assert_nothing_left(&ground);
    machine.stop(StopOrder::default()).await.unwrap();
    assert_eq!(machine.snapshot().state.name(), "stopped", "the failure has been seen");
}

#[tokio::test(start_paused = true)]
async fn settings_take_effect_at_the_next_start_and_the_disk_grows() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    machine.start().await.unwrap();
    let patch = SettingsPatch { cpus: Some(3), disk_gib: Some(21), ..SettingsPatch::default() };
    assert_eq!(machine.update(patch).await.unwrap().cpus, 3);
    assert!(machine.snapshot().restart_needed());
    assert_eq!(machine.status().await.unwrap().disk_size_bytes, 20 << 30);
    machine.stop(StopOrder::default()).await.unwrap();
    machine.start().await.unwrap();
    assert!(!machine.snapshot().restart_needed());
    assert_eq!(ground.driver.starts()[1].cpus, 3);
    assert_eq!(machine.status().await.unwrap().disk_size_bytes, 21 << 30);
    let bad = SettingsPatch { cpus: Some(99), disk_gib: Some(1), ..SettingsPatch::default() };
    let MachineError::Settings(error) = machine.update(bad).await.unwrap_err() else { panic!() };
    assert_eq!(error.problems.len(), 2, "{error}");
    let again = Machine::open(ground.parts()).await.unwrap();
    assert_eq!(again.snapshot().settings.cpus, 3, "what was refused changed nothing");
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_made_once_and_removed_whole() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    let second = Machine::create(ground.parts(), &SettingsPatch::default()).await;
    assert!(matches!(second.err(), Some(MachineError::Exists(_))));
    machine.start().await.unwrap();
    let refused = machine.remove(false).await.unwrap_err();
    assert!(refused.hint().unwrap().contains("machine stop box"), "{refused}");
    machine.remove(true).await.unwrap();
    assert_eq!(ground.driver.running(), 0);
    assert!(!ground.parts().paths.folder().exists());
    assert!(machine.snapshot().removed);
    assert!(matches!(machine.start().await, Err(MachineError::NotFound(_))));
    assert!(matches!(Machine::open(ground.parts()).await.err(), Some(MachineError::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn a_remove_by_force_breaks_a_start_off() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![Step::Hang]);
    let (started, removed) = tokio::join!(machine.start(), machine.remove(true));
    assert!(started.is_err());
    removed.unwrap();
    assert_eq!(ground.driver.running(), 0);
    assert!(!ground.parts().paths.folder().exists());
}
