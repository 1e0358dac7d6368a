//! Options of `run` and other verbs that no other room is about.

use linkspan_test_e2e::wait_until;

use crate::{CHECKER, SOON, Shared, report, unique};

pub(crate) const TESTS: &[Shared] = &[
    ("groups_privileges_and_reservations_arrive_in_the_process", |host| {
        let seen = report(
            host,
            &[
                "--group-add=extra",
                "--group-add=4242",
                "--security-opt=no-new-privileges",
                "--memory-reservation=16m",
                "--isolation=default",
                "--oom-score-adj=123",
                "--domainname=example.test",
            ],
        );
        let groups = seen["groups"].as_array().expect("a list");
        for group in [2000, 4242] {
            assert!(groups.contains(&group.into()), "{groups:?}");
        }
        assert_eq!(seen["no_new_privs"], "1");
        assert_eq!(seen["cgroup_files"]["memory.low"], (16 << 20).to_string());
        assert_eq!(seen["oom_score_adj"], "123");
        assert_eq!(seen["domainname"], "example.test");
        assert_eq!(report(host, &[])["no_new_privs"], "0");
    }),
    ("annotations_and_what_was_attached_are_kept_and_the_id_is_in_its_file", |host| {
        let name = unique("kept");
        let file = host.home().join(&name);
        let cidfile = format!("--cidfile={}", file.display());
        let args = ["run", "-d", "--name", &name, "--annotation=a=b", &cidfile, CHECKER, "true"];
        let id = host.run(&args).ok().text();
        assert_eq!(std::fs::read_to_string(&file).expect("it was written"), id);
        host.run(&["run", "--rm", &cidfile, CHECKER, "true"]).fails(125, &["the file exists"]);
        let it = &host.run(&["inspect", &name]).ok().json()[0];
        assert_eq!(it["HostConfig"]["Annotations"]["a"], "b");
        assert_eq!(it["Config"]["AttachStdout"], false);
        let _ = host.run(&["rm", "-f", &name]).ok();
        let _ = host.run(&["run", "--name", &name, CHECKER, "true"]).ok();
        let it = &host.run(&["inspect", &name]).ok().json()[0];
        for (stream, attached) in [("Stdin", false), ("Stdout", true), ("Stderr", true)] {
            assert_eq!(it["Config"][format!("Attach{stream}")], attached, "{stream}");
        }
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("commands_that_run_in_a_container_are_listed_with_it", |host| {
        let name = unique("execs");
        let _ = host.run(&["run", "-d", "--name", &name, CHECKER, "sleep", "600"]).ok();
        let ids = || host.run(&["inspect", &name]).ok().json()[0]["ExecIDs"].clone();
        assert!(ids().is_null());
        let script = "while [ ! -e /tmp/go ]; do busybox usleep 50000; done";
        let _ = host.run(&["exec", "-d", &name, "sh", "-c", script]).ok();
        let listed = ids();
        let [id] = listed.as_array().expect("a list").as_slice() else { panic!("{listed}") };
        assert_eq!(id.as_str().map(str::len), Some(64));
        let _ = host.run(&["exec", &name, "sh", "-c", "> /tmp/go"]).ok();
        assert!(wait_until(SOON, || ids().is_null()), "{}", ids());
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("one_more_process_may_have_every_privilege", |host| {
        let name = unique("privileged");
        let _ = host.run(&["run", "-d", "--name", &name, CHECKER, "sleep", "600"]).ok();
        let state = |flags: &[&str]| {
            let script = "busybox grep -E '^(CapEff|Seccomp):' /proc/self/status";
            let args = [&["exec"][..], flags, &[&name, "sh", "-c", script]].concat();
            let text = host.run(&args).ok().text();
            let mut numbers =
                text.lines().map(|line| line.split_once(':').expect("a field").1.trim());
            let set = u64::from_str_radix(numbers.next().expect("a set"), 16).expect("a set");
            (set, numbers.next().expect("a mode").to_owned())
        };
        const SYS_ADMIN: u64 = 1 << 21;
        let (plain, filter) = state(&[]);
        assert_eq!((plain & SYS_ADMIN, &*filter), (0, "2"));
        let (whole, filter) = state(&["--privileged"]);
        assert_eq!((whole & SYS_ADMIN, &*filter), (SYS_ADMIN, "0"));
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_host_name_is_shared_with_who_joins_it", |host| {
        let name = unique("uts");
        let args = ["run", "-d", "--name", &name, "--hostname=donor", CHECKER, "sleep", "600"];
        let _ = host.run(&args).ok();
        let joined = report(host, &[&format!("--uts=container:{name}")]);
        assert_eq!(joined["hostname"], "donor");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("the_stop_signal_has_the_seconds_that_were_asked_for", |host| {
        let name = unique("deaf");
        let script = "trap '' TERM; echo ready; while true; do busybox usleep 100000; done";
        let args = ["run", "-d", "--name", &name, "--stop-timeout=0", CHECKER, "sh", "-c", script];
        let _ = host.run(&args).ok();
        assert!(wait_until(SOON, || host.run(&["logs", &name]).ok().text() == "ready"));
        let _ = host.run(&["stop", &name]).ok();
        let code = host.run(&["inspect", "-f", "{{.State.ExitCode}}", &name]).ok().text();
        assert_eq!(code, "137");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("a_container_is_named_by_its_name_its_id_and_the_beginning_of_it", |host| {
        let name = unique("named");
        let args = ["run", "-d", "--name", &name, CHECKER, "sleep", "600"];
        let id = host.run(&args).ok().text();
        let other = format!("{name}-later");
        let _ = host.run(&["rename", &name, &other]).ok();
        host.run(&["inspect", &name]).fails(1, &[&name]);
        for word in [&*other, &id, &id[..12], &id[..8]] {
            assert_eq!(host.run(&["inspect", "-f", "{{.Id}}", word]).ok().text(), id, "{word}");
        }
        let mut waiting = host.spawn(&["wait", &other, &id[..12]]);
        let _ = host.run(&["kill", &id[..12]]).ok();
        let output = std::io::read_to_string(waiting.stdout.take().expect("a pipe")).expect("text");
        assert_eq!(output, "137\n137\n");
        assert!(waiting.wait().expect("a child of ours").success());
        let _ = host.run(&["rm", &other]).ok();
    }),
    ("each_line_of_a_log_has_its_time_when_it_is_asked_for", |host| {
        let name = unique("times");
        let args = ["run", "--name", &name, CHECKER, "sh", "-c", "echo one; echo two"];
        let _ = host.run(&args).ok();
        let text = host.run(&["logs", "-t", &name]).ok().text();
        let lines: Vec<(&str, &str)> =
            text.lines().map(|line| line.split_once(' ').expect("a time and a line")).collect();
        assert_eq!([lines[0].1, lines[1].1], ["one", "two"]);
        for (time, _) in &lines {
            // RFC 3339 with nanoseconds: 2026-01-31T12:00:00.123456789Z
            assert!(time.len() == 30 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
        }
        assert!(lines[0].0 <= lines[1].0, "{text}");
        // Between the two: the second only.
        let since = ["logs", "--since", lines[1].0, &name];
        assert!(host.run(&since).ok().text().ends_with("two"));
        let before = ["logs", "--until", "2020-01-01T00:00:00Z", &name];
        assert_eq!(host.run(&before).ok().text(), "");
        // Not `0s`: the machine's clock may be a little ahead of the host's.
        let after = ["logs", "--until", "2100-01-01T00:00:00Z", &name];
        assert_eq!(host.run(&after).ok().text(), "one\ntwo");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("mounts_spread_as_they_are_asked_to", |host| {
        // A folder of the machine whose mounts are shared, and one below it that is mounted later.
        let place = format!("/dev/{}", unique("spread"));
        let shell = |script: &str| host.run(&["machine", "shell", "--", "sh", "-c", script]).ok();
        let _ = shell(&format!(
            "mkdir -p {place} && mount -t tmpfs none {place} && mount --make-shared {place} && \
             mkdir {place}/below"
        ));
        let mut names = Vec::new();
        for propagation in ["rslave", "rprivate"] {
            let name = unique("spread");
            let mount = format!("{place}:/m:{propagation}");
            let args = ["run", "-d", "--name", &name, "-v", &mount, CHECKER, "sleep", "600"];
            let _ = host.run(&args).ok();
            names.push(name);
        }
        let _ = shell(&format!("mount -t tmpfs none {place}/below && touch {place}/below/file"));
        let sees = |name: &str| host.run(&["exec", name, "ls", "/m/below"]).ok().text();
        assert_eq!(sees(&names[0]), "file");
        assert_eq!(sees(&names[1]), "");
        let _ = host.run(&["rm", "-f", &names[0], &names[1]]).ok();
        let _ = shell(&format!("umount {place}/below {place} && rmdir {place}"));
    }),
];
