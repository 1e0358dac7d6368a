//! Limits hold, and what happens at a limit is reported.

use linkspan_test_e2e::wait_until;

use crate::{CHECKER, SOON, Shared, report, unique};

pub(crate) const TESTS: &[Shared] = &[
    ("limits_arrive_in_the_cgroup", |host| {
        let seen = report(
            host,
            &[
                "-m",
                "64m",
                "--memory-swap",
                "96m",
                "--cpus",
                "0.5",
                "--pids-limit",
                "33",
                "--cpuset-cpus",
                "0",
                "-c",
                "512",
            ],
        );
        let file = |name: &str| seen["cgroup_files"][name].as_str().unwrap().to_owned();
        assert_eq!(file("memory.max"), (64 << 20).to_string());
        assert_eq!(file("memory.swap.max"), (32 << 20).to_string());
        assert_eq!(file("cpu.max"), "50000 100000");
        assert_eq!(file("pids.max"), "33");
        assert_eq!(file("cpuset.cpus"), "0");
        // 1 + ((512 - 2) * 9999) / 262142
        assert_eq!(file("cpu.weight"), "20");
    }),
    ("without_flags_there_is_no_limit", |host| {
        let seen = report(host, &[]);
        assert_eq!(seen["cgroup_files"]["memory.max"], "max");
        assert_eq!(seen["cgroup_files"]["cpu.max"], "max 100000");
    }),
    ("memory_beyond_the_limit_is_an_oom_kill_and_says_so", |host| {
        let name = unique("oom");
        let done = host.run(&[
            "run",
            "--name",
            &name,
            "-m",
            "24m",
            "--memory-swap",
            "24m",
            CHECKER,
            "/checker",
            "eat-memory",
            "64",
        ]);
        assert_eq!(done.code, 137, "{done:?}");
        let killed = host.run(&["inspect", "-f", "{{.State.OOMKilled}}", &name]).ok().text();
        assert_eq!(killed, "true");
        let _ = host.run(&["rm", &name]).ok();
        let done =
            host.run(&["run", "--rm", "-m", "96m", CHECKER, "/checker", "eat-memory", "16"]).ok();
        assert_eq!(done.text(), (16 << 20).to_string());
    }),
    ("an_oom_kill_is_told_while_the_container_lives_on", |host| {
        let name = unique("oom");
        let script = "/checker eat-memory 64; echo $?; exec sleep 600";
        let args =
            ["run", "-d", "--name", &name, "-m", "24m", "--memory-swap", "24m", CHECKER, "sh"];
        let _ = host.run(&[&args[..], &["-c", script]].concat()).ok();
        let state = || {
            let form = "{{.State.Status}} {{.State.OOMKilled}}";
            host.run(&["inspect", "-f", form, &name]).ok().text()
        };
        assert!(wait_until(SOON, || state() == "running true"), "{}", state());
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text() == "137"));
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_fork_bomb_stops_at_the_pids_limit", |host| {
        let done = host
            .run(&["run", "--rm", "--pids-limit", "12", CHECKER, "/checker", "fork", "40"])
            .ok();
        let text = done.text();
        let started: u32 = text.lines().next().unwrap().parse().unwrap();
        assert!((5..12).contains(&started), "{text}");
    }),
    ("a_cpu_quota_is_kept", |host| {
        let done =
            host.run(&["run", "--rm", "--cpus", "0.2", CHECKER, "/checker", "spin", "2000"]).ok();
        let used: u64 = done.text().parse().unwrap();
        // 20 % of 2 s is 400 ms; the first period and accounting add a little.
        assert!(used < 1000, "{used} ms of CPU time in 2 s at 0.2 CPUs");
    }),
];
