//! Cgroups: limits, ending and freezing everything at once.

use std::time::Duration;

use linkspan_sys::process::wait_pidfd;

use crate::bench::{Bench, PATIENCE, bench};

fn bench_with(controller: &str) -> Option<Bench> {
    let bench = bench()?;
    if bench.controllers.split_whitespace().any(|name| name == controller) {
        return Some(bench);
    }
    println!("skipped: cgroup2 has no `{controller}` controller here");
    None
}

#[test]
fn killing_the_cgroup_ends_every_process_and_it_can_be_removed() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000 & sleep 1000 & sleep 1000");
    let running = bench.start(&plan);
    assert!(running.cgroup.populated().unwrap());
    assert_eq!(running.end(), 137);
    running.cgroup.remove(PATIENCE).unwrap();
    assert!(!running.cgroup.path().exists());
}

#[test]
fn a_populated_cgroup_is_not_removed_and_says_why() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    let error = running.cgroup.remove(Duration::from_millis(20)).unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
}

#[test]
fn a_frozen_container_stands_still_and_can_be_killed() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("while :; do :; done");
    let running = bench.start(&plan);
    let stat = format!("/proc/{}/stat", running.started.pid);
    let ticks = || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.rsplit(' ').nth(52 - 14).unwrap().to_owned()
    };
    running.cgroup.freeze(PATIENCE).unwrap();
    let (before, _) = (ticks(), std::thread::sleep(Duration::from_millis(60)));
    assert_eq!(before, ticks(), "no time was used while frozen");
    running.cgroup.thaw().unwrap();
    running.cgroup.freeze(PATIENCE).unwrap();
    assert_eq!(running.end(), 137);
}

#[test]
fn limits_are_in_force_from_the_first_instruction() {
    let Some(bench) = bench_with("pids") else { return };
    let mut plan = bench.plan("cat /sys/fs/cgroup/pids.max; (true) || true; echo end");
    plan.resources.pids_max = Some(1);
    let outcome = bench.run(&plan);
    assert_eq!(outcome.code, 2, "{outcome:?}");
    assert!(outcome.stderr.contains("fork"), "{outcome:?}");
}

#[test]
fn running_out_of_memory_is_counted() {
    let Some(bench) = bench_with("memory") else { return };
    // tail keeps the last line, which never ends.
    let mut plan = bench.plan("tail -n 1 /dev/zero");
    plan.process.args = vec!["tail".into(), "-n".into(), "1".into(), "/dev/zero".into()];
    plan.resources.memory_max = Some(16 << 20);
    plan.resources.swap_max = Some(0);
    let running = bench.start(&plan);
    assert_eq!(wait_pidfd(&running.started.pidfd).unwrap(), 137);
    assert_eq!(running.cgroup.oom_kills().unwrap(), 1);
}

#[test]
fn processor_limits_are_written_and_can_be_changed() {
    let Some(bench) = bench_with("cpu") else { return };
    let mut plan = bench.plan("cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight; sleep 1000");
    plan.resources.cpu_max = Some((50_000, 100_000));
    plan.resources.cpu_weight = Some(42);
    let running = bench.start(&plan);
    let read = |file: &str| std::fs::read_to_string(running.cgroup.path().join(file)).unwrap();
    assert_eq!((read("cpu.max"), read("cpu.weight")), ("50000 100000\n".into(), "42\n".into()));
    let change = linkspan_runtime::plan::Resources {
        cpu_weight: Some(77),
        ..linkspan_runtime::plan::Resources::default()
    };
    running.cgroup.apply(&change).unwrap();
    assert_eq!((read("cpu.max"), read("cpu.weight")), ("50000 100000\n".into(), "77\n".into()));
}
