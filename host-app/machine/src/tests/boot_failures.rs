//! Every way in which a start fails: phase, cause, remedy, evidence, and nothing left behind.

use super::*;
use crate::{
    FailureKind, Phase, PhaseState, StopResult,
    driver::{Accelerator, DriverError, VmExit},
    fake::{FakePoint, HelloScript, Step, boot_steps, event, tcg, verdict},
    guest::{BootEvent, GuestError},
};

fn slack() -> Duration {
    Duration::from_secs(1)
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_hangs_is_told_with_its_last_lines() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![
        Step::Console(ground.serial_log(), "Booting\n\x1b[1mstuck here\x1b[0m\r\n".into()),
        Step::Hang,
    ]);
    let failure = failed_start(&machine, BUDGET + slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Kernel), FailureKind::TimedOut));
    assert!(failure.cause.contains("`lean`"), "{failure}");
    assert!(failure.remedy.contains("--kernel debian"), "{}", failure.remedy);
    assert_eq!(failure.serial, ["Booting", "stuck here"]);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_says_hello_is_told() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.says(HelloScript::Silent);
    let failure = failed_start(&machine, BUDGET + slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Ready), FailureKind::TimedOut));
    assert!(failure.cause.contains("Hello"), "{failure}");
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_another_version_is_told() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    let (why, hint) = ("it speaks 9".to_owned(), "build the image again".to_owned());
    ground.guest.says(HelloScript::Refuse(GuestError::Incompatible { why, hint }));
    let failure = failed_start(&machine, BUDGET).await;
    assert_eq!(failure.kind, FailureKind::Incompatible);
    assert_eq!(failure.remedy, "build the image again");
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_fails_in_the_guest_is_told_in_its_words() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    let failed = BootEvent {
        name: "disk".into(),
        error: "/dev/vda is not ext4".into(),
        hint: "use another disk".into(),
        ..BootEvent::default()
    };
    ground.guest.boots(vec![event("kernel", 0, 5), Step::Tell(failed), Step::Hang]);
    let failure = failed_start(&machine, slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Disk), FailureKind::Guest));
    assert_eq!(failure.cause, "/dev/vda is not ext4");
    assert_eq!(failure.remedy, "use another disk");
    let snapshot = machine.snapshot();
    let phases = snapshot.state.phases().expect("a failed boot shows how far it came");
    assert_eq!(phases.get(Phase::Disk).state, PhaseState::Failed);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn each_phase_of_the_guest_has_its_own_deadline() {
    for (name, phase) in
        [("agent", Phase::Agent), ("disk", Phase::Disk), ("network", Phase::Network)]
    {
        let ground = Ground::new();
        let machine = ground.machine().await;
        let late = Step::Wait(BUDGET * 4 / 5);
        ground.guest.boots(vec![late, event("kernel", 0, 5), event(name, 5, 0), Step::Hang]);
        let failure = failed_start(&machine, BUDGET * 2).await;
        assert_eq!((failure.phase, failure.kind), (Some(phase), FailureKind::TimedOut), "{name}");
        assert_nothing_left(&ground);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_ends_while_it_boots_is_told_at_once() {
    for (exit, word) in [
        (VmExit::Vanished, "monitor"),
        (VmExit::GuestPanicked, "panicked"),
        (VmExit::PoweredOff, "off"),
    ] {
        let ground = Ground::new();
        let machine = ground.machine().await;
        ground.guest.boots(vec![event("kernel", 0, 5), Step::End(exit)]);
        let failure = failed_start(&machine, slack()).await;
        assert_eq!((failure.phase, failure.kind), (Some(Phase::Agent), FailureKind::Ended));
        assert!(failure.cause.contains(word), "{failure}");
        assert_nothing_left(&ground);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_hypervisor_is_told_with_how_to_get_it() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.driver.fail(FakePoint::Accelerator, || DriverError::Missing {
        what: "qemu-system-x86_64".into(),
        why: "it is not in PATH".into(),
        hint: "install qemu-system-x86".into(),
    });
    let failure = failed_start(&machine, slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Image), FailureKind::Missing));
    assert_eq!(failure.remedy, "install qemu-system-x86");
    assert!(failure.serial.is_empty(), "there was no VM, so there is no log of it");
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_path_in_use_is_told() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.driver.fail(FakePoint::Start, || DriverError::InUse {
        what: "the socket `qmp.sock`".into(),
        why: "process 7 listens there".into(),
        hint: "end process 7".into(),
    });
    let failure = failed_start(&machine, slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Kernel), FailureKind::InUse));
    assert_eq!(failure.remedy, "end process 7");
    assert_nothing_left(&ground);
    machine.start().await.expect("the second start works");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_before_a_vm_starts() {
    let ground = Ground::new();
    let parts = Parts { min_free_bytes: u64::MAX, ..ground.parts() };
    let machine = Machine::create(parts, &SettingsPatch::default()).await.unwrap();
    let failure = failed_start(&machine, slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Image), FailureKind::NoSpace));
    assert!(failure.remedy.contains("free"), "{}", failure.remedy);
    assert!(ground.driver.starts().is_empty());
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_missing_vm_image_is_told_with_how_to_build_it() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    std::fs::remove_file(ground.home.path().join("image/vmlinux-lean")).unwrap();
    let failure = failed_start(&machine, slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Image), FailureKind::Image));
    assert!(failure.remedy.contains("make image"), "{}", failure.remedy);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_another_daemon_holds_is_told_with_who() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    let path = ground.parts().paths.lock();
    let held = linkspan_state::Lock::acquire(&path, "the machine").unwrap();
    let failure = failed_start(&machine, slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Image), FailureKind::InUse));
    assert!(failure.cause.contains(&format!("process {}", std::process::id())), "{failure}");
    drop(held);
    machine.start().await.expect("a lock that is let go is free");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_hangs_is_given_up_and_its_late_vm_killed() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.driver.delay_starts(BUDGET * 2);
    let failure = failed_start(&machine, BUDGET + slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Kernel), FailureKind::TimedOut));
    tokio::time::sleep(BUDGET * 2).await;
    assert_eq!(ground.driver.starts().len(), 1, "the VM came after all");
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn an_accelerator_without_a_sign_of_life_is_replaced_once_and_remembered() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.driver.has(vec![verdict(Accelerator::Kvm), tcg()]);
    ground.guest.boots(vec![Step::Hang]);
    let started = machine.start().await.expect("the translator works");
    assert_eq!(ground.driver.distrusted(), [Accelerator::Kvm]);
    assert_eq!(ground.driver.starts().len(), 2);
    let told = started.notices.join("\n");
    assert!(told.contains("kvm does not work") && told.contains("slowly, under tcg"), "{told}");
    let running = until(&machine, "running").await;
    assert_eq!(running.state.running().unwrap().accelerator.accelerator, Accelerator::Tcg);
    machine.kill().await.unwrap();
    machine.start().await.unwrap();
    assert_eq!(ground.driver.starts().len(), 3, "no second try of what does not work");
}

#[tokio::test(start_paused = true)]
async fn an_accelerator_that_was_asked_for_is_not_replaced() {
    let ground = Ground::new();
    let patch = SettingsPatch { accelerator: Some("kvm".into()), ..SettingsPatch::default() };
    if !cfg!(target_os = "linux") {
        return println!("skipped: KVM is Linux's");
    }
    let machine = Machine::create(ground.parts(), &patch).await.unwrap();
    ground.driver.has(vec![verdict(Accelerator::Kvm), tcg()]);
    ground.guest.boots(vec![Step::Hang]);
    let failure = failed_start(&machine, BUDGET + slack()).await;
    assert!(failure.cause.contains("no sign of life"), "{failure}");
    assert!(failure.remedy.contains("--accelerator tcg"), "{}", failure.remedy);
    assert!(ground.driver.distrusted().is_empty());
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_talks_and_hangs_is_not_the_accelerators_fault() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.driver.has(vec![verdict(Accelerator::Kvm), tcg()]);
    ground.guest.boots(vec![Step::Console(ground.serial_log(), "Linux\n".into()), Step::Hang]);
    let failure = failed_start(&machine, BUDGET + slack()).await;
    assert!(failure.cause.contains("did not start the agent"), "{failure}");
    assert!(ground.driver.distrusted().is_empty());
}

const STALL: &str = "[   21.7] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:\n";

#[tokio::test(start_paused = true)]
async fn a_kernel_that_stands_still_is_started_once_more() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![Step::Console(ground.serial_log(), STALL.into()), Step::Hang]);
    let started = machine.start().await.expect("the second boot works");
    assert_eq!(ground.driver.starts().len(), 2);
    assert!(started.notices.join("\n").contains("stood still"), "{:?}", started.notices);
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_stands_still_again_is_told() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    for _ in 0..2 {
        ground.guest.boots(vec![Step::Console(ground.serial_log(), STALL.into()), Step::Hang]);
    }
    let failure = failed_start(&machine, BUDGET + slack()).await;
    assert_eq!((failure.phase, failure.kind), (Some(Phase::Kernel), FailureKind::TimedOut));
    assert!(failure.cause.contains("stood still"), "{failure}");
    assert!(failure.remedy.contains("--kernel debian"), "{}", failure.remedy);
    assert_eq!(ground.driver.starts().len(), 2);
    assert_nothing_left(&ground);
}

#[tokio::test(start_paused = true)]
async fn slow_accelerators_get_more_time() {
    let ground = Ground::new();
    let parts =
        Parts { budgets: Budgets { slow_factor: 5, ..Budgets::all(BUDGET) }, ..ground.parts() };
    let machine = Machine::create(parts, &SettingsPatch::default()).await.unwrap();
    ground.driver.has(vec![tcg()]);
    let mut steps = vec![Step::Wait(BUDGET * 4)];
    steps.extend(boot_steps());
    ground.guest.boots(steps);
    machine.start().await.expect("40 s are within 5 times 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_beacon_that_breaks_is_replaced_by_hello() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![event("kernel", 0, 5), Step::Break]);
    machine.start().await.expect("the agent itself decides");
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_cannot_be_killed_is_not_forgotten() {
    let ground = Ground::new();
    let machine = ground.machine().await;
    ground.guest.boots(vec![Step::Hang]);
    ground.driver.fail(FakePoint::Kill, || DriverError::TimedOut {
        what: "the end of the VM".into(),
        seconds: 10,
    });
    failed_start(&machine, BUDGET + slack()).await;
    assert!(matches!(machine.start().await, Err(MachineError::Refused { .. })));
    assert!(matches!(machine.remove(false).await, Err(MachineError::Refused { .. })));
    assert_eq!(machine.kill().await.unwrap(), StopResult::Killed);
    assert_nothing_left(&ground);
    machine.start().await.unwrap();
}
