//! One more process in a running container.

use std::os::fd::AsFd as _;

use linkspan_runtime::launch::{LaunchErrorKind, Stdio};
use linkspan_runtime::wire::Step;
use linkspan_sys::process::wait_pidfd;

use crate::bench::{bench, process};

#[test]
fn it_is_in_all_namespaces_and_the_cgroup_of_the_container() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("touch /tmp/from-first; sleep 1000");
    let running = bench.start(&plan);
    let script = "while ! ls /tmp/from-first 2>/dev/null; do :; done; hostname; \
        cat /proc/self/cgroup | tail -n 1; \
        for n in mnt uts ipc net pid cgroup; do \
        test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n differs; done; \
        ls /proc/self/fd | tr '\\n' ' '; exit 7";
    let outcome = bench.exec(&plan, &running, &process(script)).unwrap();
    let expected = "/tmp/from-first\nbox\n0::/\n0 1 2 3 ";
    assert_eq!((outcome.code, &*outcome.stdout), (7, expected), "{}", outcome.stderr);
    let pid = running.started.pid;
    let procs = std::fs::read_to_string(running.cgroup.path().join("cgroup.procs")).unwrap();
    assert!(procs.lines().any(|line| line == pid.to_string()), "{pid} of {procs}");
}

#[test]
fn it_has_its_own_user_environment_and_privileges() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    let mut more = process(
        "id -u; echo $EXTRA; pwd; grep -E 'CapBnd|Seccomp:' /proc/self/status | tr '\\t' ' '",
    );
    more.user.user = "app".into();
    more.env.push("EXTRA=yes".into());
    more.cwd = "/tmp".into();
    let outcome = bench.exec(&plan, &running, &more).unwrap();
    assert_eq!(outcome.stdout, "1000\nyes\n/tmp\nCapBnd: 00000000a80425fb\nSeccomp: 2\n");
}

#[test]
fn failures_are_told_apart_and_the_container_lives_on() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    let mut missing = process("");
    missing.args = vec!["nope".into()];
    let error = bench.exec(&plan, &running, &missing).unwrap_err();
    assert_eq!(error.kind, LaunchErrorKind::NotFound);
    assert_eq!(error.to_string(), "exec: \"nope\": executable file not found in $PATH");
    let mut nowhere = process("true");
    nowhere.cwd = "/no/where".into();
    let error = bench.exec(&plan, &running, &nowhere).unwrap_err();
    assert_eq!((error.step(), error.kind), (Step::WorkingDirectory, LaunchErrorKind::NotFound));
    assert!(running.cgroup.populated().unwrap());
    assert_eq!(bench.exec(&plan, &running, &process("echo on")).unwrap().stdout, "on\n");
}

#[test]
fn a_container_that_has_ended_takes_no_more_processes() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    assert_eq!(running.end(), 137);
    let error = bench.exec(&plan, &running, &process("true")).unwrap_err();
    assert_eq!((error.step(), error.kind), (Step::Join, LaunchErrorKind::Other), "{error}");
}

#[test]
fn ending_the_container_ends_it_too() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    let target = running.started.pidfd.as_fd();
    let more = process("sleep 1000");
    let started = bench.launcher.exec(target, &plan.cgroup, &more, Stdio::default(), true).unwrap();
    for timing in &started.trace {
        println!("{:>14} {:>7} us  +{}", timing.name, timing.duration_us, timing.started_us);
    }
    running.cgroup.kill().unwrap();
    // This one first: the first process of a pid namespace ends only when all others have been
    // waited for. The agent's reaper waits for whichever is there.
    assert_eq!(wait_pidfd(&started.pidfd).unwrap(), 137);
    assert_eq!(running.end(), 137);
}
