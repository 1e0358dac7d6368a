//! Namespaces and shared memory of other containers.

use std::os::fd::AsFd as _;

use linkspan_runtime::devices::{Access, DeviceRule};
use linkspan_runtime::launch::{Network, Shared, Stdio};
use linkspan_runtime::plan::{Device, Mount, MountKind, Plan};

use crate::bench::{Bench, bench, finish, pipes};

fn run_with(bench: &Bench, plan: &Plan, shared: Shared<'_>) -> String {
    let (stdio, out, err) = pipes();
    let started = bench.launcher.start(plan, stdio, shared, false);
    let started = started.unwrap_or_else(|error| panic!("{error}"));
    let outcome = finish(&started, out, err);
    bench.cgroup(plan).remove(crate::bench::PATIENCE).unwrap();
    assert_eq!(outcome.stderr, "");
    outcome.stdout
}

fn shm(kind: MountKind) -> Mount {
    Mount {
        destination: "/dev/shm".into(),
        kind,
        readonly: false,
        nosuid: true,
        nodev: true,
        noexec: true,
    }
}

#[test]
fn a_joined_pid_namespace_shows_the_others_processes_and_its_own_cgroup() {
    let Some(bench) = bench() else { return };
    let donor = bench.plan("exec sleep 300");
    let running = bench.start(&donor);
    let mut plan = bench.plan(
        "tr '\\0' ' ' </proc/1/cmdline; readlink /proc/self/ns/pid; readlink /proc/1/ns/pid; \
                    cat /proc/self/cgroup; hostname",
    );
    plan.namespaces.pid = false;
    let target = running.started.pidfd.as_fd();
    let seen = run_with(&bench, &plan, Shared { pid: Some(target), ..Network::Plain.into() });
    let lines: Vec<&str> = seen.lines().collect();
    let own = lines[0].strip_prefix("sleep 300 ").expect("the donor's first process");
    assert_eq!(own, lines[1], "{seen}");
    // The root of its own cgroup namespace: it was born in its own cgroup.
    assert!(lines[2..].contains(&"0::/") && lines.contains(&"box"), "{seen}");
}

#[test]
fn a_joined_pid_namespace_takes_its_members_along_when_it_ends() {
    let Some(bench) = bench() else { return };
    let donor = bench.plan("exec sleep 300");
    let running = bench.start(&donor);
    let mut plan = bench.plan("exec sleep 300");
    plan.namespaces.pid = false;
    let shared = Shared { pid: Some(running.started.pidfd.as_fd()), ..Network::Plain.into() };
    let member = bench.launcher.start(&plan, Stdio::default(), shared, false).unwrap();
    // Not dropped yet: the kernel lets the donor's first process go when all others are reaped.
    bench.cgroup(&donor).kill().unwrap();
    assert_eq!(linkspan_sys::process::wait_pidfd(&member.pidfd).unwrap(), 137);
    drop(running);
    bench.cgroup(&plan).remove(crate::bench::PATIENCE).unwrap();
}

#[test]
fn joined_ipc_and_uts_namespaces_are_the_others_with_its_shared_memory() {
    let Some(bench) = bench() else { return };
    let mut donor = bench.plan("echo there >/dev/shm/file; exec sleep 300");
    donor.hostname = "donor".into();
    let running = bench.start(&donor);
    let mut plan = bench.plan(
        "until test -s /dev/shm/file; do :; done; cat /dev/shm/file; hostname; \
         readlink /proc/self/ns/ipc; echo back >/dev/shm/other",
    );
    plan.namespaces.ipc = false;
    plan.namespaces.uts = false;
    plan.mounts.retain(|mount| mount.destination.as_os_str() != "/dev/shm");
    plan.mounts.push(shm(MountKind::JoinedSharedMemory));
    let target = Some(running.started.pidfd.as_fd());
    let seen =
        run_with(&bench, &plan, Shared { ipc: target, uts: target, ..Network::Plain.into() });
    let asked = crate::bench::process("readlink /proc/self/ns/ipc; cat /dev/shm/other");
    let donors = bench.exec(&donor, &running, &asked).unwrap().stdout;
    let ipc = donors.strip_suffix("back\n").expect("what the other has written");
    assert_eq!(seen, format!("there\ndonor\n{ipc}"));
}

#[test]
fn the_machines_own_namespaces_are_left_as_they_are() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("for kind in pid ipc uts; do readlink /proc/self/ns/$kind; done");
    plan.namespaces.pid = false;
    plan.namespaces.ipc = false;
    plan.namespaces.uts = false;
    let own = ["pid", "ipc", "uts"].map(|kind| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        format!("{}\n", link.display())
    });
    assert_eq!(run_with(&bench, &plan, Network::Plain.into()), own.concat());
}

#[test]
fn a_device_of_ones_own_can_be_used_as_far_as_its_rule_goes() {
    let Some(bench) = bench() else { return };
    // 1:11 is /dev/kmsg, which is not among the standard devices.
    let mut plan = bench.plan(
        "exec 3</dev/log-of-the-kernel && echo opened; \
         (exec 4>/dev/log-of-the-kernel) 2>&1 | grep -c 'not permitted'",
    );
    plan.devices.push(Device {
        path: "/dev/log-of-the-kernel".into(),
        block: false,
        major: 1,
        minor: 11,
        mode: 0o600,
        uid: 0,
        gid: 0,
    });
    plan.process.capabilities = linkspan_runtime::capabilities::sets(
        linkspan_runtime::capabilities::DEFAULT
            | linkspan_runtime::capabilities::bit(
                linkspan_runtime::capabilities::Capability::SYSLOG,
            ),
    );
    let access = Access::parse("r").unwrap();
    let rule = DeviceRule { block: false, major: Some(1), minor: Some(11), access };
    plan.device_rules.push(rule);
    assert_eq!(bench.run(&plan).stdout, "opened\n1\n");
    plan = bench.plan(plan.process.args[2].as_str());
    plan.devices.push(Device {
        path: "/dev/log-of-the-kernel".into(),
        block: false,
        major: 1,
        minor: 11,
        mode: 0o600,
        uid: 0,
        gid: 0,
    });
    assert!(!bench.run(&plan).stdout.contains("opened"));
}
