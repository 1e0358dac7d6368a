//! config-linux.md: user and time namespaces.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, Bundle, own_namespace, push};
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("ids_are_mapped_as_given", ids_are_mapped_as_given),
    ("the_owners_of_files_are_left_alone", the_owners_of_files_are_left_alone),
    ("a_user_namespace_owns_the_other_namespaces", it_owns_the_others),
    ("devices_and_pipes_are_there_with_mapped_ids", devices_and_pipes_are_there),
    ("hooks_are_run_with_mapped_ids", hooks_are_run),
    ("priorities_are_set_before_ids_are_mapped", priorities_are_set),
    ("limits_are_raised_before_ids_are_mapped", limits_are_raised),
    ("a_user_namespace_with_a_path_is_joined", a_user_namespace_is_joined),
    ("mappings_and_user_namespaces_go_together", mappings_and_namespaces_go_together),
    ("ids_that_are_not_mapped_are_errors", ids_that_are_not_mapped_are_errors),
    ("clocks_have_the_offsets_that_are_given", clocks_have_the_offsets),
    ("clock_offsets_that_are_not_valid_are_errors", offsets_that_are_not_valid),
    ("a_time_namespace_with_a_path_is_joined", a_time_namespace_is_joined),
];

const UID: u32 = 100_000;
const GID: u32 = 200_000;

fn mapped(config: &mut Value) {
    push(&mut config["linux"]["namespaces"], json!({ "type": "user" }));
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": UID, "size": 1000 }]);
    config["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": GID, "size": 1000 }]);
}

/// Gives a bundle's files to the container's root, as whoever makes a bundle does.
fn give(bundle: &Bundle<'_>) {
    fn walk(path: &Path) {
        lchown(path, Some(UID), Some(GID)).expect("we are root");
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).expect("a folder") {
                walk(&entry.expect("an entry").path());
            }
        }
    }
    walk(&bundle.path("rootfs"));
}

fn mapped_bundle<'a>(bench: &'a Bench, script: &str, edit: impl FnOnce(&mut Value)) -> Bundle<'a> {
    let bundle = bench.bundle(script, |config| {
        mapped(config);
        edit(config);
    });
    give(&bundle);
    bundle
}

/// The first number behind a word of /proc/PID/status.
fn ids(pid: i64, word: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(word)).expect("there is such a line");
    line.split_whitespace().nth(1).and_then(|id| id.parse().ok()).expect("a number")
}

fn ids_are_mapped_as_given(bench: &Bench) -> Verdict {
    let script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /made; \
                  stat -c %u:%g /made; echo up; exec sleep 1000";
    let bundle = mapped_bundle(bench, script, |c| {
        c["process"]["user"] = json!({ "uid": 7, "gid": 8 });
        c["process"]["capabilities"] = json!({});
    });
    // So that this user can make a file.
    lchown(bundle.path("rootfs"), Some(UID + 7), Some(GID + 8)).expect("we are root");
    let bundle = bundle.started();
    bundle.has_said("up\n");
    let said = bundle.said();
    let words: Vec<&str> = said.split_whitespace().collect();
    let expected = ["0", "100000", "1000", "0", "200000", "1000", "7", "7:8", "up"];
    assert_eq!(words, expected, "{said}");
    assert_eq!(ids(bundle.pid(), "Uid:"), UID + 7);
    assert_eq!(ids(bundle.pid(), "Gid:"), GID + 8);
    let made = fs::metadata(bundle.path("rootfs/made")).expect("it was made");
    assert_eq!((made.uid(), made.gid()), (UID + 7, GID + 8));
    Verdict::Passed
}

fn the_owners_of_files_are_left_alone(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("stat -c %u /bin/busybox", mapped);
    // What the runtime itself has to make there.
    for folder in ["proc", "dev", "sys"] {
        fs::create_dir(bundle.path("rootfs").join(folder)).expect("a folder");
    }
    // The overflow id: root of the machine is nobody here.
    assert_eq!(bundle.run().ok().out, "65534\n");
    let file = fs::metadata(bundle.path("rootfs/bin/busybox")).expect("it is there");
    assert_eq!((file.uid(), file.gid()), (0, 0));
    Verdict::Passed
}

fn it_owns_the_others(bench: &Bench) -> Verdict {
    // What needs the rights of the owner of a namespace of each kind.
    let script = "hostname other && hostname; echo 1 > /proc/sys/net/ipv4/ip_forward; \
                  cat /proc/sys/net/ipv4/ip_forward; echo $$; readlink /proc/self/ns/user";
    let bundle = mapped_bundle(bench, script, |c| {
        let all = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]);
        c["process"]["capabilities"] =
            json!({ "bounding": all, "effective": all, "permitted": all });
        c["hostname"] = json!("box");
    });
    let said = bundle.run().ok().out;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["other", "1", "1"], "{said}");
    assert!(lines[3].starts_with("user:"), "{said}");
    assert_ne!(lines[3], own_namespace("user").to_str().unwrap());
    Verdict::Passed
}

fn devices_and_pipes_are_there(bench: &Bench) -> Verdict {
    let script = "echo gone > /dev/null && head -c 4 /dev/zero | wc -c; \
                  stat -c '%F %a %u:%g' /dev/mine /pipe; head -c 2 /dev/mine | wc -c";
    let bundle = mapped_bundle(bench, script, |c| {
        c["linux"]["devices"] = json!([
            { "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640,
              "uid": 3, "gid": 4 },
            { "path": "/pipe", "type": "p", "fileMode": 0o600, "uid": 5, "gid": 6 }
        ]);
    });
    let expected = "4\ncharacter special file 640 3:4\nfifo 600 5:6\n2\n";
    assert_eq!(bundle.run().ok().out, expected);
    let taken = mapped_bundle(bench, "true", |c| {
        c["linux"]["devices"] =
            json!([{ "path": "/bin/busybox", "type": "c", "major": 1, "minor": 5 }]);
    });
    taken.create().fails("there is something else");
    Verdict::Passed
}

fn hooks_are_run(bench: &Bench) -> Verdict {
    let bundle = mapped_bundle(bench, "true", |_| {});
    let log = bundle.path("log");
    fs::write(&log, "").expect("a file");
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("ours");
    let place = bundle.path("rootfs/log-inside");
    let note = |name: &str, file: &Path| {
        let file = file.to_str().expect("text");
        json!({ "path": "/bin/busybox", "args": ["sh", "-c", format!("echo {name} >> {file}")] })
    };
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(bundle.path("config.json")).unwrap()).unwrap();
    config["hooks"] = json!({
        "createRuntime": [note("createRuntime", &log)],
        // In the container's namespaces: its root may write where it may.
        "createContainer": [{ "path": "/bin/busybox", "args": ["sh", "-c",
            "test $(/bin/busybox id -u) = 0 && test -c /dev/null"] }],
        "startContainer": [note("startContainer", Path::new("/log-inside"))],
        "poststop": [note("poststop", &log)]
    });
    bundle.write(&config);
    let _ = bundle.create().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "createRuntime\n");
    let _ = bundle.start().ok();
    let _ = bundle.stopped().delete().ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "createRuntime\npoststop\n");
    assert_eq!(fs::read_to_string(place).unwrap(), "startContainer\n");
    config["hooks"] = json!({ "createContainer": [{ "path": "/bin/busybox", "args": ["false"] }] });
    bundle.write(&config);
    bundle.create().fails("the hook `/bin/busybox` failed");
    Verdict::Passed
}

fn priorities_are_set(bench: &Bench) -> Verdict {
    // Fields 19 (nice) and 41 (policy) of /proc/PID/stat; SCHED_BATCH is 3.
    let script = "read -r line < /proc/self/stat; set -- $line; echo ${19} ${41}";
    let bundle = mapped_bundle(bench, script, |c| {
        c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": -5 });
    });
    assert_eq!(bundle.run().ok().out, "-5 3\n");
    bench.refuses("SCHED_FLAG_RESET_ON_FORK", |c| {
        mapped(c);
        c["process"]["scheduler"] =
            json!({ "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    });
    Verdict::Passed
}

fn limits_are_raised(bench: &Bench) -> Verdict {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = u64::from_str_radix(effective.expect("a line").trim(), 16).expect("a set");
    if effective & 1 << 24 == 0 {
        return Verdict::Skipped("we have no CAP_SYS_RESOURCE");
    }
    let bundle = mapped_bundle(bench, "cat /proc/self/limits /proc/self/oom_score_adj", |c| {
        c["process"]["rlimits"] =
            json!([{ "type": "RLIMIT_MSGQUEUE", "soft": 64, "hard": 9_000_000 }]);
        c["process"]["oomScoreAdj"] = json!(-7);
    });
    let said = bundle.run().ok().out;
    let limit = said.lines().find(|line| line.starts_with("Max msgqueue size")).expect("a line");
    let limit: Vec<&str> = limit.split_whitespace().skip(3).collect();
    assert_eq!(limit, ["64", "9000000", "bytes"], "{said}");
    assert!(said.ends_with("\n-7\n"), "{said}");
    Verdict::Passed
}

fn a_user_namespace_is_joined(bench: &Bench) -> Verdict {
    let donor = mapped_bundle(bench, "echo up; exec sleep 1000", |_| {}).started();
    donor.has_said("up");
    let path = format!("/proc/{}/ns/user", donor.pid());
    let join = |config: &mut Value| {
        push(&mut config["linux"]["namespaces"], json!({ "type": "user", "path": path }));
    };
    let bundle = bench.bundle("readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map", join);
    give(&bundle);
    let said = bundle.run().ok().out;
    let words: Vec<&str> = said.split_whitespace().collect();
    let theirs = donor.namespace("user");
    assert_eq!(words, [theirs.to_str().unwrap(), "0", "0", "100000", "1000"], "{said}");
    // Both: they have to agree.
    let same = bench.bundle("true", |c| {
        mapped(c);
        c["linux"]["namespaces"].as_array_mut().unwrap().pop();
        join(c);
    });
    give(&same);
    let _ = same.run().ok();
    bench.refuses("linux.uidMappings", |c| {
        join(c);
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
    });
    bench.refuses("/proc/self/ns/mnt", |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "user", "path": "/proc/self/ns/mnt" }));
    });
    Verdict::Passed
}

fn mappings_and_namespaces_go_together(bench: &Bench) -> Verdict {
    let user = |c: &mut Value| push(&mut c["linux"]["namespaces"], json!({ "type": "user" }));
    bench.refuses("linux.uidMappings", user);
    bench.refuses("linux.gidMappings", |c| {
        mapped(c);
        c["linux"]["gidMappings"] = json!([]);
    });
    bench.refuses("linux.uidMappings", |c| {
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    });
    bench.refuses("gidMappings", |c| {
        mapped(c);
        c["linux"]["gidMappings"] = json!([{ "containerID": 1, "hostID": 1000, "size": 10 }]);
    });
    // Two ranges of which one lies within the other: the kernel's to refuse.
    bench.refuses("uid_map", |c| {
        mapped(c);
        push(
            &mut c["linux"]["uidMappings"],
            json!({ "containerID": 5, "hostID": 300_000, "size": 1 }),
        );
    });
    Verdict::Passed
}

fn ids_that_are_not_mapped_are_errors(bench: &Bench) -> Verdict {
    bench.refuses("process.user", |c| {
        mapped(c);
        c["process"]["user"]["uid"] = json!(1000);
    });
    bench.refuses("additionalGids", |c| {
        mapped(c);
        c["process"]["user"]["additionalGids"] = json!([5, 5000]);
    });
    bench.refuses("linux.devices", |c| {
        mapped(c);
        c["linux"]["devices"] = json!([{ "path": "/d", "type": "c", "major": 1, "minor": 5,
            "uid": 4000 }]);
    });
    Verdict::Passed
}

const DAY: u64 = 24 * 60 * 60;

fn new_clocks(config: &mut Value, days: u64) {
    push(&mut config["linux"]["namespaces"], json!({ "type": "time" }));
    config["linux"]["timeOffsets"] = json!({
        "monotonic": { "secs": DAY * days, "nanosecs": 5 },
        "boottime": { "secs": DAY * days }
    });
}

/// Days since the machine seems to have started.
fn days(uptime: &str) -> u64 {
    uptime.split('.').next().and_then(|text| text.parse::<u64>().ok()).expect("seconds") / DAY
}

fn clocks_have_the_offsets(bench: &Bench) -> Verdict {
    let own = days(&fs::read_to_string("/proc/uptime").expect("it is there"));
    let script = "cat /proc/uptime /proc/self/timens_offsets; readlink /proc/self/ns/time";
    let check = |said: &str| {
        let lines: Vec<&str> = said.lines().collect();
        assert!((1000 + own..=1001 + own).contains(&days(lines[0])), "{said}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[1]), ["monotonic", "86400000", "5"], "{said}");
        assert_eq!(words(lines[2]), ["boottime", "86400000", "0"], "{said}");
        assert_ne!(lines[3], own_namespace("time").to_str().unwrap());
    };
    check(&bench.says(script, |c| new_clocks(c, 1000)));
    // A namespace whose clocks are the machine's.
    let said = bench.says("cat /proc/uptime; readlink /proc/self/ns/time", |c| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "time" }));
    });
    let (uptime, link) = said.split_once('\n').expect("two lines");
    assert!((own..=own + 1).contains(&days(uptime)), "{said}");
    assert_ne!(link.trim_end(), own_namespace("time").to_str().unwrap());
    let mapped = mapped_bundle(bench, script, |c| new_clocks(c, 1000));
    check(&mapped.run().ok().out);
    Verdict::Passed
}

fn offsets_that_are_not_valid(bench: &Bench) -> Verdict {
    let own = |c: &mut Value, offsets: Value| {
        push(&mut c["linux"]["namespaces"], json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = offsets;
    };
    bench.refuses("linux.timeOffsets", |c| {
        c["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 1 } });
    });
    bench.refuses("linux.timeOffsets.realtime", |c| own(c, json!({ "realtime": { "secs": 1 } })));
    bench.refuses("linux.timeOffsets.boottime", |c| {
        own(c, json!({ "boottime": { "nanosecs": 1_000_000_000 } }));
    });
    // A clock would be below zero.
    bench.refuses("monotonic -1000000000000 0", |c| {
        own(c, json!({ "monotonic": { "secs": -1_000_000_000_000_i64 } }));
    });
    Verdict::Passed
}

fn a_time_namespace_is_joined(bench: &Bench) -> Verdict {
    let donor = bench.bundle("echo up; exec sleep 1000", |c| new_clocks(c, 500)).started();
    donor.has_said("up");
    let join = |config: &mut Value, path: &str| {
        push(&mut config["linux"]["namespaces"], json!({ "type": "time", "path": path }));
    };
    let path = format!("/proc/{}/ns/time", donor.pid());
    let said = bench.says("readlink /proc/self/ns/time; cat /proc/uptime", |c| join(c, &path));
    let (link, uptime) = said.split_once('\n').expect("two lines");
    assert_eq!(link, donor.namespace("time").to_str().unwrap());
    assert!(days(uptime) >= 500, "{said}");
    bench.refuses("linux.timeOffsets", |c| {
        new_clocks(c, 1);
        c["linux"]["namespaces"].as_array_mut().unwrap().pop();
        join(c, &path);
    });
    bench.refuses("invalid argument", |c| join(c, "/proc/self/ns/mnt"));
    Verdict::Passed
}
