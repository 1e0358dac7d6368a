//! `linkspan run`: what a user of `docker run` expects of it.

use crate::{CHECKER, Shared, report, unique};

pub(crate) const TESTS: &[Shared] = &[
    ("exit_codes_pass_through", |host| {
        for code in ["0", "1", "42", "255"] {
            let done = host.run(&["run", "--rm", CHECKER, "/checker", "exit", code]);
            assert_eq!(done.code.to_string(), code, "{done:?}");
        }
    }),
    ("a_signal_is_128_plus_its_number", |host| {
        for signal in ["9", "6"] {
            let done = host.run(&[
                "run",
                "--rm",
                CHECKER,
                "sh",
                "-c",
                &format!("/checker signal {signal}; exit $?"),
            ]);
            assert_eq!(done.code, 128 + signal.parse::<i32>().unwrap(), "{done:?}");
        }
    }),
    ("a_missing_command_is_127", |host| {
        host.run(&["run", "--rm", "busybox", "no-such-command"])
            .fails(127, &["no-such-command", "not found"]);
        host.run(&["run", "--rm", "busybox", "/no/such/file"]).fails(127, &["/no/such/file"]);
    }),
    ("a_command_that_cannot_run_is_126", |host| {
        host.run(&["run", "--rm", "busybox", "/etc/passwd"])
            .fails(126, &["/etc/passwd", "permission denied"]);
        host.run(&["run", "--rm", "busybox", "/etc"]).fails(126, &["/etc"]);
    }),
    ("an_unknown_image_is_125", |host| {
        host.run(&["run", "--rm", "no-such-image"]).fails(125, &["no-such-image"]);
    }),
    ("a_failed_start_with_rm_leaves_no_container", |host| {
        let name = unique("gone");
        host.run(&["run", "--rm", "--name", &name, "busybox", "no-such-command"])
            .fails(127, &["no-such-command"]);
        host.run(&["inspect", &name]).fails(1, &[&name]);
    }),
    ("unsupported_flags_are_refused_by_name", |host| {
        host.run(&["run", "--rm", "--link", "web", "busybox", "true"]).fails(125, &["--link"]);
        host.run(&["run", "--rm", "--gpus", "all", "busybox", "true"]).fails(125, &["--gpus"]);
    }),
    ("environment_working_directory_user_and_hostname_arrive", |host| {
        let seen = report(
            host,
            &[
                "-e",
                "A=1",
                "-e",
                "B=two words",
                "-w",
                "/made/here",
                "-u",
                "app",
                "--hostname",
                "box",
            ],
        );
        assert_eq!(seen["env"]["A"], "1");
        assert_eq!(seen["env"]["B"], "two words");
        assert_eq!(seen["env"]["HOME"], "/home/app");
        assert_eq!(seen["env"]["HOSTNAME"], "box");
        assert_eq!(seen["cwd"], "/made/here");
        assert_eq!(seen["uid"], 1000);
        assert_eq!(seen["gid"], 1001);
        assert!(seen["groups"].as_array().unwrap().contains(&2000.into()), "{}", seen["groups"]);
        assert_eq!(seen["hostname"], "box");
    }),
    ("users_by_number_need_no_passwd_entry", |host| {
        let seen = report(host, &["-u", "4242:4343"]);
        assert_eq!((seen["uid"].as_u64(), seen["gid"].as_u64()), (Some(4242), Some(4343)));
        host.run(&["run", "--rm", "-u", "nobody-here", CHECKER]).fails(125, &["nobody-here"]);
    }),
    ("the_host_name_is_the_short_id_by_default", |host| {
        let name = unique("hostname");
        let _ = host.run(&["create", "--name", &name, "busybox", "hostname"]).ok();
        let id = host.run(&["inspect", "-f", "{{.Id}}", &name]).ok().text();
        let seen = host.run(&["start", "-a", &name]).ok().text();
        assert_eq!(seen, id[..12]);
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("entrypoint_replaces_the_images", |host| {
        let done = host.run(&["run", "--rm", "--entrypoint", "echo", "linkspan/hello", "a", "b"]);
        // The hello image has no echo: the error names the new entry point, not the old one.
        done.fails(127, &["echo"]);
        let done =
            host.run(&["run", "--rm", "--entrypoint", "/bin/echo", "busybox", "a", "b"]).ok();
        assert_eq!(done.text(), "a b");
    }),
    ("standard_output_and_error_stay_apart", |host| {
        let done = host.run(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]).ok();
        assert_eq!((done.text().as_str(), done.err.trim()), ("out", "err"));
    }),
    ("output_is_exact_to_the_byte", |host| {
        let done = host.run(&["run", "--rm", CHECKER, "/checker", "emit", "3000001"]).ok();
        assert_eq!(done.out, pattern(3_000_001));
    }),
    ("input_is_exact_to_the_byte_and_ends", |host| {
        let input = pattern(1_500_007);
        let done =
            host.run_with_stdin(&["run", "--rm", "-i", CHECKER, "/checker", "count"], &input).ok();
        let sum = input
            .iter()
            .fold(0_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        assert_eq!(done.text(), format!("{} {sum:016x}", input.len()));
    }),
    ("input_and_output_flow_at_once", |host| {
        let input = pattern(700_001);
        let done = host.run_with_stdin(&["run", "--rm", "-i", "busybox", "cat"], &input).ok();
        assert!(done.out == input, "{} bytes came back of {}", done.out.len(), input.len());
    }),
    ("without_i_standard_input_is_empty", |host| {
        let done = host.run_with_stdin(&["run", "--rm", "busybox", "cat"], b"not for you").ok();
        assert_eq!(done.text(), "");
    }),
    ("a_read_only_root_refuses_writes_but_not_to_dev_shm", |host| {
        let seen = report(host, &["--read-only"]);
        assert_eq!(seen["root_is_writable"], false);
        let _ = host
            .run(&["run", "--rm", "--read-only", "busybox", "sh", "-c", "echo x > /dev/shm/x"])
            .ok();
        assert_eq!(report(host, &[])["root_is_writable"], true);
    }),
    ("hello_explains_itself", |host| {
        let done = host.run(&["run", "--rm", "linkspan/hello"]).ok();
        let text = done.text();
        assert!(text.to_lowercase().contains("kernel"), "{text}");
        let facts = host.run(&["run", "--rm", "linkspan/hello", "--json"]).ok().json();
        assert_eq!(facts["pid"], 1, "{facts}");
    }),
    ("a_second_container_of_the_same_name_is_refused", |host| {
        let name = unique("twice");
        let _ = host.run(&["create", "--name", &name, "busybox", "true"]).ok();
        host.run(&["create", "--name", &name, "busybox", "true"]).fails(1, &[&name, "in use"]);
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("detach_prints_the_id_and_the_container_goes_on", |host| {
        let id = host.run(&["run", "-d", "busybox", "sleep", "300"]).ok().text();
        assert_eq!(id.len(), 64, "{id}");
        let running = host.run(&["inspect", "-f", "{{.State.Running}}", &id]).ok().text();
        assert_eq!(running, "true");
        let _ = host.run(&["rm", "-f", &id]).ok();
    }),
    ("bad_values_are_named", |host| {
        host.run(&["run", "--rm", "--name", "bad name!", "busybox"]).fails(125, &["bad name!"]);
        host.run(&["run", "--rm", "-m", "1k", "busybox"]).fails(125, &["memory"]);
        host.run(&["run", "--rm", "--cap-add", "NOT_A_CAP", "busybox"]).fails(125, &["NOT_A_CAP"]);
        host.run(&["run", "--rm", "--cpuset-cpus", "77", "busybox"]).fails(125, &["77"]);
        host.run(&["run", "--rm", "--stop-signal", "SIGNOPE", "busybox"]).fails(125, &["SIGNOPE"]);
    }),
];

/// What `linkspan-checker emit` prints.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..65_537_u64)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    block.iter().copied().cycle().take(length).collect()
}
