//! Logs: drivers, rotation, what a flood of output costs, and several clients at once.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::Child,
};

use linkspan_test_e2e::{Host, finish, wait_until};

use crate::{CHECKER, SOON, Shared, unique};

/// Waits in the container until the test says `go`.
const WAIT: &str = "echo ready; while [ ! -e /tmp/go ]; do busybox usleep 50000; done; ";

#[track_caller]
fn start(host: &Host, name: &str, flags: &[&str], script: &str) {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend_from_slice(flags);
    args.extend_from_slice(&[CHECKER, "sh", "-c", script]);
    let _ = host.run(&args).ok();
}

#[track_caller]
fn go(host: &Host, name: &str) {
    let _ = host.run(&["exec", name, "sh", "-c", "> /tmp/go"]).ok();
}

/// A client whose first line has come: it is connected.
#[track_caller]
fn connected(
    host: &Host,
    args: &[&str],
    first: &str,
) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = host.spawn(args);
    let mut out = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("it can be read");
    assert_eq!(line.trim_end(), first);
    (child, out)
}

fn in_the_vm(host: &Host, script: &str) -> String {
    host.run(&["machine", "shell", "--", "sh", "-c", script]).ok().text()
}

/// Resident memory of the agent, KiB.
fn agent_memory(host: &Host) -> i64 {
    let status = in_the_vm(host, "grep VmRSS /proc/1/status");
    status.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// The most that it was since it was asked to forget what was before.
fn agent_peak(host: &Host) -> i64 {
    let status = in_the_vm(host, "grep VmHWM /proc/1/status");
    status.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
}

/// Names and sizes of the files of a container's log.
fn log_files(host: &Host, id: &str) -> Vec<(String, u64)> {
    let script =
        format!("cd /var/lib/linkspan/containers/{id} && busybox stat -c '%n %s' *.log* | sort");
    let listed = in_the_vm(host, &script);
    let parse = |line: &str| {
        let (name, size) = line.split_once(' ').expect("a name and a size");
        (name.to_owned(), size.parse().expect("a size"))
    };
    listed.lines().map(parse).collect()
}

fn id_of(host: &Host, name: &str) -> String {
    host.run(&["inspect", "-f", "{{.Id}}", name]).ok().text()
}

pub(crate) const TESTS: &[Shared] = &[
    ("a_follower_sees_every_line_once_over_rotations", |host| {
        for driver in ["json-file", "local"] {
            let name = unique("rotating");
            let script = format!("{WAIT} busybox seq 1 4000");
            // More files than the follower can be behind by.
            let flags =
                ["--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=60"];
            start(host, &name, &flags, &script);
            let (mut child, mut out) = connected(host, &["logs", "-f", &name], "ready");
            go(host, &name);
            let mut seen = String::new();
            out.read_to_string(&mut seen).expect("text");
            assert_eq!(child.wait().expect("a child of ours").code(), Some(0), "{driver}");
            let expected: String = (1..=4000).map(|line| format!("{line}\n")).collect();
            assert!(seen == expected, "{driver}: {} bytes of {}", seen.len(), expected.len());
            let files = log_files(host, &id_of(host, &name)).len();
            assert!(files > 5, "{driver}: it was not rotated: {files} files");
            let all = host.run(&["logs", &name]).ok().text();
            assert!(all == format!("ready\n{expected}").trim_end(), "{driver}: read again");
            let tail = host.run(&["logs", "--tail", "1500", &name]).ok().text();
            assert!(all.ends_with(&tail) && tail.lines().count() == 1500, "{driver}: tail");
            let _ = host.run(&["rm", &name]).ok();
        }
    }),
    ("a_flood_of_output_is_bounded_in_memory_and_on_the_disk", |host| {
        let name = unique("flood");
        // 40 MB, as fast as it goes.
        let script = format!(
            "{WAIT} busybox yes 0123456789abcdef012345678901234567 | \
             busybox head -n 1200000; echo the end"
        );
        let flags = ["--log-opt", "max-size=2m", "--log-opt", "max-file=3"];
        start(host, &name, &flags, &script);
        // Both read one line and never again.
        let (mut follower, _unread) = connected(host, &["logs", "-f", &name], "ready");
        let mut attached = host.spawn(&["attach", "--no-stdin", &name]);
        assert!(wait_until(SOON, || {
            let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=attach"];
            host.run(&events).ok().text().contains(&id_of(host, &name))
        }));
        let before = agent_memory(host);
        go(host, &name);
        assert_eq!(host.run(&["wait", &name]).ok().text(), "0");
        let grown = agent_memory(host) - before;
        assert!(grown < 48 << 10, "the agent's memory has grown by {grown} KiB");
        let tail = host.run(&["logs", "--tail", "3", &name]).ok().text();
        let line = "0123456789abcdef012345678901234567";
        assert_eq!(tail, format!("{line}\n{line}\nthe end"));
        let id = id_of(host, &name);
        let files = log_files(host, &id);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let log = format!("{id}-json.log");
        assert_eq!(names, [log.clone(), format!("{log}.1"), format!("{log}.2")]);
        assert!(files.iter().all(|(_, size)| *size < 2_000_000 + 1000), "{files:?}");
        for client in [&mut follower, &mut attached] {
            client.kill().expect("a child of ours");
            let _ = client.wait();
        }
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("the_local_driver_compresses_and_shows_no_path", |host| {
        let name = unique("local");
        let flags = ["--log-driver", "local", "--log-opt", "max-size=10k", "--log-opt=max-file=3"];
        start(host, &name, &flags, "busybox seq 1 900");
        let _ = host.run(&["wait", &name]).ok();
        let it = &host.run(&["inspect", &name]).ok().json()[0];
        assert_eq!(it["HostConfig"]["LogConfig"]["Type"], "local");
        assert_eq!(it["HostConfig"]["LogConfig"]["Config"]["max-size"], "10k");
        assert_eq!(it["LogPath"], "");
        let id = id_of(host, &name);
        let packed = || {
            let files = log_files(host, &id);
            files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
                == ["local.log", "local.log.1.gz", "local.log.2.gz"]
        };
        assert!(wait_until(SOON, packed), "{:?}", log_files(host, &id));
        let kept = host.run(&["logs", &name]).ok().text();
        assert!(kept.ends_with("\n899\n900") && kept.lines().count() > 200, "{kept}");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("without_a_log_output_is_seen_by_who_is_attached_and_kept_nowhere", |host| {
        let name = unique("unlogged");
        let args = ["run", "--name", &name, "--log-driver", "none", CHECKER, "echo", "hello"];
        assert_eq!(host.run(&args).ok().text(), "hello");
        host.run(&["logs", &name])
            .fails(1, &["configured logging driver does not support reading"]);
        assert_eq!(host.run(&["start", "-a", &name]).ok().text(), "hello");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("drivers_and_options_that_are_not_served_are_refused_by_name", |host| {
        for (flags, words) in [
            (&["--log-driver", "syslog"][..], "no log driver named 'syslog' is registered"),
            (&["--log-driver", "journald"], "no log driver named 'journald' is registered"),
            (&["--log-opt", "colour=red"], "unknown log opt 'colour' for json-file log driver"),
            (&["--log-opt", "mode=non-blocking"], "--log-opt mode=non-blocking"),
            (&["--log-driver", "none", "--log-opt", "tag=x"], "invalid logging opts for driver"),
            (&["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        ] {
            let mut args = vec!["run", "--rm"];
            args.extend_from_slice(flags);
            args.push(CHECKER);
            host.run(&args).fails(125, &[words]);
        }
    }),
    ("details_are_the_chosen_labels_environment_and_tag", |host| {
        let name = unique("details");
        let flags = [
            "--log-opt=labels=team",
            "--log-opt=env-regex=^STA",
            "--log-opt=tag={{.Name}}",
            "--label=team=blue",
            "--label=other=x",
            "-e=STAGE=a b",
        ];
        start(host, &name, &flags, "echo hello");
        let _ = host.run(&["wait", &name]).ok();
        assert_eq!(
            host.run(&["logs", "--details", &name]).ok().text(),
            format!("STAGE=a+b,tag={name},team=blue hello")
        );
        assert_eq!(host.run(&["logs", &name]).ok().text(), "hello");
        let it = &host.run(&["inspect", &name]).ok().json()[0];
        assert_eq!(it["HostConfig"]["LogConfig"]["Type"], "json-file");
        let path = it["LogPath"].as_str().expect("a path");
        assert!(in_the_vm(host, &format!("cat {path}")).contains(r#""attrs":{"STAGE":"a b""#));
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("the_log_goes_on_over_restarts_and_has_what_a_terminal_showed", |host| {
        let name = unique("again");
        let args = ["run", "-t", "--name", &name, CHECKER, "sh", "-c", "echo out; echo err >&2"];
        let _ = host.run(&args).ok();
        let _ = host.run(&["start", "-a", &name]).ok();
        let logs = host.run(&["logs", &name]).ok();
        assert_eq!(logs.out, b"out\r\nerr\r\nout\r\nerr\r\n", "{logs:?}");
        assert_eq!(logs.err, "", "a terminal has one stream");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("every_attached_client_sees_all_output_and_the_input_ends_for_the_process", |host| {
        let name = unique("several");
        let script = "echo ready; busybox wc -c; echo bye";
        let flags = ["-i", "--name", &name];
        let mut args = vec!["create"];
        args.extend_from_slice(&flags);
        args.extend_from_slice(&[CHECKER, "sh", "-c", script]);
        let _ = host.run(&args).ok();
        let first = ["start", "-a", "-i", &name];
        let (mut writer, mut out) = connected(host, &first, "ready");
        let readers: Vec<Child> =
            (0..3).map(|_| host.spawn(&["attach", "--no-stdin", &name])).collect();
        let attaches = || {
            let filter = format!("container={name}");
            let events = ["events", "--since", "1h", "--until", "0s", "--filter", &filter];
            let text = host.run(&events).ok().text();
            text.lines().filter(|line| line.contains(" attach ")).count()
        };
        assert!(wait_until(SOON, || attaches() == 4), "{} clients", attaches());
        let mut input = writer.stdin.take().expect("standard input is a pipe");
        input.write_all(b"12345").expect("it reads");
        // Only this direction ends: output goes on.
        drop(input);
        let mut rest = String::new();
        out.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "5\nbye\n");
        assert_eq!(writer.wait().expect("a child of ours").code(), Some(0));
        for reader in readers {
            assert_eq!(finish(reader, &["attach"]).ok().text(), "5\nbye");
        }
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("what_nobody_reads_does_not_grow_memory_however_much_it_is", |host| {
        // As fast as it goes, and more than the bound below: what was kept would show.
        let line = "0123456789".repeat(100);
        let script = format!("{WAIT} busybox yes {line} | busybox head -c 48000000");
        let rotation = ["--log-opt", "max-size=10m", "--log-opt", "max-file=2"];
        for (driver, options) in [("json-file", &rotation[..]), ("none", &[])] {
            let name = unique("torrent");
            let mut flags = vec!["--log-driver", driver];
            flags.extend(options);
            start(host, &name, &flags, &script);
            // proc_pid_clear_refs(5): the peak begins anew.
            let _ = in_the_vm(host, "echo 5 > /proc/1/clear_refs");
            let before = agent_memory(host);
            go(host, &name);
            assert_eq!(host.run(&["wait", &name]).ok().text(), "0", "{driver}");
            let grown = agent_peak(host) - before;
            // What other tests do meanwhile is in it.
            assert!(grown < 32 << 10, "{driver}: the agent's memory has grown by {grown} KiB");
            let _ = host.run(&["rm", &name]).ok();
        }
    }),
];
