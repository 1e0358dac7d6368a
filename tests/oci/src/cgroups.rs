//! config-linux.md, "Control groups".

use std::fs;

use serde_json::json;

use crate::bench::{Bench, Bundle, push};
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("an_absolute_path_is_below_the_mount", an_absolute_path_is_below_the_mount),
    ("a_relative_path_is_always_the_same_place", a_relative_path_is_always_the_same_place),
    ("a_path_with_dots_is_an_error", a_path_with_dots_is_an_error),
    ("a_cgroup_with_processes_is_an_error", a_cgroup_with_processes_is_an_error),
    ("a_cgroup_that_was_there_is_not_deleted", a_cgroup_that_was_there_is_not_deleted),
    ("a_container_sees_its_own_cgroup_only", a_container_sees_its_own_cgroup_only),
    ("device_entries_count_in_their_order", device_entries_count_in_their_order),
    ("devices_that_are_not_listed_cannot_be_used", unlisted_devices_cannot_be_used),
    ("memory_limits_are_set", memory_limits_are_set),
    ("cpu_limits_are_set", cpu_limits_are_set),
    ("the_limit_of_processes_is_set", the_limit_of_processes_is_set),
    ("unified_files_are_written", unified_files_are_written),
    ("a_controller_that_is_not_there_is_an_error", a_missing_controller_is_an_error),
    ("what_cgroup_v2_does_not_have_is_refused", what_v2_does_not_have_is_refused),
];

/// What a file of the container's cgroup has.
fn file(bundle: &Bundle<'_>, name: &str) -> String {
    let own = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup2");
    let path = bundle.bench.cgroups.join(path).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

fn members(bench: &Bench, cgroup: &str) -> String {
    fs::read_to_string(bench.cgroups.join(cgroup).join("cgroup.procs")).unwrap_or_default()
}

fn an_absolute_path_is_below_the_mount(bench: &Bench) -> Verdict {
    let bundle =
        bench.bundle("true", |c| c["linux"]["cgroupsPath"] = json!("/linkspan-test-oci/abs"));
    let _ = bundle.create().ok();
    assert_eq!(members(bench, "linkspan-test-oci/abs").trim(), bundle.pid().to_string());
    Verdict::Passed
}

fn a_relative_path_is_always_the_same_place(bench: &Bench) -> Verdict {
    let mut places = Vec::new();
    for _ in 0..2 {
        let bundle = bench.bundle("true", |c| c["linux"]["cgroupsPath"] = json!("rel/ative"));
        let _ = bundle.create().ok();
        places.push(fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap());
    }
    assert_eq!(places[0], places[1]);
    assert!(places[0].contains("rel/ative"), "{}", places[0]);
    Verdict::Passed
}

fn a_path_with_dots_is_an_error(bench: &Bench) -> Verdict {
    for path in ["/a/../../b", "/"] {
        bench.refuses("cgroupsPath", |c| c["linux"]["cgroupsPath"] = json!(path));
    }
    Verdict::Passed
}

fn a_cgroup_with_processes_is_an_error(bench: &Bench) -> Verdict {
    let path = json!("/linkspan-test-oci-full");
    let bundle = bench.bundle("true", |c| c["linux"]["cgroupsPath"] = path.clone());
    let _ = bundle.create().ok();
    bench.refuses("linkspan-test-oci-full", |c| c["linux"]["cgroupsPath"] = path);
    assert_eq!(bundle.status(), "created");
    Verdict::Passed
}

fn a_cgroup_that_was_there_is_not_deleted(bench: &Bench) -> Verdict {
    let folder = bench.cgroups.join("linkspan-test-oci-kept");
    fs::create_dir_all(folder.join("inner")).unwrap();
    let bundle = bench.bundle("true", |c| {
        c["linux"]["cgroupsPath"] = json!("/linkspan-test-oci-kept/inner");
    });
    let _ = bundle.run().ok();
    assert!(folder.join("inner").exists());
    fs::remove_dir(folder.join("inner")).and_then(|()| fs::remove_dir(folder)).unwrap();
    Verdict::Passed
}

fn a_container_sees_its_own_cgroup_only(bench: &Bench) -> Verdict {
    let mount = json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev"]
    });
    let script =
        "cat /sys/fs/cgroup/cgroup.procs | grep -c '^1$'; touch /sys/fs/cgroup/x || echo no";
    let said = bench.says(script, |c| push(&mut c["mounts"], mount.clone()));
    assert_eq!(said, "1\nno\n");
    // The same without a cgroup namespace.
    let said = bench.says(script, |c| {
        crate::bench::without_namespace(c, "cgroup");
        push(&mut c["mounts"], mount);
    });
    assert_eq!(said, "1\nno\n");
    Verdict::Passed
}

fn device_entries_count_in_their_order(bench: &Bench) -> Verdict {
    // 1:11 is /dev/kmsg; it needs no more than to be opened.
    let script = "(exec 3</dev/k) && echo read; (exec 3>/dev/k) && echo write; true";
    let node = json!([{ "path": "/dev/k", "type": "c", "major": 1, "minor": 11 }]);
    let said = |entries: serde_json::Value| {
        bench.says(script, |c| {
            c["linux"]["devices"] = node.clone();
            c["linux"]["resources"]["devices"] = entries;
            for set in ["bounding", "permitted", "effective"] {
                push(&mut c["process"]["capabilities"][set], json!("CAP_SYSLOG"));
            }
        })
    };
    let deny = json!({ "allow": false, "access": "rwm" });
    let read = json!({ "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" });
    let all = json!({ "allow": true, "access": "rwm" });
    assert_eq!(said(json!([deny])), "");
    assert_eq!(said(json!([deny, read])), "read\n");
    assert_eq!(said(json!([read, deny])), "");
    assert_eq!(said(json!([deny, all])), "read\nwrite\n");
    Verdict::Passed
}

fn unlisted_devices_cannot_be_used(bench: &Bench) -> Verdict {
    // 1:1 is the memory of the machine.
    let script = "mknod /tmp-mem c 1 1 && echo made; (exec 3</tmp-mem) || echo refused";
    assert_eq!(bench.says(script, |_| {}), "made\nrefused\n");
    bench.refuses("access", |c| {
        c["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "access" }]);
    });
    Verdict::Passed
}

fn memory_limits_are_set(bench: &Bench) -> Verdict {
    if !bench.has_controller("memory") {
        return Verdict::Skipped("there is no memory controller");
    }
    let bundle = bench.bundle("true", |c| {
        c["linux"]["resources"]["memory"] =
            json!({ "limit": 67108864, "reservation": 33554432, "swap": 67108864 });
    });
    let _ = bundle.create().ok();
    assert_eq!(file(&bundle, "memory.max"), "67108864");
    assert_eq!(file(&bundle, "memory.low"), "33554432");
    let bundle =
        bench.bundle("true", |c| c["linux"]["resources"]["memory"] = json!({ "limit": -1 }));
    let _ = bundle.create().ok();
    assert_eq!(file(&bundle, "memory.max"), "max");
    bench.refuses("memory.swap", |c| {
        c["linux"]["resources"]["memory"] = json!({ "limit": 1000000, "swap": 10 });
    });
    Verdict::Passed
}

fn cpu_limits_are_set(bench: &Bench) -> Verdict {
    if !bench.has_controller("cpu") || !bench.has_controller("cpuset") {
        return Verdict::Skipped("there are no cpu and cpuset controllers");
    }
    let bundle = bench.bundle("true", |c| {
        c["linux"]["resources"]["cpu"] =
            json!({ "shares": 2, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0" });
    });
    let _ = bundle.create().ok();
    assert_eq!(file(&bundle, "cpu.weight"), "1");
    assert_eq!(file(&bundle, "cpu.max"), "50000 100000");
    assert_eq!(file(&bundle, "cpuset.cpus"), "0");
    bench.refuses("burst", |c| {
        c["linux"]["resources"]["cpu"] = json!({ "quota": 5000, "burst": 6000 });
    });
    Verdict::Passed
}

fn the_limit_of_processes_is_set(bench: &Bench) -> Verdict {
    if !bench.has_controller("pids") {
        return Verdict::Skipped("there is no pids controller");
    }
    for (limit, text) in [(17, "17"), (-1, "max")] {
        let bundle =
            bench.bundle("true", |c| c["linux"]["resources"]["pids"] = json!({ "limit": limit }));
        let _ = bundle.create().ok();
        assert_eq!(file(&bundle, "pids.max"), text);
    }
    Verdict::Passed
}

fn unified_files_are_written(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |c| {
        c["linux"]["resources"]["unified"] = json!({ "cgroup.max.descendants": "5" });
    });
    let _ = bundle.create().ok();
    assert_eq!(file(&bundle, "cgroup.max.descendants"), "5");
    if bench.has_controller("memory") {
        let bundle = bench.bundle("true", |c| {
            c["linux"]["resources"]["unified"] = json!({ "memory.high": "33554432" });
        });
        let _ = bundle.create().ok();
        assert_eq!(file(&bundle, "memory.high"), "33554432");
    }
    Verdict::Passed
}

fn a_missing_controller_is_an_error(bench: &Bench) -> Verdict {
    bench.refuses("+nothing", |c| {
        c["linux"]["resources"]["unified"] = json!({ "nothing.max": "1" });
    });
    bench.refuses("unified", |c| {
        c["linux"]["resources"]["unified"] = json!({ "../cgroup.procs": "1" });
    });
    // The kernel has no pages of this size, if it has the controller.
    bench.refuses("hugetlb", |c| {
        c["linux"]["resources"]["hugepageLimits"] = json!([{ "pageSize": "3MB", "limit": 1 }]);
    });
    Verdict::Passed
}

fn what_v2_does_not_have_is_refused(bench: &Bench) -> Verdict {
    for (property, value) in [
        ("network", json!({ "classID": 1 })),
        ("memory", json!({ "swappiness": 10 })),
        ("memory", json!({ "kernel": 1000000 })),
        ("memory", json!({ "disableOOMKiller": true })),
        ("cpu", json!({ "realtimeRuntime": 1 })),
        ("blockIO", json!({ "leafWeight": 10 })),
        ("rdma", json!({ "mlx5_1": {} })),
    ] {
        bench.refuses(property, |c| c["linux"]["resources"][property] = value);
    }
    Verdict::Passed
}
