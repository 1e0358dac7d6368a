//! A container's life by way of the verbs.

use std::time::Duration;

use linkspan_test_e2e::{Host, finish, wait_until};

use crate::{CHECKER, SOON, Shared, unique};

fn state(host: &Host, name: &str) -> String {
    host.run(&["inspect", "-f", "{{.State.Status}}", name]).ok().text()
}

pub(crate) const TESTS: &[Shared] = &[
    ("create_start_wait_remove", |host| {
        let name = unique("life");
        let id =
            host.run(&["create", "--name", &name, "busybox", "sh", "-c", "exit 7"]).ok().text();
        assert_eq!(state(host, &name), "created");
        assert_eq!(host.run(&["start", &name]).ok().text(), name);
        assert_eq!(host.run(&["wait", &name]).ok().text(), "7");
        assert_eq!(state(host, &id[..12]), "exited");
        assert_eq!(host.run(&["rm", &name]).ok().text(), name);
        host.run(&["inspect", &name]).fails(1, &[&name]);
    }),
    ("what_cannot_be_deleted_is_dead_until_it_can", |host| {
        let name = unique("dead");
        let id = host.run(&["create", "--name", &name, "busybox", "true"]).ok().text();
        let shell = |script: &str| host.run(&["machine", "shell", "--", "sh", "-c", script]).ok();
        // A folder on which something is mounted cannot be deleted: rmdir(2), EBUSY.
        let folder = format!("/var/lib/linkspan/containers/{id}");
        let place = format!("{folder}/busy");
        let _ = shell(&format!("mkdir {place} && mount -t tmpfs none {place}"));
        host.run(&["rm", &name]).fails(1, &[&folder]);
        assert_eq!(state(host, &id), "dead");
        host.run(&["start", &id]).fails(1, &["remove it again"]);
        let list = ["ps", "-aq", "--no-trunc", "--filter", "status=dead"];
        assert!(host.run(&list).ok().text().contains(&id));
        let _ = shell(&format!("umount {place}"));
        let _ = host.run(&["rm", &id]).ok();
        host.run(&["inspect", &id]).fails(1, &[&id]);
    }),
    ("an_exited_container_starts_again_with_its_files", |host| {
        let name = unique("again");
        let _ = host
            .run(&["create", "--name", &name, "busybox", "sh", "-c", "echo x >> /log; cat /log"])
            .ok();
        assert_eq!(host.run(&["start", "-a", &name]).ok().text(), "x");
        assert_eq!(host.run(&["start", "-a", &name]).ok().text(), "x\nx");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("stop_sends_the_stop_signal", |host| {
        let name = unique("polite");
        let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text().contains("ready")));
        let _ = host.run(&["stop", &name]).ok();
        let code = host.run(&["inspect", "-f", "{{.State.ExitCode}}", &name]).ok().text();
        assert_eq!(code, "3");
        assert!(host.run(&["logs", &name]).ok().text().contains("bye"));
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("stop_kills_after_the_grace_period", |host| {
        let name = unique("stubborn");
        let script = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text().contains("ready")));
        let _ = host.run(&["stop", "-t", "1", &name]).ok();
        let code = host.run(&["inspect", "-f", "{{.State.ExitCode}}", &name]).ok().text();
        assert_eq!(code, "137");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("kill_sends_the_signal_that_was_asked_for", |host| {
        let name = unique("usr");
        let script = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.1; done";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text().contains("ready")));
        let _ = host.run(&["kill", "-s", "USR1", &name]).ok();
        assert_eq!(host.run(&["wait", &name]).ok().text(), "5");
        host.run(&["kill", &name]).fails(1, &["not running"]);
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("kill_ends_every_process", |host| {
        let name = unique("tree");
        let _ = host
            .run(&[
                "run",
                "-d",
                "--name",
                &name,
                "busybox",
                "sh",
                "-c",
                "sleep 600 & sleep 600 & wait",
            ])
            .ok();
        let _ = host.run(&["kill", &name]).ok();
        assert_eq!(host.run(&["wait", &name]).ok().text(), "137");
        let left =
            host.run(&["machine", "shell", "--", "sh", "-c", "ps | grep -c '[s]leep 600'"]).text();
        assert_eq!(left, "0");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("a_running_container_is_removed_only_by_force", |host| {
        let name = unique("busy");
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "300"]).ok();
        host.run(&["rm", &name]).fails(1, &[&name, "running"]);
        let _ = host.run(&["rm", "-f", &name]).ok();
        host.run(&["inspect", &name]).fails(1, &[&name]);
    }),
    ("rm_removes_when_it_ends", |host| {
        let name = unique("auto");
        let _ = host.run(&["run", "-d", "--rm", "--name", &name, "busybox", "sleep", "0.2"]).ok();
        assert!(wait_until(SOON, || host.run(&["inspect", &name]).code == 1));
    }),
    ("ps_shows_what_runs_and_all_when_asked", |host| {
        let (up, down) = (unique("up"), unique("down"));
        let _ = host.run(&["run", "-d", "--name", &up, "busybox", "sleep", "300"]).ok();
        let _ = host.run(&["run", "--name", &down, "busybox", "true"]).ok();
        let running = host.run(&["ps", "--format", "{{.Names}}"]).ok().text();
        assert!(running.contains(&up) && !running.contains(&down), "{running}");
        let all = host.run(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]).ok().text();
        assert!(all.contains(&format!("{down} Exited (0)")), "{all}");
        let table = host.run(&["ps", "-a"]).ok().text();
        for head in ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"] {
            assert!(table.contains(head), "{table}");
        }
        let quiet = host.run(&["ps", "-q", "--filter", &format!("name={up}")]).ok().text();
        assert_eq!(quiet.len(), 12, "{quiet}");
        let _ = host.run(&["rm", "-f", &up, &down]).ok();
    }),
    ("logs_keep_both_streams_in_order_and_tail", |host| {
        let name = unique("logs");
        // Two pipes have no order between them: what is asked of it is asked of one stream.
        let script = "echo oops >&2; for i in 1 2 3 4 5; do echo line $i; done";
        let _ = host.run(&["run", "--name", &name, "busybox", "sh", "-c", script]).ok();
        let logs = host.run(&["logs", &name]).ok();
        assert_eq!(logs.text(), "line 1\nline 2\nline 3\nline 4\nline 5");
        assert_eq!(logs.err.trim(), "oops");
        let tail = host.run(&["logs", "--tail", "2", &name]).ok();
        let tailed = tail.text().lines().count() + tail.err.lines().count();
        assert_eq!(tailed, 2, "{tail:?}");
        let stamped = host.run(&["logs", "-t", &name]).ok();
        assert!(stamped.err.starts_with("20") && stamped.err.contains("Z oops"), "{stamped:?}");
        assert_eq!(
            host.run(&["logs", "--since", "2000-01-01T00:00:00Z", &name])
                .ok()
                .text()
                .lines()
                .count(),
            5
        );
        assert_eq!(host.run(&["logs", "--until", "2000-01-01T00:00:00Z", &name]).ok().text(), "");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("followed_logs_end_with_the_container", |host| {
        let name = unique("follow");
        let script = "for i in 1 2 3; do echo $i; sleep 0.2; done";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        assert_eq!(host.run(&["logs", "-f", &name]).ok().text(), "1\n2\n3");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("exec_has_its_own_exit_code_environment_and_directory", |host| {
        let name = unique("exec");
        let _ = host
            .run(&["run", "-d", "--name", &name, "-e", "FROM=run", CHECKER, "sleep", "300"])
            .ok();
        assert_eq!(host.run(&["exec", &name, "/checker", "exit", "9"]).code, 9);
        host.run(&["exec", &name, "no-such"]).fails(127, &["no-such"]);
        let seen = host
            .run(&["exec", "-e", "MORE=exec", "-w", "/tmp", "-u", "app", &name, "/checker"])
            .ok()
            .json();
        assert_eq!(
            (seen["env"]["FROM"].as_str(), seen["env"]["MORE"].as_str()),
            (Some("run"), Some("exec"))
        );
        assert_eq!((seen["cwd"].as_str(), seen["uid"].as_u64()), (Some("/tmp"), Some(1000)));
        let file = host.home().join("exec.env");
        std::fs::write(&file, "# a comment\nONE=1\nTWO=two words\n").unwrap();
        let seen = host
            .run(&[
                "exec",
                "--env-file",
                &file.to_string_lossy(),
                "--privileged",
                &name,
                "/checker",
            ])
            .ok()
            .json();
        assert_eq!(
            (seen["env"]["ONE"].as_str(), seen["env"]["TWO"].as_str()),
            (Some("1"), Some("two words"))
        );
        let plain = host.run(&["exec", &name, "/checker"]).ok().json();
        assert_ne!(seen["capabilities"], plain["capabilities"], "--privileged");
        let echoed = host.run_with_stdin(&["exec", "-i", &name, "cat"], b"through exec").ok();
        assert_eq!(echoed.out, b"through exec");
        let _ = host.run(&["exec", "-d", &name, "sh", "-c", "echo done > /tmp/mark"]).ok();
        assert!(
            wait_until(SOON, || host.run(&["exec", &name, "cat", "/tmp/mark"]).text() == "done")
        );
        let _ = host.run(&["rm", "-f", &name]).ok();
        host.run(&["exec", &name, "true"]).fails(125, &[&name]);
    }),
    ("exec_output_is_exact_to_the_byte", |host| {
        let name = unique("bytes");
        let _ = host.run(&["run", "-d", "--name", &name, CHECKER, "sleep", "300"]).ok();
        let done = host.run(&["exec", &name, "/checker", "emit", "5000003"]).ok();
        assert!(done.out == crate::run::pattern(5_000_003), "{} bytes", done.out.len());
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("attach_sees_output_and_gives_input", |host| {
        let name = unique("attach");
        let _ = host.run(&["create", "-i", "--name", &name, "busybox", "cat"]).ok();
        let _ = host.run(&["start", &name]).ok();
        let done = host.run_with_stdin(&["attach", &name], b"to and fro\n").ok();
        assert_eq!(done.out, b"to and fro\n");
        assert_eq!(host.run(&["wait", &name]).ok().text(), "0");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("a_signal_to_the_client_reaches_the_container", |host| {
        let name = unique("proxy");
        let script = "trap 'exit 12' INT; echo ready; while :; do sleep 0.1; done";
        let args = ["run", "--rm", "--name", &name, "busybox", "sh", "-c", script];
        let child = host.spawn(&args);
        assert!(wait_until(SOON, || host.run(&["logs", &name]).text().contains("ready")));
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        assert_eq!(finish(child, &args).code, 12);
    }),
    ("a_client_that_dies_does_not_take_the_container_along", |host| {
        let name = unique("orphan");
        let mut child = host.spawn(&["run", "--name", &name, "busybox", "sleep", "300"]);
        assert!(wait_until(SOON, || {
            host.run(&["inspect", "-f", "{{.State.Running}}", &name]).text() == "true"
        }));
        child.kill().unwrap();
        let _ = child.wait();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(state(host, &name), "running");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("inspect_has_dockers_keys", |host| {
        let name = unique("inspect");
        let _ = host
            .run(&["create", "--name", &name, "-m", "64m", "-e", "A=b", "busybox", "true"])
            .ok();
        let all = host.run(&["inspect", &name]).ok().json();
        let it = &all[0];
        assert_eq!(it["Name"], format!("/{name}"));
        assert_eq!(it["State"]["Status"], "created");
        assert_eq!(it["HostConfig"]["Memory"], 64 << 20);
        assert!(it["Config"]["Env"].as_array().unwrap().contains(&"A=b".into()), "{it}");
        assert_eq!(it["Config"]["Image"], "busybox");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("twelve_containers_at_once", |host| {
        let children: Vec<_> = (0..12)
            .map(|number| {
                let text = format!("n{number}");
                (text.clone(), host.spawn(&["run", "--rm", "busybox", "echo", &text]))
            })
            .collect();
        for (text, child) in children {
            assert_eq!(finish(child, &["run"]).ok().text(), text);
        }
    }),
];
