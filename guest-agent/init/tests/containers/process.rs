//! The process: program, user, limits, environment; and why it did not start.

use linkspan_runtime::launch::{LaunchErrorKind, Network, Stdio};
use linkspan_runtime::plan::Rlimit;
use linkspan_runtime::wire::Step;

use crate::bench::bench;

#[test]
fn the_exit_code_and_both_streams_arrive() {
    let Some(bench) = bench() else { return };
    let outcome = bench.run(&bench.plan("echo out; echo err >&2; exit 42"));
    assert_eq!((outcome.code, &*outcome.stdout, &*outcome.stderr), (42, "out\n", "err\n"));
    assert_eq!(bench.run(&bench.plan("cat; echo end")).stdout, "end\n", "no input: /dev/null");
}

#[test]
fn a_program_that_cannot_be_executed_is_told_from_one_that_is_not_there() {
    let Some(bench) = bench() else { return };
    for (program, kind, message) in [
        ("foo", LaunchErrorKind::NotFound, "exec: \"foo\": executable file not found in $PATH"),
        ("/foo", LaunchErrorKind::NotFound, "exec: \"/foo\": stat /foo: no such file or directory"),
        ("/etc", LaunchErrorKind::NotExecutable, "exec: \"/etc\": is a directory"),
        ("/etc/passwd", LaunchErrorKind::NotExecutable, "exec: \"/etc/passwd\": permission denied"),
    ] {
        let mut plan = bench.plan("");
        plan.process.args = vec![program.into()];
        let error = bench.try_run(&plan).unwrap_err();
        assert_eq!((error.kind, error.to_string().as_str()), (kind, message));
        assert_eq!(error.step(), Step::Execute);
    }
}

#[test]
fn users_are_looked_up_in_the_container() {
    let Some(bench) = bench() else { return };
    for (user, id, home) in [
        ("", "0 0 0 10", "/root"),
        ("app", "1000 1001 1001 10", "/home/app"),
        ("1000:0", "1000 0 0", "/home/app"),
        ("4711", "4711 0 0", "/"),
    ] {
        let mut plan = bench.plan("echo $(id -u) $(id -g) $(id -G); echo $HOME");
        plan.process.user.user = user.into();
        assert_eq!(bench.run(&plan).stdout, format!("{id}\n{home}\n"), "{user}");
    }
    let mut plan = bench.plan("true");
    plan.process.user.user = "ghost".into();
    assert_eq!(
        bench.try_run(&plan).unwrap_err().to_string(),
        "cannot find the user: unable to find user ghost: no matching entries in passwd file"
    );
}

#[test]
fn another_user_can_open_their_own_standard_output() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("echo through > /dev/stdout");
    plan.process.user.user = "app".into();
    assert_eq!(bench.run(&plan).stdout, "through\n");
}

#[test]
fn limits_mask_signals_and_environment_are_those_of_a_fresh_process() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan(
        "ulimit -n; ulimit -Hn; umask; grep -E 'Sig(Ign|Blk)' /proc/self/status | tr -d '\\t'; \
         env | grep -v SHLVL | sort; cat /proc/self/oom_score_adj",
    );
    plan.process.rlimits = vec![Rlimit { kind: "nofile".into(), soft: 99, hard: 512 }];
    plan.process.env.push("A=b c".into());
    plan.process.oom_score_adj = Some(500);
    // Whatever ignores a signal passes that on: SIGPIPE, which every Rust program ignores, and what this
    // test was started with. Of that, the 31 standard ones are a program's own again.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap() & !0x7fff_ffff;
    assert_eq!(
        bench.run(&plan).stdout,
        format!(
            "99\n512\n0022\nSigBlk:0000000000000000\nSigIgn:{ignored:016x}\n\
             A=b c\nHOME=/root\nPATH=/usr/bin:/bin\nPWD=/\n500\n"
        )
    );
}

#[test]
fn a_broken_pipe_ends_a_program_as_usual() {
    let Some(bench) = bench() else { return };
    let script = "(yes; echo $? >&2) | head -n 1";
    assert_eq!(bench.run(&bench.plan(script)).stderr, "141\n");
}

#[test]
fn the_working_directory_is_made_with_roots_ownership() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("pwd; stat -c '%u %a' .");
    plan.process.cwd = "/srv/new/place".into();
    plan.process.user.user = "app".into();
    assert_eq!(bench.run(&plan).stdout, "/srv/new/place\n0 755\n");
}

#[test]
fn every_step_is_timed_when_asked_for_and_none_when_not() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("true");
    let started = bench.launcher.start(&plan, Stdio::default(), Network::Plain, true).unwrap();
    linkspan_sys::process::wait_pidfd(&started.pidfd).unwrap();
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
    let names: Vec<_> = started.trace.iter().map(|timing| timing.name).collect();
    for name in ["cgroup", "spawn", "order", "overlay", "mounts", "seccomp", "execute"] {
        assert!(names.contains(&name), "{name} of {names:?}");
    }
    for pair in started.trace.windows(2) {
        assert!(pair[0].started_us <= pair[1].started_us, "{pair:?}");
    }
    for timing in &started.trace {
        println!("{:>14} {:>7} us  +{}", timing.name, timing.duration_us, timing.started_us);
    }
    let plan = bench.plan("true");
    assert!(bench.start(&plan).started.trace.is_empty());
}

#[test]
fn a_failed_start_leaves_no_process_behind() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("true");
    plan.process.rlimits = vec![Rlimit { kind: "files".into(), soft: 1, hard: 1 }];
    let error = bench.launcher.start(&plan, Stdio::default(), Network::Plain, false).unwrap_err();
    assert_eq!(error.to_string(), "cannot set a resource limit: there is no limit `files`");
    assert!(!bench.cgroup(&plan).populated().unwrap());
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}
