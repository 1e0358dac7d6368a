//! `--init`: a first process that reaps and passes signals on.

use linkspan_runtime::launch::LaunchErrorKind;

use crate::bench::bench;

#[test]
fn the_program_is_the_second_process_and_its_exit_code_is_the_containers() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("echo $$; tr '\\0' ' ' < /proc/1/cmdline; exit 42");
    plan.process.init = true;
    let outcome = bench.run(&plan);
    assert_eq!((outcome.code, &*outcome.stdout), (42, "2\nlinkspan-init "));
    // The last one is a real-time signal: systemd's to stop, SIGRTMIN+3.
    for signal in [15, 37] {
        let mut plan = bench.plan(&format!("kill -{signal} $$"));
        plan.process.init = true;
        assert_eq!(bench.run(&plan).code, 128 + signal);
    }
}

#[test]
fn orphans_are_reaped() {
    let Some(bench) = bench() else { return };
    // The inner shell leaves its child behind, which ends at once: without a reaper it stays.
    let script = "sh -c 'sleep 0.01 & echo $! > /tmp/pid'; pid=$(cat /tmp/pid); \
                  for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /proc/$pid ] || { echo gone; exit; }; \
                  sleep 0.2; done; cat /proc/$pid/status";
    let mut plan = bench.plan(script);
    plan.process.init = true;
    assert_eq!(bench.run(&plan).stdout, "gone\n");
}

#[test]
fn the_first_process_has_nothing_open_but_the_standard_streams() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("echo /proc/1/fd/*");
    plan.process.init = true;
    assert_eq!(bench.run(&plan).stdout, "/proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2\n");
}

#[test]
fn a_program_that_is_not_there_is_reported_as_without_it() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("");
    plan.process.args = vec!["foo".into()];
    plan.process.init = true;
    let error = bench.try_run(&plan).unwrap_err();
    assert_eq!(error.kind, LaunchErrorKind::NotFound);
    assert_eq!(error.to_string(), "exec: \"foo\": executable file not found in $PATH");
}

#[test]
fn signals_are_passed_on() {
    let Some(bench) = bench() else { return };
    let script = "trap 'echo got; exit 7' USR1; kill -USR1 1; while :; do sleep 0.05; done";
    let mut plan = bench.plan(script);
    plan.process.init = true;
    let outcome = bench.run(&plan);
    assert_eq!((outcome.code, &*outcome.stdout), (7, "got\n"));
}
