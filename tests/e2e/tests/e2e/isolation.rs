//! What separates a container from the VM and from other containers, as the checker sees it.

use serde_json::Value;

use crate::{CHECKER, Shared, report};

pub(crate) const TESTS: &[Shared] = &[
    ("every_namespace_is_its_own", |host| {
        let vm = host.run(&["machine", "shell", "--", "ls", "-l", "/proc/1/ns"]).ok().text();
        let (one, two) = (report(host, &[]), report(host, &[]));
        for kind in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let of = |seen: &Value| seen["namespaces"][kind].as_str().unwrap().to_owned();
            assert!(!vm.contains(&of(&one)), "{kind} is shared with the VM: {}", of(&one));
            assert_ne!(of(&one), "", "{kind}");
        }
        assert_eq!((one["pid"].as_i64(), two["pid"].as_i64()), (Some(1), Some(1)));
        assert_eq!(one["ppid"], 0);
        assert_eq!(one["processes"], 1);
    }),
    ("the_root_is_an_overlay_and_the_standard_mounts_are_there", |host| {
        let seen = report(host, &[]);
        let fstype =
            |path: &str| seen["mounts"][path]["fstype"].as_str().unwrap_or("none").to_owned();
        assert_eq!(fstype("/"), "overlay");
        assert_eq!(fstype("/proc"), "proc");
        assert_eq!(fstype("/dev"), "tmpfs");
        assert_eq!(fstype("/dev/pts"), "devpts");
        assert_eq!(fstype("/dev/shm"), "tmpfs");
        assert_eq!(fstype("/dev/mqueue"), "mqueue");
        assert_eq!(fstype("/sys"), "sysfs");
        assert_eq!(fstype("/sys/fs/cgroup"), "cgroup2");
        for path in ["/sys", "/sys/fs/cgroup", "/proc/sys"] {
            let options = seen["mounts"][path]["options"].as_str().unwrap_or_default();
            assert!(options.split(',').any(|option| option == "ro"), "{path}: {options}");
        }
        for path in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
            assert!(seen["mounts"][path].is_object(), "{path} is not a mount");
        }
    }),
    ("devices_are_the_standard_ones", |host| {
        let seen = report(host, &[]);
        let device = |name: &str| seen["devices"][name].as_str().unwrap_or("none").to_owned();
        assert_eq!(device("null"), "c 1:3 666");
        assert_eq!(device("zero"), "c 1:5 666");
        assert_eq!(device("full"), "c 1:7 666");
        assert_eq!(device("random"), "c 1:8 666");
        assert_eq!(device("urandom"), "c 1:9 666");
        assert_eq!(device("tty"), "c 5:0 666");
        assert_eq!(device("stdin"), "-> /proc/self/fd/0");
        let names: Vec<_> = seen["devices"].as_object().unwrap().keys().cloned().collect();
        assert!(!names.iter().any(|name| name.starts_with("vd") || name == "mem"), "{names:?}");
    }),
    ("capabilities_are_dockers_default_set", |host| {
        // CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
        // NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE
        let default = 0x0000_0000_a804_25fb_u64;
        let seen = report(host, &[]);
        let set = |seen: &Value, name: &str| {
            u64::from_str_radix(seen["capabilities"][name].as_str().unwrap(), 16).unwrap()
        };
        assert_eq!(set(&seen, "CapEff"), default);
        assert_eq!(set(&seen, "CapBnd"), default);
        assert_eq!(set(&seen, "CapInh"), 0);
        assert_eq!(set(&seen, "CapAmb"), 0);
        let user = report(host, &["-u", "1000"]);
        assert_eq!(set(&user, "CapEff"), 0);
        assert_eq!(set(&user, "CapBnd"), default);
        let changed = report(host, &["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"]);
        assert_eq!(set(&changed, "CapEff"), 1 << 12);
    }),
    ("a_filter_is_on_unless_privileged", |host| {
        assert_eq!(report(host, &[])["seccomp"], "2");
        let privileged = report(host, &["--privileged"]);
        assert_eq!(privileged["seccomp"], "0");
        let all = privileged["capabilities"]["CapEff"].as_str().unwrap().to_owned();
        assert!(u64::from_str_radix(&all, 16).unwrap().count_ones() >= 40, "{all}");
    }),
    ("nothing_forbidden_can_be_done", |host| {
        let tried = host.run(&["run", "--rm", CHECKER, "/checker", "attempts"]).ok().json();
        let done: Vec<_> = tried
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, ended)| *ended == "done")
            .map(|(name, _)| name.clone())
            .collect();
        assert!(tried.as_object().unwrap().len() > 12, "{tried}");
        assert!(done.is_empty(), "a container could: {done:?}");
    }),
    ("a_privileged_container_may_mount", |host| {
        // The other side of the test above: the attempts can succeed.
        let tried =
            host.run(&["run", "--rm", "--privileged", CHECKER, "/checker", "attempts"]).ok().json();
        assert_eq!(tried["unshare mount namespace"], "done", "{tried}");
        assert_eq!(tried["set host name"], "done", "{tried}");
    }),
    ("no_file_descriptor_leaks_in", |host| {
        assert_eq!(report(host, &[])["open_files"], Value::Array(Vec::new()));
    }),
    ("a_container_has_loopback_and_an_interface_of_its_own", |host| {
        let seen = report(host, &[]);
        assert_eq!(seen["loopback_up"], true);
        let has = |seen: &Value, name: &str| {
            seen["interfaces"].as_array().unwrap().contains(&name.into())
        };
        assert!(has(&seen, "lo") && has(&seen, "eth0"), "{}", seen["interfaces"]);
        let alone = report(host, &["--network", "none"]);
        assert_eq!(alone["loopback_up"], true);
        assert!(has(&alone, "lo") && !has(&alone, "eth0"), "{}", alone["interfaces"]);
    }),
    ("rlimits_are_sane_and_settable", |host| {
        let seen = report(host, &["--ulimit", "nofile=123:456"]);
        assert_eq!(seen["rlimits"]["nofile"], serde_json::json!([123, 456]));
    }),
    ("exec_joins_every_namespace", |host| {
        let id = host.run(&["run", "-d", CHECKER, "sleep", "300"]).ok().text();
        let first = host.run(&["exec", &id, "ls", "-l", "/proc/1/ns"]).ok().text();
        let seen = host.run(&["exec", &id, "/checker"]).ok().json();
        for kind in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let name = seen["namespaces"][kind].as_str().unwrap();
            assert!(first.contains(name), "{kind}: {name} is not among\n{first}");
        }
        assert_eq!(seen["seccomp"], "2");
        assert_eq!(seen["capabilities"]["CapEff"], "00000000a80425fb");
        let privileged = host.run(&["exec", "--privileged", &id, "/checker"]).ok().json();
        assert_ne!(privileged["capabilities"]["CapEff"], "00000000a80425fb");
        let _ = host.run(&["rm", "-f", &id]).ok();
    }),
    ("a_container_leaves_no_mount_cgroup_or_process_in_the_vm", |host| {
        let count = || {
            let script = "cat /proc/mounts | wc -l; ls -d /sys/fs/cgroup/linkspan/containers/*/ 2>/dev/null | wc -l; ls -d /proc/[0-9]* | wc -l";
            host.run(&["machine", "shell", "--", "sh", "-c", script]).ok().text()
        };
        // Other tests run at the same time: only a count that never comes back is a leak.
        let before: Vec<i64> = count().lines().map(|line| line.trim().parse().unwrap()).collect();
        for _ in 0..5 {
            let _ = host.run(&["run", "--rm", "busybox", "true"]).ok();
        }
        let settled = linkspan_test_e2e::wait_until(crate::SOON, || {
            let now: Vec<i64> = count().lines().map(|line| line.trim().parse().unwrap()).collect();
            now.iter().zip(&before).all(|(now, before)| now <= before)
        });
        assert!(settled, "before {before:?}, now {}", count());
    }),
];
