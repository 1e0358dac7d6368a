//! Many containers come and go, and what they took is given back: counted before and after, in
//! the VM and on the host.
//!
//! `LINKSPAN_SOAK_CYCLES` says how many (`make soak`: 1000).

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use linkspan_test_e2e::{Host, is_daemon, is_fs_device, is_vsock_device, wait_until};

use crate::{CHECKER, Own, import_checker, unique};

const CYCLES: usize = 120;
/// Containers at a time.
const WORKERS: usize = 4;
const SETTLED: Duration = Duration::from_secs(60);
/// A pool of threads grows with what is done at once and shrinks when nothing is. One thread lost
/// in each round of [`cycle`] would be more.
const POOL: usize = 12;

/// What a container can leave behind in the VM, as lines of a name and a number.
const COUNT: &str = "
echo mounts $(wc -l < /proc/1/mountinfo)
echo cgroups $(find /sys/fs/cgroup -type d | wc -l)
echo interfaces $(ls /sys/class/net | wc -l)
echo descriptors $(ls /proc/1/fd | wc -l)
echo threads $(ls /proc/1/task | wc -l)
echo network namespaces $(readlink /proc/[0-9]*/ns/net | sort -u | wc -l)
echo mount namespaces $(readlink /proc/[0-9]*/ns/mnt | sort -u | wc -l)
echo zombies $(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ')
echo listeners $(cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | grep -c :)
echo containers $(ls /var/lib/linkspan/containers | wc -l)
echo volumes $(ls /var/lib/linkspan/volumes | wc -l)
echo programs $(readlink /proc/[0-9]*/exe | wc -l)
";

type Counts = BTreeMap<String, usize>;

fn in_the_vm(host: &Host) -> Counts {
    let text = host.run(&["machine", "shell", "--", "sh", "-c", COUNT]).ok().text();
    let line = |line: &str| {
        let (name, number) = line.rsplit_once(' ')?;
        Some((format!("VM: {name}"), number.parse().ok()?))
    };
    let mut counts: Counts = text.lines().filter_map(line).collect();
    assert!(counts.len() >= 12, "the VM was not counted:\n{text}");
    let objects = host
        .run(&[
            "run",
            "--rm",
            "--privileged",
            "--network",
            "host",
            CHECKER,
            "/checker",
            "netfilter",
        ])
        .ok()
        .json();
    for (kind, number) in objects.as_object().expect("an object") {
        let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
        counts.insert(format!("VM: netfilter {kind}"), number.expect("a number"));
    }
    counts
}

fn on_the_host(host: &Host) -> Counts {
    let mut counts = Counts::new();
    for (pid, command) in host.processes() {
        let kind = match command.as_str() {
            command if is_vsock_device(command) => "vsock device",
            command if is_fs_device(command) => "fs devices",
            command if is_daemon(command) => "daemon",
            command if command.contains("qemu-system") => "QEMU",
            _ => continue,
        };
        for what in ["fd", "task"] {
            let number = fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
            *counts.entry(format!("host: {kind} {what}")).or_default() += number;
        }
    }
    // Worker threads of QEMU and the devices come and go with load; none belongs to a container.
    counts.retain(|name, _| name == "host: daemon task" || !name.ends_with(" task"));
    counts
}

fn counts(host: &Host) -> Counts {
    let mut counts = in_the_vm(host);
    counts.extend(on_the_host(host));
    counts
}

/// One container, in one of several ways to live.
fn cycle(host: &Host, number: usize) {
    match number % 8 {
        0 => {
            // A network of the user's, a port, an anonymous volume.
            let options = ["--network", "soak", "-p", "127.0.0.1::80", "-v", "/volume"];
            let mut args = vec!["run", "--rm"];
            args.extend(options);
            args.extend(["--tmpfs", "/scratch", "busybox", "true"]);
            let _ = host.run(&args).ok();
        }
        1 => host.run(&["run", "--rm", "busybox", "no-such-program"]).fails(127, &["no-such"]),
        2 => {
            let name = unique("soak");
            let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "300"]).ok();
            let _ = host.run(&["exec", &name, "true"]).ok();
            let _ = host.run(&["rm", "-f", &name]).ok();
        }
        3 => {
            // A client that is killed while its container runs.
            let name = unique("soak");
            let mut client = host.spawn(&["run", "-i", "--name", &name, "busybox", "cat"]);
            assert!(wait_until(SETTLED, || {
                host.run(&["inspect", "-f", "{{.State.Running}}", &name]).text() == "true"
            }));
            client.kill().expect("it runs");
            let _ = client.wait();
            let _ = host.run(&["rm", "-f", &name]).ok();
        }
        4 => {
            let _ = host.run(&["run", "--rm", "-t", "--init", "busybox", "true"]).ok();
        }
        _ => {
            let _ = host.run(&["run", "--rm", "busybox", "true"]).ok();
        }
    }
}

fn cycles(host: &Host, count: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    cycle(host, number);
                }
            });
        }
    });
}

fn grown_since(before: &Counts, now: &Counts) -> Vec<String> {
    let grown = now.iter().filter(|(name, number)| {
        let is_pool = name.ends_with(" threads") || name.ends_with(" task");
        let allowed = if is_pool { POOL } else { 0 };
        before.get(*name).is_none_or(|before| **number > before + allowed)
    });
    grown.map(|(name, number)| format!("{name}: {:?} -> {number}", before.get(name))).collect()
}

pub(crate) const OWN: &[Own] = &[("many_cycles_leave_nothing_in_the_vm_or_on_the_host", || {
    let count = std::env::var("LINKSPAN_SOAK_CYCLES")
        .map_or(CYCLES, |text| text.parse().expect("LINKSPAN_SOAK_CYCLES is a number"));
    let host = Host::new();
    let _ = host.run(&["machine", "init", "--memory", "1024", "--disk", "4"]).ok();
    let _ = host.run(&["network", "create", "soak"]).ok();
    import_checker(&host);
    // What is made once and kept, such as the daemon's threads, is there after one round.
    cycles(&host, WORKERS * 8);
    // The smallest of a few counts: both sides at rest.
    let mut before = counts(&host);
    for _ in 0..10 {
        for (name, number) in counts(&host) {
            before.entry(name).and_modify(|least| *least = number.min(*least)).or_insert(number);
        }
    }
    let begin = std::time::Instant::now();
    cycles(&host, count);
    println!("{count} cycles in {:.1?}", begin.elapsed());
    let mut grown = Vec::new();
    let settled = wait_until(SETTLED, || {
        grown = grown_since(&before, &counts(&host));
        grown.is_empty()
    });
    assert!(settled, "after {count} cycles: {grown:#?}");
    host.leaves_nothing();
})];
