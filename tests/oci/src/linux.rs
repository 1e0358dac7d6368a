//! config-linux.md: namespaces, sysctl, seccomp, and what is not supported.

use serde_json::{Value, json};

use crate::bench::{Bench, own_namespace, push, without_namespace};
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("namespaces_of_the_list_are_new", namespaces_of_the_list_are_new),
    ("namespaces_that_are_not_listed_are_the_runtimes", unlisted_namespaces_are_the_runtimes),
    ("namespaces_with_a_path_are_joined", namespaces_with_a_path_are_joined),
    ("a_path_of_another_type_is_an_error", a_path_of_another_type_is_an_error),
    ("a_relative_path_of_a_namespace_is_an_error", a_relative_path_is_an_error),
    ("a_namespace_is_listed_once", a_namespace_is_listed_once),
    ("namespaces_that_cannot_be_made_are_refused", namespaces_that_cannot_be_made_are_refused),
    ("sysctls_are_set_in_the_containers_namespaces", sysctls_are_set),
    ("sysctls_of_the_machine_are_errors", sysctls_of_the_machine_are_errors),
    ("seccomp_answers_with_the_errno_that_is_given", seccomp_answers_with_the_errno),
    ("seccomp_compares_arguments", seccomp_compares_arguments),
    ("seccomp_kills_where_it_shall", seccomp_kills_where_it_shall),
    ("seccomp_allows_no_more_than_its_list", seccomp_allows_no_more_than_its_list),
    ("a_seccomp_profile_that_is_not_sound_is_an_error", an_unsound_profile_is_an_error),
    ("what_the_machine_lacks_is_refused_by_name", what_the_machine_lacks_is_refused),
];

fn join(config: &mut Value, kind: &str, path: &str) {
    without_namespace(config, kind);
    push(&mut config["linux"]["namespaces"], json!({ "type": kind, "path": path }));
}

const LINKS: &str = "for k in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$k; done";
const KINDS: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

fn namespaces_of_the_list_are_new(bench: &Bench) -> Verdict {
    let said = bench.says(LINKS, |_| {});
    assert_eq!(said.lines().count(), 6);
    for (line, kind) in said.lines().zip(KINDS) {
        assert!(line.starts_with(kind) && line != own_namespace(kind).to_str().unwrap(), "{line}");
    }
    assert_eq!(bench.says("echo $$", |_| {}), "1\n");
    Verdict::Passed
}

fn unlisted_namespaces_are_the_runtimes(bench: &Bench) -> Verdict {
    let said = bench.says(LINKS, |c| {
        c["linux"]["namespaces"] = json!([{ "type": "mount" }]);
    });
    for (line, kind) in said.lines().zip(KINDS) {
        assert_eq!(line == own_namespace(kind).to_str().unwrap(), kind != "mnt", "{line}");
    }
    Verdict::Passed
}

fn namespaces_with_a_path_are_joined(bench: &Bench) -> Verdict {
    let donor = bench.bundle("echo up; exec sleep 1000", |c| c["hostname"] = json!("donor"));
    let donor = donor.started();
    donor.has_said("up");
    let pid = donor.pid();
    let said = bench.says(&format!("{LINKS}; hostname"), |c| {
        for (kind, file) in [
            ("cgroup", "cgroup"),
            ("ipc", "ipc"),
            ("network", "net"),
            ("pid", "pid"),
            ("uts", "uts"),
        ] {
            join(c, kind, &format!("/proc/{pid}/ns/{file}"));
        }
    });
    for (line, kind) in said.lines().zip(KINDS) {
        let same = line == donor.namespace(kind).to_str().unwrap();
        assert_eq!(same, kind != "mnt", "{kind}: {said}");
    }
    assert!(said.ends_with("\ndonor\n"), "{said}");
    assert_eq!(donor.status(), "running");
    Verdict::Passed
}

fn a_path_of_another_type_is_an_error(bench: &Bench) -> Verdict {
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        bench.refuses("invalid argument", |c| join(c, kind, "/proc/self/ns/mnt"));
        bench.refuses("/no/such", |c| join(c, kind, "/no/such"));
    }
    Verdict::Passed
}

fn a_relative_path_is_an_error(bench: &Bench) -> Verdict {
    bench.refuses("not absolute", |c| join(c, "uts", "proc/self/ns/uts"));
    Verdict::Passed
}

fn a_namespace_is_listed_once(bench: &Bench) -> Verdict {
    bench.refuses("uts", |c| push(&mut c["linux"]["namespaces"], json!({ "type": "uts" })));
    Verdict::Passed
}

fn namespaces_that_cannot_be_made_are_refused(bench: &Bench) -> Verdict {
    bench.refuses("mount namespace", |c| without_namespace(c, "mount"));
    Verdict::Passed
}

fn sysctls_are_set(bench: &Bench) -> Verdict {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    let said = bench.says(script, |c| {
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4321" });
    });
    assert_eq!(said, "1\n4321\n");
    Verdict::Passed
}

fn sysctls_of_the_machine_are_errors(bench: &Bench) -> Verdict {
    bench.refuses("vm.swappiness", |c| c["linux"]["sysctl"] = json!({ "vm.swappiness": "1" }));
    bench.refuses("net.ipv4.ip_forward", |c| {
        without_namespace(c, "network");
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    });
    bench.refuses("net.no_such", |c| c["linux"]["sysctl"] = json!({ "net.no_such": "1" }));
    Verdict::Passed
}

fn seccomp(config: &mut Value, default: &str, entries: Value) {
    config["linux"]["seccomp"] = json!({ "defaultAction": default, "syscalls": entries });
}

fn seccomp_answers_with_the_errno(bench: &Bench) -> Verdict {
    let script = "mkdir /made 2>&1; chmod 700 /bin 2>&1; echo end";
    for no_new_privileges in [false, true] {
        let said = bench.says(script, |c| {
            c["process"]["noNewPrivileges"] = json!(no_new_privileges);
            seccomp(
                c,
                "SCMP_ACT_ALLOW",
                json!([
                    { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28 },
                    { "names": ["chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO" }
                ]),
            );
        });
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].ends_with("No space left on device"), "{said}");
        assert!(lines[1].ends_with("Operation not permitted"), "{said}");
        assert_eq!(lines[2], "end");
    }
    Verdict::Passed
}

fn seccomp_compares_arguments(bench: &Bench) -> Verdict {
    // kill(2) with signal 0 only: argument 1.
    let said = bench.says("kill -0 $$ && echo zero; kill -10 1 2>&1 || echo refused", |c| {
        let other = json!({ "index": 1, "value": 0, "op": "SCMP_CMP_NE" });
        let entry = json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [other] });
        seccomp(c, "SCMP_ACT_ALLOW", json!([entry]));
    });
    assert!(said.starts_with("zero\n") && said.ends_with("refused\n"), "{said}");
    Verdict::Passed
}

fn seccomp_kills_where_it_shall(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("(mkdir /made); echo $?", |c| {
        let names = json!(["mkdir", "mkdirat"]);
        seccomp(
            c,
            "SCMP_ACT_ALLOW",
            json!([{ "names": names, "action": "SCMP_ACT_KILL_PROCESS" }]),
        );
    });
    // 128 + SIGSYS.
    assert_eq!(bundle.run().ok().out, "159\n");
    Verdict::Passed
}

fn seccomp_allows_no_more_than_its_list(bench: &Bench) -> Verdict {
    // All that `true` needs; what the runtime itself does must not count.
    let bundle = bench.bundle("", |c| {
        c["process"]["args"] = json!(["true"]);
        c["process"]["noNewPrivileges"] = json!(true);
        let names = json!([
            "execve",
            "exit",
            "exit_group",
            "brk",
            "arch_prctl",
            "set_tid_address",
            "set_robust_list",
            "rseq",
            "prlimit64",
            "readlink",
            "readlinkat",
            "getrandom",
            "mprotect",
            "mmap",
            "munmap",
            "uname",
            "getuid",
            "newfstatat",
            "write",
            "sendmsg",
            "seccomp",
            "fstat",
            "ioctl",
            "prctl"
        ]);
        seccomp(c, "SCMP_ACT_ERRNO", json!([{ "names": names, "action": "SCMP_ACT_ALLOW" }]));
    });
    let _ = bundle.run().ok();
    Verdict::Passed
}

fn an_unsound_profile_is_an_error(bench: &Bench) -> Verdict {
    bench.refuses("seccomp", |c| {
        seccomp(c, "SCMP_ACT_ALLOW", json!([{ "names": [], "action": "SCMP_ACT_ERRNO" }]));
    });
    bench.refuses("errno", |c| {
        let entry = json!({ "names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1 });
        seccomp(c, "SCMP_ACT_ALLOW", json!([entry]));
    });
    bench.refuses("SCMP_ACT_NOTIFY", |c| {
        seccomp(c, "SCMP_ACT_ALLOW", json!([{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }]));
    });
    bench.refuses("listenerMetadata", |c| {
        seccomp(c, "SCMP_ACT_ALLOW", json!([]));
        c["linux"]["seccomp"]["listenerMetadata"] = json!("x");
    });
    Verdict::Passed
}

fn what_the_machine_lacks_is_refused(bench: &Bench) -> Verdict {
    bench.refuses("intelRdt", |c| c["linux"]["intelRdt"] = json!({ "closID": "x" }));
    bench.refuses("personality", |c| c["linux"]["personality"] = json!({ "domain": "LINUX32" }));
    let _ = bench.says("true", |c| c["linux"]["personality"] = json!({ "domain": "LINUX" }));
    bench.refuses("netDevices", |c| c["linux"]["netDevices"] = json!({ "eth0": {} }));
    Verdict::Passed
}
