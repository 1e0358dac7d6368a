//! Pause, restart, update, policies, health, events, top and stats in the real kernel.

use std::io::{BufRead as _, BufReader};

use linkspan_test_e2e::{Host, wait_until};

use crate::{CHECKER, SOON, Shared, unique};

fn look(host: &Host, name: &str, what: &str) -> String {
    host.run(&["inspect", "-f", what, name]).ok().text()
}

/// A file of the container's cgroup, read in the machine.
fn cgroup(host: &Host, name: &str, file: &str) -> String {
    let path = look(host, name, "{{.CgroupPath}}");
    host.run(&["machine", "shell", "--", "cat", &format!("/sys/fs/cgroup/{path}/{file}")])
        .ok()
        .text()
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_paused_container_stands_still_and_goes_on", |host| {
        let name = unique("pause");
        let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        let lines = || host.run(&["logs", &name]).ok().text().lines().count();
        assert!(wait_until(SOON, || lines() > 0));
        assert_eq!(host.run(&["pause", &name]).ok().text(), name);
        assert!(cgroup(host, &name, "cgroup.events").contains("frozen 1"));
        assert_eq!(look(host, &name, "{{.State.Status}}"), "paused");
        let before = lines();
        host.run(&["exec", &name, "true"]).fails(125, &["unpause the container before exec"]);
        host.run(&["pause", &name]).fails(1, &["already paused"]);
        assert_eq!(lines(), before, "several calls later");
        let _ = host.run(&["unpause", &name]).ok();
        assert!(wait_until(SOON, || lines() > before));
        let _ = host.run(&["pause", &name]).ok();
        let _ = host.run(&["stop", "-t", "1", &name]).ok();
        assert_eq!(look(host, &name, "{{.State.Status}}"), "exited");
        let _ = host.run(&["start", &name]).ok();
        let _ = host.run(&["pause", &name]).ok();
        let _ = host.run(&["kill", &name]).ok();
        assert_eq!(look(host, &name, "{{.State.ExitCode}}"), "137");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("restart_keeps_the_files_and_changes_the_process", |host| {
        let name = unique("restart");
        let script = "echo x >> /log; cat /log; sleep 600";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        let pid = look(host, &name, "{{.State.Pid}}");
        let _ = host.run(&["restart", "-t", "0", &name]).ok();
        assert_ne!(look(host, &name, "{{.State.Pid}}"), pid);
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text() == "x\nx\nx"));
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("an_update_is_in_the_kernel_at_once", |host| {
        let (name, other) = (unique("update"), unique("renamed"));
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "600"]).ok();
        let args =
            ["update", "-m", "64m", "--cpus", "0.5", "--pids-limit", "20", "-c", "512", &name];
        let _ = host.run(&args).ok();
        assert_eq!(cgroup(host, &name, "memory.max"), (64 << 20).to_string());
        assert_eq!(cgroup(host, &name, "cpu.max"), "50000 100000");
        assert_eq!(cgroup(host, &name, "pids.max"), "20");
        let _ = host.run(&["update", "--pids-limit", "-1", &name]).ok();
        assert_eq!(cgroup(host, &name, "pids.max"), "max");
        host.run(&["update", "-m", "1m", "--pids-limit", "7", &name]).fails(1, &["--memory"]);
        assert_eq!(cgroup(host, &name, "pids.max"), "max", "nothing is half applied");
        let _ = host.run(&["rename", &name, &other]).ok();
        host.run(&["inspect", &name]).fails(1, &[&name]);
        assert_eq!(look(host, &other, "{{.HostConfig.Memory}}"), (64 << 20).to_string());
        let _ = host.run(&["rm", "-f", &other]).ok();
    }),
    ("a_policy_restarts_what_fails", |host| {
        let name = unique("policy");
        let args = [
            "run",
            "-d",
            "--name",
            &name,
            "--restart",
            "on-failure:2",
            "busybox",
            "sh",
            "-c",
            "exit 4",
        ];
        let _ = host.run(&args).ok();
        assert!(wait_until(SOON, || look(host, &name, "{{.State.Status}}") == "exited"));
        assert_eq!(look(host, &name, "{{.RestartCount}} {{.State.ExitCode}}"), "2 4");
        host.run(&["run", "--rm", "--restart", "always", "busybox"]).fails(125, &["--rm"]);
        let _ = host.run(&["rm", &name]).ok();
        let args = ["run", "-d", "--name", &name, "--restart", "always", "busybox", "true"];
        let _ = host.run(&args).ok();
        let _ = host.run(&["stop", &name]).ok();
        assert_eq!(look(host, &name, "{{.State.Status}}"), "exited");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("health_goes_from_starting_to_unhealthy_to_healthy", |host| {
        let name = unique("health");
        let args = [
            "run",
            "-d",
            "--name",
            &name,
            "--health-cmd",
            "cat /tmp/ok",
            "--health-interval",
            "200ms",
            "--health-retries",
            "2",
            CHECKER,
            "sleep",
            "600",
        ];
        let _ = host.run(&args).ok();
        let health = || look(host, &name, "{{.State.Health.Status}}");
        assert!(wait_until(SOON, || health() == "unhealthy"));
        assert!(
            host.run(&["ps", "--filter", "health=unhealthy"]).ok().text().contains("(unhealthy)")
        );
        let _ = host.run(&["exec", &name, "sh", "-c", "echo fine > /tmp/ok"]).ok();
        assert!(wait_until(SOON, || health() == "healthy"));
        let log = host.run(&["inspect", &name]).ok().json();
        let log = log[0]["State"]["Health"]["Log"].as_array().unwrap().clone();
        assert_eq!(log.last().unwrap()["Output"], "fine\n");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_probe_that_hangs_is_killed", |host| {
        let name = unique("hang");
        let args = [
            "run",
            "-d",
            "--name",
            &name,
            "--health-cmd",
            "sleep 601",
            "--health-interval",
            "100ms",
            "--health-timeout",
            "200ms",
            "--health-retries",
            "1",
            CHECKER,
            "sleep",
            "600",
        ];
        let _ = host.run(&args).ok();
        assert!(wait_until(SOON, || look(host, &name, "{{.State.Health.Status}}") == "unhealthy"));
        let log = host.run(&["inspect", &name]).ok().json();
        let output = log[0]["State"]["Health"]["Log"][0]["Output"].as_str().unwrap().to_owned();
        assert!(output.starts_with("Health check exceeded timeout"), "{output}");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("events_tell_a_life", |host| {
        let name = unique("told");
        let _ = host.run(&["run", "--rm", "--name", &name, "busybox", "sh", "-c", "exit 3"]);
        let filter = format!("container={name}");
        let events = || {
            let args = [
                "events",
                "--since",
                "10m",
                "--until",
                "0s",
                "--filter",
                &filter,
                "--format",
                "{{.Action}}",
            ];
            host.run(&args).ok().text()
        };
        assert!(wait_until(SOON, || events().ends_with("destroy")));
        assert_eq!(events(), "create\nattach\nstart\ndie\ndestroy");
        let args = ["events", "--since", "10m", "--until", "0s", "--filter", &filter];
        let text = host.run(&args).ok().text();
        assert!(text.contains(" container die ") && text.contains("exitCode=3"), "{text}");
    }),
    ("top_and_stats_show_the_processes", |host| {
        let name = unique("busy");
        let script = "sleep 600 & while :; do :; done";
        let _ = host
            .run(&["run", "-d", "-m", "64m", "--name", &name, "busybox", "sh", "-c", script])
            .ok();
        assert!(wait_until(SOON, || host.run(&["top", &name]).ok().text().contains("sleep 600")));
        let top = host.run(&["top", &name]).ok().text();
        let first = top.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(first, "UID PID PPID C STIME TTY TIME CMD");
        assert_eq!(top.lines().count(), 3, "{top}");
        let format = "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
        let stats = host.run(&["stats", "--no-stream", "--format", format, &name]).ok().text();
        let words: Vec<_> = stats.split_whitespace().collect();
        let cpu: f64 = words[0].trim_end_matches('%').parse().unwrap();
        assert!(cpu > 5.0, "{stats}");
        assert_eq!((words[3], words[4]), ("64MiB", "2"), "{stats}");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("stats_go_on_until_nobody_wants_them_or_the_container_ends", |host| {
        let name = unique("watched");
        let _ = host.run(&["run", "-d", "--name", &name, CHECKER, "sleep", "600"]).ok();
        let mut child = host.spawn(&["stats", "--format", "json", &name]);
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        for _ in 0..3 {
            let line = lines.next().expect("one more sample").expect("text");
            let sample: serde_json::Value = serde_json::from_str(&line).expect("an object");
            assert_eq!((&sample["Name"], &sample["PIDs"]), (&name.as_str().into(), &"1".into()));
        }
        // The containers that run are asked for anew for each sample.
        let _ = host.run(&["kill", &name]).ok();
        let stopped = lines.map_while(Result::ok).any(|line| line.contains("\"PIDs\":\"--\""));
        assert!(stopped);
        child.kill().expect("a child of ours");
        let _ = child.wait();
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("init_reaps_and_passes_signals_on", |host| {
        let name = unique("init");
        let script =
            "trap 'exit 9' TERM; cat /proc/1/cmdline; echo ready; while :; do sleep 0.1; done";
        let _ =
            host.run(&["run", "-d", "--init", "--name", &name, "busybox", "sh", "-c", script]).ok();
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text().contains("ready")));
        assert!(host.run(&["logs", &name]).ok().text().contains("linkspan-init"));
        let _ = host.run(&["stop", &name]).ok();
        assert_eq!(look(host, &name, "{{.State.ExitCode}}"), "9");
        let _ = host.run(&["rm", &name]).ok();
        host.run(&["run", "--rm", "--init", "busybox", "no-such"]).fails(127, &["no-such"]);
        let tty = host.run(&[
            "run",
            "--rm",
            "--init",
            "--oom-score-adj",
            "300",
            "busybox",
            "cat",
            "/proc/self/oom_score_adj",
        ]);
        assert_eq!(tty.ok().text(), "300");
    }),
];

/// With a machine of its own: it reboots.
pub(crate) const OWN: &[(&str, fn())] = &[("policies_survive_a_reboot_of_the_machine", || {
    let host = Host::new();
    for (name, policy) in [
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("stopped", "unless-stopped"),
        ("no", "no"),
    ] {
        let _ = host
            .run(&["run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "600"])
            .ok();
    }
    let _ = host.run(&["stop", "-t", "0", "stopped"]).ok();
    let _ = host.run(&["machine", "stop", "-t", "1"]).ok();
    let _ = host.run(&["machine", "start"]).ok();
    for name in ["always", "unless"] {
        let up = || look(&host, name, "{{.State.Status}}") == "running";
        assert!(wait_until(SOON, up), "{name}");
    }
    for name in ["stopped", "no"] {
        assert_eq!(look(&host, name, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    }
    let pruned = host.run(&["container", "prune", "-f"]).ok().text();
    assert!(pruned.contains("Total reclaimed space: "), "{pruned}");
    assert_eq!(host.run(&["ps", "-a", "-q"]).ok().text().lines().count(), 2);
    let _ = host.run(&["rm", "-f", "always", "unless"]).ok();
})];
