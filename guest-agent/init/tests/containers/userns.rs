//! Containers whose ids are mapped into a range of their own.

use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use linkspan_runtime::launch::{Network, Shared};
use linkspan_runtime::plan::{Bind, IdMapping, Mount, MountKind, Plan, Rlimit, UserNamespace};
use linkspan_runtime::{capabilities, defaults};

use crate::bench::{Bench, SIZE, bench, finish, pipes, process};

const FIRST: u32 = 100_000;

fn ids() -> UserNamespace {
    let range = vec![IdMapping { container_id: 0, host_id: FIRST, size: 65_536 }];
    UserNamespace { uid_mappings: range.clone(), gid_mappings: range }
}

fn mapped(bench: &Bench, script: &str) -> Plan {
    let mut plan = bench.plan(script);
    plan.user_namespace = Some(ids());
    plan.process.mapped_root = Some(ids().root());
    plan.sysctls = defaults::sysctls(plan.user_namespace.as_ref());
    plan
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

#[test]
fn root_of_the_container_is_nobody_outside_and_owns_its_files() {
    let Some(bench) = bench() else { return };
    chown(bench.path("base/tmp"), Some(1000), Some(1001)).unwrap();
    let plan = mapped(
        &bench,
        "cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c '%u:%g' /bin /tmp /etc/passwd; \
         touch /made /tmp/also && rm /etc/group 2>/dev/null || unlink /etc/group; \
         stat -c '%u:%g' /made; chmod 700 /tmp",
    );
    let outcome = bench.run(&plan);
    let lines: Vec<Vec<&str>> =
        outcome.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[..2], [vec!["0", "100000", "65536"], vec!["0", "100000", "65536"]]);
    let rest: Vec<&str> = lines[2..].iter().map(|line| line[0]).collect();
    assert_eq!(rest, ["0", "0:0", "1000:1001", "0:0", "0:0"], "{outcome:?}");
    // On the disk ids are those of the container: layers and changes are not of one mapping.
    assert_eq!(owner(plan.rootfs.upper.join("made")), (0, 0));
    assert_eq!(owner(plan.rootfs.upper.join("tmp")), (1000, 1001));
    assert_eq!(owner(bench.path("base/tmp")), (1000, 1001));
}

#[test]
fn what_root_removes_is_hidden_by_a_whiteout() {
    let Some(bench) = bench() else { return };
    let outcome = bench.run(&mapped(&bench, "unlink /etc/group; ls /etc"));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "passwd\n"), "{outcome:?}");
}

#[test]
fn its_processes_run_under_mapped_ids_and_so_do_those_that_join_them() {
    let Some(bench) = bench() else { return };
    let plan = mapped(&bench, "exec sleep 300");
    let running = bench.start(&plan);
    let proc = format!("/proc/{}", running.started.pid);
    assert_eq!(owner(&proc), (FIRST, FIRST));
    let mut more = process("id; cat /proc/self/uid_map; touch /by-app; echo x > /dev/stdout");
    more.mapped_root = plan.process.mapped_root;
    more.oom_score_adj = Some(7);
    let root = bench.exec(&plan, &running, &more).unwrap();
    assert!(root.stdout.starts_with("uid=0(root) gid=0(root)"), "{root:?}");
    assert!(root.stdout.contains("100000") && root.stdout.ends_with("x\n"), "{root:?}");
    assert_eq!((root.code, root.stderr.as_str()), (0, ""));
    more.user.user = "app".into();
    more.args[2] = "id -u; id -g; cat /proc/self/oom_score_adj; echo x > /dev/stdout".into();
    let app = bench.exec(&plan, &running, &more).unwrap();
    assert_eq!(app.stdout, "1000\n1001\n7\nx\n", "{app:?}");
}

#[test]
fn it_has_devices_a_terminal_and_a_network_of_its_own() {
    let Some(bench) = bench() else { return };
    let mut plan = mapped(
        &bench,
        "echo gone > /dev/null && head -c 4 /dev/zero | wc -c; stat -c '%u:%g %a' /dev/null; \
         mknod /dev/more c 1 3 2>&1; sysctl -n net.ipv4.ip_unprivileged_port_start; \
         hostname; ip link show lo | grep -c UP; ls /sys/class/net; ls -d /proc/1",
    );
    plan.devices[0].uid = 0;
    plan.devices[0].gid = 5;
    let outcome = bench.run(&plan);
    assert_eq!(
        outcome.stdout,
        "4\n0:5 666\nmknod: /dev/more: Operation not permitted\n0\nbox\n1\nlo\n/proc/1\n",
        "{outcome:?}"
    );
    let mut plan = mapped(&bench, "tty; test -w /dev/console && echo console");
    plan.process.terminal = Some(SIZE);
    let started = bench.launcher.start(&plan, Default::default(), Network::Plain, false).unwrap();
    assert!(started.pty_master.is_some());
    assert_eq!(linkspan_sys::process::wait_pidfd(&started.pidfd).unwrap(), 0);
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}

#[test]
fn every_capability_reaches_what_is_its_own_and_nothing_of_the_vms() {
    let Some(bench) = bench() else { return };
    let mut plan = mapped(
        &bench,
        "mount -t tmpfs none /tmp && hostname other && echo mounted; \
         mount -o remount,rw /sys/fs/cgroup 2>/dev/null; \
         echo 1 2>/dev/null > /sys/fs/cgroup/pids.max || echo kept; \
         echo x 2>/dev/null > /proc/sysrq-trigger || echo denied",
    );
    plan.process.capabilities = capabilities::sets(capabilities::ALL);
    plan.process.seccomp = Vec::new();
    let outcome = bench.run(&plan);
    assert_eq!(outcome.stdout, "mounted\nkept\ndenied\n", "{outcome:?}");
}

#[test]
fn volumes_keep_the_ids_of_the_container_on_the_disk() {
    let Some(bench) = bench() else { return };
    let volume = bench.path("volume");
    std::fs::create_dir(&volume).unwrap();
    chown(&volume, Some(1000), Some(1001)).unwrap();
    let mut plan = mapped(&bench, "stat -c '%u:%g' /data; touch /data/made; exec sleep 300");
    plan.process.args[2] = "stat -c '%u:%g' /data; touch /data/made".into();
    plan.process.user.user = "app".into();
    plan.mounts.push(Mount {
        destination: "/data".into(),
        kind: MountKind::Bind(Bind::of(volume.clone())),
        readonly: false,
        nosuid: false,
        nodev: false,
        noexec: false,
    });
    let outcome = bench.run(&plan);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("1000:1001\n", ""));
    assert_eq!(owner(volume.join("made")), (1000, 1001));
}

#[test]
fn limits_of_the_vms_root_are_set_before_it_is_left() {
    let Some(bench) = bench() else { return };
    let mut plan = mapped(&bench, "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj");
    plan.process.oom_score_adj = Some(5);
    plan.process.rlimits = vec![Rlimit { kind: "nofile".into(), soft: 100, hard: 200 }];
    plan.resources.pids_max = bench.controllers.contains("pids").then_some(2);
    let outcome = bench.run(&plan);
    assert_eq!(outcome.stdout, "100\n200\n5\n", "{outcome:?}");
}

#[test]
fn a_network_is_prepared_before_anything_runs_and_belongs_to_the_container() {
    let Some(bench) = bench() else { return };
    let plan = mapped(&bench, "ls /proc/self/ns >/dev/null; readlink /proc/self/ns/net");
    let seen = std::cell::RefCell::new(String::new());
    let prepare = |namespace: std::os::fd::BorrowedFd<'_>| {
        use std::os::fd::AsRawFd as _;
        let link = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        *seen.borrow_mut() = std::fs::read_link(link).unwrap().display().to_string();
        Ok(())
    };
    let (stdio, out, err) = pipes();
    let started = bench.launcher.start(&plan, stdio, Network::Prepare(&prepare), false).unwrap();
    let outcome = finish(&started, out, err);
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
    assert_eq!(outcome.stdout.trim_end(), *seen.borrow());
    let refuse = |_: std::os::fd::BorrowedFd<'_>| Err("no address is left".to_owned());
    let plan = mapped(&bench, "true");
    let refused = bench.launcher.start(&plan, Default::default(), Network::Prepare(&refuse), false);
    assert!(refused.unwrap_err().to_string().contains("no address is left"));
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}

#[test]
fn whose_namespaces_are_joined_has_its_user_namespace_joined_too() {
    let Some(bench) = bench() else { return };
    let donor = bench.start(&mapped(&bench, "exec sleep 300"));
    let link = |name: &str| {
        let path = format!("/proc/{}/ns/{name}", donor.started.pid);
        std::fs::read_link(path).unwrap().display().to_string()
    };
    let mut plan =
        mapped(&bench, "readlink /proc/self/ns/user /proc/self/ns/net; ip link show lo | wc -l");
    plan.process.args[2] =
        "readlink /proc/self/ns/user; readlink /proc/self/ns/pid; kill -0 1 && id -u".into();
    plan.namespaces.pid = false;
    let target = donor.started.pidfd.as_fd();
    let (stdio, out, err) = pipes();
    let shared = Shared { pid: Some(target), user: Some(target), ..Network::Plain.into() };
    let started = bench.launcher.start(&plan, stdio, shared, false);
    let started = started.unwrap_or_else(|error| panic!("{error}"));
    let outcome = finish(&started, out, err);
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
    let expected = format!("{}\n{}\n0\n", link("user"), link("pid"));
    assert_eq!((outcome.stdout, outcome.stderr), (expected, String::new()));
}
