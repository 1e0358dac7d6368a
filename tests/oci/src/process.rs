//! config.md: version, process, host name, annotations, extensibility.

use std::fs;
use std::io::Read as _;

use linkspan_sys::fdpass;
use serde_json::json;

use crate::bench::{Bench, push, until, without_namespace};
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("a_version_has_to_be_semver_and_known", a_version_has_to_be_semver_and_known),
    ("unknown_properties_are_ignored", unknown_properties_are_ignored),
    ("values_that_are_not_valid_are_errors", values_that_are_not_valid_are_errors),
    ("sections_of_other_platforms_are_refused", sections_of_other_platforms_are_refused),
    ("cwd_is_absolute_and_the_programs", cwd_is_absolute_and_the_programs),
    ("the_environment_is_the_configurations", the_environment_is_the_configurations),
    ("a_program_is_required_and_found_in_path", a_program_is_required_and_found_in_path),
    ("user_and_groups_are_the_numbers_that_are_given", user_and_groups_are_the_numbers),
    ("umask_is_the_one_that_is_given", umask_is_the_one_that_is_given),
    ("capability_sets_are_the_ones_that_are_given", capability_sets_are_the_ones_given),
    ("a_capability_that_cannot_be_granted_is_a_warning", ungrantable_capabilities_are_warnings),
    ("rlimits_are_set_and_named_once", rlimits_are_set_and_named_once),
    ("no_new_privileges_is_set", no_new_privileges_is_set),
    ("oom_score_adj_is_set_or_left", oom_score_adj_is_set_or_left),
    ("scheduler_and_io_priority_are_set", scheduler_and_io_priority_are_set),
    ("security_modules_that_are_not_there_are_refused", security_modules_are_refused),
    ("a_terminal_is_sent_over_the_console_socket", a_terminal_is_sent_over_the_console_socket),
    ("without_a_terminal_the_console_size_is_ignored", without_a_terminal_size_is_ignored),
    ("host_and_domain_name_are_set", host_and_domain_name_are_set),
    ("annotations_have_keys", annotations_have_keys),
];

fn a_version_has_to_be_semver_and_known(bench: &Bench) -> Verdict {
    for version in ["1", "one", ""] {
        bench.refuses("ociVersion", |c| c["ociVersion"] = json!(version));
    }
    bench.refuses("ociVersion", |c| c["ociVersion"] = json!("2.0.0"));
    for version in ["1.0.0", "1.2.1", "1.3.0-dev"] {
        let _ = bench.says("true", |c| c["ociVersion"] = json!(version));
    }
    Verdict::Passed
}

fn unknown_properties_are_ignored(bench: &Bench) -> Verdict {
    let said = bench.says("echo ran", |c| {
        c["somethingNew"] = json!({ "a": 1 });
        c["linux"]["somethingNew"] = json!([1]);
        c["process"]["somethingNew"] = json!("x");
    });
    assert_eq!(said, "ran\n");
    Verdict::Passed
}

fn values_that_are_not_valid_are_errors(bench: &Bench) -> Verdict {
    bench.refuses("config.json", |c| c["process"]["user"]["uid"] = json!("root"));
    bench.refuses("config.json", |c| c["linux"]["namespaces"][0]["type"] = json!("planet"));
    bench.refuses("rootfsPropagation", |c| c["linux"]["rootfsPropagation"] = json!("sideways"));
    bench.refuses("process.user.umask", |c| c["process"]["user"]["umask"] = json!(0o1000));
    Verdict::Passed
}

fn sections_of_other_platforms_are_refused(bench: &Bench) -> Verdict {
    bench.refuses("solaris", |c| c["solaris"] = json!({}));
    bench.refuses("vm", |c| c["vm"] = json!({ "kernel": { "path": "/k" } }));
    Verdict::Passed
}

fn cwd_is_absolute_and_the_programs(bench: &Bench) -> Verdict {
    bench.refuses("process.cwd", |c| c["process"]["cwd"] = json!("bin"));
    assert_eq!(bench.says("pwd", |c| c["process"]["cwd"] = json!("/bin")), "/bin\n");
    Verdict::Passed
}

fn the_environment_is_the_configurations(bench: &Bench) -> Verdict {
    let said = bench.says("env", |c| {
        c["process"]["env"] = json!(["PATH=/bin", "ONE=1", "TWO=a=b", "HOME=/h", "EMPTY="]);
    });
    let mut lines: Vec<&str> = said.lines().filter(|line| !is_the_shells(line)).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["EMPTY=", "HOME=/h", "ONE=1", "PATH=/bin", "TWO=a=b"]);
    bench.refuses("process.env", |c| c["process"]["env"] = json!(["NOVALUE"]));
    Verdict::Passed
}

fn is_the_shells(line: &str) -> bool {
    ["PWD=", "SHLVL=", "OLDPWD=", "_="].iter().any(|name| line.starts_with(name))
}

fn a_program_is_required_and_found_in_path(bench: &Bench) -> Verdict {
    bench.refuses("process.args", |c| c["process"]["args"] = json!([]));
    bench.refuses("process", |c| {
        c.as_object_mut().unwrap().remove("process");
    });
    let said = bench.says("", |c| {
        c["process"]["args"] = json!(["echo", "two  words", ""]);
        c["process"]["env"] = json!(["PATH=/no/such:/bin"]);
    });
    assert_eq!(said, "two  words \n");
    Verdict::Passed
}

fn user_and_groups_are_the_numbers(bench: &Bench) -> Verdict {
    let said = bench.says("id -u; id -g; grep Groups /proc/self/status", |c| {
        c["process"]["user"] =
            json!({ "uid": 1234, "gid": 4000000000_u32, "additionalGids": [7, 9] });
    });
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>().join(" "),
        "1234 4000000000 Groups: 7 9"
    );
    Verdict::Passed
}

fn umask_is_the_one_that_is_given(bench: &Bench) -> Verdict {
    let said = bench.says("umask", |c| c["process"]["user"]["umask"] = json!(0o27));
    assert_eq!(said, "0027\n");
    assert_eq!(bench.says("umask", |_| {}), "0022\n");
    Verdict::Passed
}

const CAPABILITIES: &str = "grep ^Cap /proc/self/status | cut -f 2";

fn capability_sets_are_the_ones_given(bench: &Bench) -> Verdict {
    // CHOWN is 0, KILL 5, NET_RAW 13, SYS_CHROOT 18.
    let said = bench.says(CAPABILITIES, |c| {
        c["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW", "CAP_SYS_CHROOT"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
            "ambient": []
        });
        // Of a user: root gets all of the bounding set at execve(2).
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    assert_eq!(
        said,
        "0000000000000020\n0000000000000000\n0000000000000000\n0000000000042021\n0000000000000000\n"
    );
    let said = bench.says(CAPABILITIES, |c| {
        let one = json!(["CAP_NET_RAW"]);
        c["process"]["capabilities"] = json!({
            "bounding": one, "permitted": one, "effective": one, "inheritable": one, "ambient": one
        });
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    assert_eq!(said, "0000000000002000\n".repeat(5));
    let said = bench.says(CAPABILITIES, |c| {
        c["process"].as_object_mut().unwrap().remove("capabilities");
    });
    assert_eq!(said, "0000000000000000\n".repeat(5));
    Verdict::Passed
}

fn ungrantable_capabilities_are_warnings(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo ran", |c| {
        push(&mut c["process"]["capabilities"]["bounding"], json!("CAP_FLY"));
        c["process"]["capabilities"]["ambient"] = json!(["CAP_NET_RAW"]);
    });
    let done = bundle.run().ok();
    assert_eq!(done.out, "ran\n");
    assert!(done.err.contains("CAP_FLY") && done.err.contains("CAP_NET_RAW"), "{done:?}");
    Verdict::Passed
}

fn rlimits_are_set_and_named_once(bench: &Bench) -> Verdict {
    let said = bench.says("ulimit -S -n; ulimit -H -n; ulimit -c", |c| {
        c["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 77, "hard": 99 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }
        ]);
    });
    assert_eq!(said, "77\n99\n0\n");
    let limit = json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 });
    bench.refuses("RLIMIT_CORE", |c| c["process"]["rlimits"] = json!([limit, limit]));
    bench.refuses("RLIMIT_PLANETS", |c| {
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_PLANETS", "soft": 0, "hard": 0 }]);
    });
    Verdict::Passed
}

fn no_new_privileges_is_set(bench: &Bench) -> Verdict {
    let script = "grep NoNewPrivs /proc/self/status | cut -f 2";
    assert_eq!(bench.says(script, |c| c["process"]["noNewPrivileges"] = json!(true)), "1\n");
    assert_eq!(bench.says(script, |_| {}), "0\n");
    Verdict::Passed
}

fn oom_score_adj_is_set_or_left(bench: &Bench) -> Verdict {
    let script = "cat /proc/self/oom_score_adj";
    assert_eq!(bench.says(script, |c| c["process"]["oomScoreAdj"] = json!(321)), "321\n");
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(bench.says(script, |_| {}), own);
    Verdict::Passed
}

fn scheduler_and_io_priority_are_set(bench: &Bench) -> Verdict {
    // Fields 19 (nice) and 41 (policy) of /proc/PID/stat; SCHED_BATCH is 3.
    let script = "read -r line < /proc/self/stat; set -- $line; echo ${19} ${41}";
    let said = bench.says(script, |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    });
    assert_eq!(said, "5 3\n");
    bench.refuses("ioPriority", |c| {
        c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 9 });
    });
    Verdict::Passed
}

fn security_modules_are_refused(bench: &Bench) -> Verdict {
    bench.refuses("apparmorProfile", |c| c["process"]["apparmorProfile"] = json!("x"));
    bench.refuses("selinuxLabel", |c| c["process"]["selinuxLabel"] = json!("x"));
    bench.refuses("mountLabel", |c| c["linux"]["mountLabel"] = json!("x"));
    Verdict::Passed
}

fn a_terminal_is_sent_over_the_console_socket(bench: &Bench) -> Verdict {
    let bundle = bench.bundle(
        "tty; stty size; test /dev/console -ef $(tty) || stat -c %t:%T /dev/console $(tty)",
        |c| {
            c["process"]["terminal"] = json!(true);
            c["process"]["consoleSize"] = json!({ "height": 33, "width": 111 });
        },
    );
    bundle.create().fails("console-socket");
    let path = bundle.path("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let _ = bundle.oci("create", &["--console-socket", path.to_str().unwrap()]).ok();
    let (connection, _) = listener.accept().unwrap();
    let (_, mut received) = fdpass::receive(&connection, &mut [0; 64]).unwrap();
    let mut terminal = fs::File::from(received.pop().expect("a descriptor came"));
    let _ = bundle.start().ok();
    let mut text = String::new();
    until("the terminal says its size", || {
        let mut bytes = [0; 256];
        // EIO: nobody has the other end any more.
        let count = terminal.read(&mut bytes).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        text.contains("33 111")
    });
    assert!(text.starts_with("/dev/pts/0\r\n"), "{text}");
    bundle.stopped();
    Verdict::Passed
}

fn without_a_terminal_size_is_ignored(bench: &Bench) -> Verdict {
    let said = bench.says("echo ran", |c| {
        c["process"]["consoleSize"] = json!({ "height": 33, "width": 111 });
    });
    assert_eq!(said, "ran\n");
    Verdict::Passed
}

fn host_and_domain_name_are_set(bench: &Bench) -> Verdict {
    let said = bench.says("hostname; cat /proc/sys/kernel/domainname", |c| {
        c["hostname"] = json!("box");
        c["domainname"] = json!("example");
    });
    assert_eq!(said, "box\nexample\n");
    for property in ["hostname", "domainname"] {
        bench.refuses(property, |c| {
            without_namespace(c, "uts");
            c[property] = json!("box");
        });
    }
    Verdict::Passed
}

fn annotations_have_keys(bench: &Bench) -> Verdict {
    bench.refuses("annotations", |c| c["annotations"] = json!({ "": "x" }));
    let bundle = bench.bundle("true", |c| c["annotations"] = json!({ "a": "", "b.c": "d" }));
    let _ = bundle.create().ok();
    assert_eq!(bundle.state().unwrap()["annotations"], json!({ "a": "", "b.c": "d" }));
    Verdict::Passed
}
