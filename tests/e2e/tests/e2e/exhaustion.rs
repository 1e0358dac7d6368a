//! What runs out, or is killed, harms its container only, and is said.

use std::time::Instant;

use linkspan_test_e2e::{Host, finish, wait_until};

use crate::{CHECKER, Own, SOON, Shared, import_checker, unique};

fn lines(host: &Host, args: &[&str]) -> usize {
    host.run(args).ok().text().lines().count()
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_container_without_a_process_left_says_so_to_exec_and_harms_no_other", |host| {
        let name = unique("pids");
        let script = "sleep 300 & sleep 300 & echo ready; wait";
        let options = ["--name", &name, "--pids-limit", "3", "busybox", "sh", "-c", script];
        let _ = host.run(&[&["run", "-d"], &options[..]].concat()).ok();
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text() == "ready"));
        let refused = host.run(&["exec", &name, "true"]);
        assert!(refused.code > 124, "{refused:?}");
        assert!(refused.err.contains("--pids-limit"), "{refused:?}");
        assert_eq!(host.run(&["run", "--rm", "busybox", "echo", "well"]).ok().text(), "well");
        let more = ["update", "--pids-limit", "10", &name];
        let _ = host.run(&more).ok();
        let _ = host.run(&["exec", &name, "true"]).ok();
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_container_out_of_memory_harms_no_other_nor_the_agent", |host| {
        let well = host.run(&["run", "-d", "busybox", "sleep", "300"]).ok().text();
        let name = unique("memory");
        let options = ["--name", &name, "-m", "32m", "--memory-swap", "32m", CHECKER];
        let mut args = vec!["run", "-d"];
        args.extend(options);
        args.extend(["sleep", "300"]);
        let _ = host.run(&args).ok();
        let eaten = host.run(&["exec", &name, "/checker", "eat-memory", "64"]);
        assert_eq!(eaten.code, 137, "{eaten:?}");
        assert_eq!(host.run(&["exec", &well, "echo", "well"]).ok().text(), "well");
        assert_eq!(host.run(&["exec", &name, "echo", "too"]).ok().text(), "too");
        let _ = host.run(&["rm", "-f", &name, &well]).ok();
    }),
    ("a_killed_first_process_ends_its_container_also_below_an_init", |host| {
        let name = unique("init");
        let _ = host.run(&["run", "-d", "--init", "--name", &name, "busybox", "sleep", "300"]).ok();
        let pid = host.run(&["inspect", "-f", "{{.State.Pid}}", &name]).ok().text();
        let _ = host.run(&["machine", "shell", "--", "kill", "-9", &pid]).ok();
        assert_eq!(host.run(&["wait", &name]).ok().text(), "137");
        assert_eq!(host.run(&["top", &name]).code, 1);
        let _ = host.run(&["rm", &name]).ok();
    }),
];

/// A machine whose data disk is full to the last block, and what still works then.
fn full_disk(host: &Host) {
    let _ = host.run(&["machine", "init", "--disk", "1", "--memory", "768"]).ok();
    import_checker(host);
    let _ = host.run(&["run", "-d", "--name", "up", "busybox", "sh", "-c", "echo up; sleep 900"]);
    let _ = host.run(&["run", "--name", "down", "busybox", "sh", "-c", "exit 3"]);
    let fill = "dd if=/dev/zero of=/volume/fill bs=1M; dd if=/dev/zero of=/volume/rest bs=4k";
    let args = ["run", "--rm", "--privileged", "-v", "fill:/volume", "busybox", "sh", "-c", fill];
    let filled = host.run(&args);
    assert!(filled.err.contains("No space left on device"), "{filled:?}");
    let refused = host.run(&["exec", "up", "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=8"]);
    assert!(refused.err.contains("No space left on device"), "{refused:?}");
}

/// A failure names the lack of space; success is as good.
fn says_no_space(done: &linkspan_test_e2e::Done) {
    let said = done.code == 0 || done.err.to_lowercase().contains("no space");
    assert!(said, "`{}` does not say what is missing:\n{}", done.what, done.err);
}

pub(crate) const OWN: &[Own] = &[
    ("a_full_data_disk_stops_neither_looking_nor_stopping_nor_removing", || {
        let host = Host::new();
        full_disk(&host);
        assert_eq!(lines(&host, &["ps", "-aq"]), 2);
        assert_eq!(host.run(&["logs", "up"]).ok().text(), "up");
        assert_eq!(host.run(&["inspect", "-f", "{{.State.ExitCode}}", "down"]).ok().text(), "3");
        says_no_space(&host.run(&["create", "--name", "new", "busybox", "true"]));
        says_no_space(&host.run(&["volume", "create", "new"]));
        let archive = vec![b'x'; 4 << 20];
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(archive.len() as u64);
        tar.append_data(&mut header, "large", &archive[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let refused = host.run_with_stdin(&["import", "-", "large"], &tar);
        assert_ne!(refused.code, 0, "{refused:?}");
        says_no_space(&refused);
        assert!(refused.err.contains("hint:"), "{}", refused.err);
        // What frees space must work without any.
        says_no_space(&host.run(&["stop", "-t", "0", "up"]));
        let stopped = || host.run(&["inspect", "-f", "{{.State.Running}}", "up"]).ok().text();
        assert!(wait_until(SOON, || stopped() == "false"));
        let _ = host.run(&["rm", "-f", "up", "down"]).ok();
        let _ = host.run(&["volume", "rm", "fill"]).ok();
        // All is well again, and what is on the disk is consistent after a boot too.
        for _ in 0..2 {
            let args = ["run", "--rm", "-v", "/volume", CHECKER, "/checker", "exit", "9"];
            assert_eq!(host.run(&args).code, 9);
            let _ = host.run_with_stdin(&["import", "-", "large"], &tar).ok();
            let listed = host.run(&["ps", "-a", "--format", "{{.Names}}"]).ok().text();
            assert!(listed.is_empty() || listed == "new", "{listed}");
            let _ = host.run(&["machine", "stop"]).ok();
        }
        host.leaves_nothing();
    }),
    ("a_linkspan_init_that_is_killed_fails_its_start_and_leaves_nothing", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--memory", "768", "--disk", "2"]).ok();
        import_checker(&host);
        let mut killer = vec!["run", "-d", "--name", "killer", "--privileged", "--pid", "host"];
        killer.extend([CHECKER, "/checker", "kill-inits", "600"]);
        let _ = host.run(&killer).ok();
        assert!(wait_until(SOON, || host.run(&["logs", "killer"]).ok().text().contains("ready")));
        let count = "ls -d /sys/fs/cgroup/linkspan/containers/*/ | wc -l; ls /var/lib/linkspan/containers | wc -l";
        let counted = || host.run(&["machine", "shell", "--", "sh", "-c", count]).ok().text();
        let before = counted();
        let mut killed = 0;
        let caught = wait_until(SOON, || {
            let done = host.run(&["run", "--rm", "--name", "victim", "busybox", "true"]);
            match done.code {
                0 => {}
                // Killed when it had become the program already, as far as anybody can tell.
                137 => killed += 1,
                _ => {
                    assert!(done.err.contains("killed"), "{done:?}");
                    killed += 1;
                }
            }
            killed >= 3
        });
        assert!(caught, "only {killed} were killed");
        assert!(wait_until(SOON, || counted() == before), "{before} -> {}", counted());
        assert_eq!(lines(&host, &["ps", "-aq"]), 1);
        let _ = host.run(&["rm", "-f", "killer"]).ok();
        assert_eq!(host.run(&["run", "--rm", "busybox", "echo", "well"]).ok().text(), "well");
        host.leaves_nothing();
    }),
    ("many_containers_run_at_once", || {
        // `make soak`: as many as a busy server has.
        let count = if std::env::var_os("LINKSPAN_SOAK_CYCLES").is_some() { 200 } else { 40 };
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--memory", "4096", "--disk", "8"]).ok();
        let _ = host.run(&["machine", "start"]).ok();
        let begin = Instant::now();
        let args = ["run", "-d", "busybox", "sleep", "3000"];
        for _ in 0..count / 10 {
            let started: Vec<_> = (0..10).map(|_| host.spawn(&args)).collect();
            for child in started {
                let _ = finish(child, &args).ok();
            }
        }
        let up = begin.elapsed();
        assert_eq!(lines(&host, &["ps", "-q"]), count);
        let ids = host.run(&["ps", "-q"]).ok().text();
        let ids: Vec<_> = ids.lines().collect();
        assert_eq!(host.run(&["exec", ids[count / 2], "echo", "well"]).ok().text(), "well");
        let begin = Instant::now();
        for some in ids.chunks(50) {
            let _ = host.run(&[&["stop", "-t", "0"], some].concat()).ok();
        }
        assert_eq!(lines(&host, &["ps", "-q"]), 0);
        let down = begin.elapsed();
        assert_eq!(lines(&host, &["ps", "-aq"]), count);
        let _ = host.run(&["container", "prune", "-f"]).ok();
        assert_eq!(lines(&host, &["ps", "-aq"]), 0);
        println!("{count} containers: started in {up:.1?}, stopped in {down:.1?}");
        host.leaves_nothing();
    }),
];
