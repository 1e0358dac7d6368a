//! Namespaces that are shared, kernel parameters, devices and disks, as seen from inside.

use crate::{CHECKER, Shared, report, unique};

pub(crate) const TESTS: &[Shared] = &[
    ("pid_host_and_container_show_whose_processes_there_are", |host| {
        let script = "readlink /proc/self/ns/pid";
        let vm = host.run(&["machine", "shell", "--", "sh", "-c", script]).ok().text();
        assert_eq!(report(host, &["--pid", "host"])["namespaces"]["pid"], vm.as_str());
        let donor = host.run(&["run", "-d", CHECKER, "sleep", "300"]).ok().text();
        let seen = report(host, &["--pid", &format!("container:{donor}")]);
        let link = host.run(&["exec", &donor, "ls", "-l", "/proc/1/ns/pid"]).ok().text();
        assert!(link.contains(seen["namespaces"]["pid"].as_str().unwrap()), "{link}: {seen}");
        assert_eq!(seen["processes"], 2);
        let _ = host.run(&["rm", "-f", &donor]).ok();
        let gone = host.run(&["run", "--rm", "--pid", "container:no-such", CHECKER]);
        assert_ne!(gone.code, 0);
    }),
    ("a_container_without_pids_of_its_own_leaves_no_process_behind", |host| {
        let name = unique("pidhost");
        let script = "sleep 1234 & exec true";
        let _ =
            host.run(&["run", "--name", &name, "--pid", "host", CHECKER, "sh", "-c", script]).ok();
        // The pattern does not find the shell that asks.
        let left = "grep -l 'sleep.123[4]' /proc/[0-9]*/cmdline | wc -l";
        let gone = linkspan_test_e2e::wait_until(crate::SOON, || {
            let left = host.run(&["machine", "shell", "--", "sh", "-c", left]).ok().text();
            left.trim() == "0"
        });
        assert!(gone);
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("shared_memory_is_shared_with_those_who_join_a_shareable_container", |host| {
        let script = "echo there >/dev/shm/file; exec sleep 300";
        let start = |ipc: &str| {
            host.run(&["run", "-d", "--ipc", ipc, CHECKER, "sh", "-c", script]).ok().text()
        };
        let (open, closed) = (start("shareable"), start("private"));
        let read = |donor: &str| {
            let ipc = format!("container:{donor}");
            let script = "until test -s /dev/shm/file; do :; done; cat /dev/shm/file";
            host.run(&["run", "--rm", "--ipc", &ipc, CHECKER, "sh", "-c", script])
        };
        assert_eq!(read(&open).ok().text(), "there");
        let refused = read(&closed);
        assert_ne!(refused.code, 0);
        assert!(refused.err.contains("--ipc shareable"), "{refused:?}");
        let none = report(host, &["--ipc", "none"]);
        assert!(!none["mounts"]["/dev/shm"].is_object());
        let _ = host.run(&["rm", "-f", &open, &closed]).ok();
    }),
    ("uts_and_cgroup_namespaces_can_be_the_machines", |host| {
        let vm = host.run(&["machine", "shell", "--", "sh", "-c", "ls -l /proc/1/ns"]).ok().text();
        let seen = report(host, &["--uts", "host", "--cgroupns", "host"]);
        for kind in ["uts", "cgroup"] {
            assert!(vm.contains(seen["namespaces"][kind].as_str().unwrap()), "{kind}: {seen}");
        }
    }),
    ("kernel_parameters_of_its_namespaces_are_set_and_others_refused", |host| {
        let script = "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni";
        let flags = ["--sysctl", "net.core.somaxconn=321", "--sysctl", "kernel.shmmni=99"];
        let mut args = vec!["run", "--rm"];
        args.extend(flags);
        args.extend([CHECKER, "sh", "-c", script]);
        assert_eq!(host.run(&args).ok().text(), "321\n99");
        let refused = host.run(&["run", "--rm", "--sysctl", "vm.swappiness=1", CHECKER]);
        assert!(refused.code != 0 && refused.err.contains("vm.swappiness"), "{refused:?}");
    }),
    ("a_device_can_be_used_only_when_it_is_given", |host| {
        let read = "head -c 1 /dev/vda >/dev/null && echo read";
        let read = format!("busybox {read}");
        let given = host.run(&[
            "run",
            "--rm",
            "--device",
            "/dev/vda:/dev/vda:r",
            CHECKER,
            "sh",
            "-c",
            &read,
        ]);
        assert_eq!(given.ok().text(), "read");
        let write = "true 2>/dev/null >/dev/vda && echo opened; true";
        let given = host.run(&[
            "run",
            "--rm",
            "--device",
            "/dev/vda:/dev/vda:r",
            CHECKER,
            "sh",
            "-c",
            write,
        ]);
        assert_eq!(given.ok().text(), "");
        // Making a node is allowed to everybody, using it to nobody.
        let made = "busybox mknod /tmp/disk b 254 0 && echo made; \
                    busybox head -c 1 /tmp/disk 2>&1 | busybox grep -c 'not permitted'";
        assert_eq!(host.run(&["run", "--rm", CHECKER, "sh", "-c", made]).ok().text(), "made\n1");
        let rule = "b *:* rwm";
        let ruled =
            host.run(&["run", "--rm", "--device-cgroup-rule", rule, CHECKER, "sh", "-c", made]);
        assert_eq!(ruled.text(), "made\n0");
        let none = "busybox mknod /tmp/x c 1 1 2>&1 | busybox grep -c 'not permitted'";
        let dropped = host.run(&["run", "--rm", "--cap-drop", "MKNOD", CHECKER, "sh", "-c", none]);
        assert_eq!(dropped.ok().text(), "1");
    }),
    ("a_profile_of_ones_own_is_the_filter", |host| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile.json");
        let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdirat","mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
        std::fs::write(&file, profile).unwrap();
        let option = format!("seccomp={}", file.display());
        let script = "busybox mkdir /tmp/x 2>&1 | busybox grep -c 'No space'; echo on";
        let args = ["run", "--rm", "--security-opt", &option, CHECKER, "sh", "-c", script];
        assert_eq!(host.run(&args).ok().text(), "1\non");
        std::fs::write(&file, "{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}").unwrap();
        let refused = host.run(&args);
        assert!(refused.code != 0 && refused.err.contains("SCMP_ACT_NOTIFY"), "{refused:?}");
    }),
    ("unconfined_system_paths_can_be_written", |host| {
        let option = "systempaths=unconfined";
        let seen = report(host, &["--security-opt", option]);
        assert!(!seen["mounts"]["/proc/sys"].is_object(), "{}", seen["mounts"]);
        let refused = host.run(&["run", "--rm", "--security-opt", "apparmor=x", CHECKER]);
        assert!(refused.err.contains("AppArmor"), "{refused:?}");
    }),
    ("limits_on_disks_and_cpu_time_arrive_in_the_cgroup", |host| {
        let files = "cat /sys/fs/cgroup/cpu.max; busybox grep . /sys/fs/cgroup/io.max";
        let seen = host
            .run(&[
                "run",
                "--rm",
                "--cpu-period",
                "50000",
                "--cpu-quota",
                "20000",
                "--device-read-bps",
                "/dev/vda:1mb",
                "--device-write-iops",
                "/dev/vda:77",
                CHECKER,
                "sh",
                "-c",
                files,
            ])
            .ok()
            .text();
        let (cpu, io) = seen.split_once('\n').unwrap();
        assert_eq!(cpu, "20000 50000");
        assert!(io.ends_with(":0 rbps=1048576 wbps=max riops=max wiops=77"), "{io}");
        let both = host.run(&["run", "--rm", "--cpus", "1", "--cpu-quota", "20000", CHECKER]);
        assert!(both.err.contains("--cpu-quota"), "{both:?}");
    }),
];
