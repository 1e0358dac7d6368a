//! What a container cannot do, each case by name. `docs/security.md` says which promise is held
//! by which test here.

use std::collections::BTreeMap;

use linkspan_test_e2e::{Host, wait_until};

use crate::{
    CHECKER, SOON, Shared,
    calls::{self, ENOSYS, EPERM},
    unique,
};

/// AF_VSOCK and AF_UNIX.
const VSOCK: u32 = 40;
const UNIX: u32 = 1;

/// Calls that the filter refuses: name, number (x86-64), arguments that the kernel itself answers
/// with something else than EPERM when it is asked.
const REFUSED: &[(&str, u32, &[u64])] = &[
    ("acct", 163, &[1]),
    ("add_key", 248, &[]),
    ("bpf", 321, &[0xffff]),
    ("clock_settime", 227, &[0xffff, 1]),
    ("delete_module", 176, &[]),
    ("finit_module", 313, &[u64::MAX, 0, 0xffff]),
    ("fsmount", 432, &[u64::MAX]),
    ("fsopen", 430, &[]),
    ("init_module", 175, &[]),
    ("io_uring_setup", 425, &[]),
    ("iopl", 172, &[4]),
    ("kcmp", 312, &[]),
    ("kexec_load", 246, &[0, 0, 0, 0xffff]),
    ("keyctl", 250, &[0, 0xffff_fffc, 1]),
    ("mount", 165, &[]),
    ("mount_setattr", 442, &[u64::MAX]),
    ("move_mount", 429, &[u64::MAX, 0, u64::MAX]),
    ("open_by_handle_at", 304, &[u64::MAX]),
    ("open_tree", 428, &[u64::MAX, 0, 0xffff]),
    ("perf_event_open", 298, &[]),
    ("pidfd_getfd", 438, &[u64::MAX]),
    ("pivot_root", 155, &[]),
    ("process_madvise", 440, &[u64::MAX]),
    ("quotactl", 179, &[]),
    ("reboot", 169, &[]),
    ("request_key", 249, &[]),
    ("setns", 308, &[u64::MAX]),
    ("settimeofday", 164, &[1]),
    ("socket of vsock", 41, &[VSOCK as u64, 1]),
    ("swapon", 167, &[]),
    ("syslog", 103, &[u64::MAX]),
    ("umount2", 166, &[]),
    ("unshare a user namespace", 272, &[0x1000_0000]),
    ("userfaultfd", 323, &[0xffff_ffff]),
];

/// Imports the programs as an image and runs each; how it exited, by its name. `None`, and said
/// so: this is another architecture.
fn run_calls(
    host: &Host,
    programs: &[(String, Vec<u8>)],
    options: &[&str],
) -> Option<BTreeMap<String, i32>> {
    if std::env::consts::ARCH != "x86_64" {
        println!("skipped: the programs are for x86-64");
        return None;
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, bytes).expect("a tar in memory");
    };
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    add("bin/sh", &busybox);
    for (name, program) in programs {
        add(&format!("calls/{name}"), program);
    }
    let image = unique("calls");
    let bytes = tar.into_inner().expect("a tar in memory");
    let _ = host.run_with_stdin(&["import", "-", &image], &bytes).ok();
    let script = "for call in /calls/*; do \"$call\"; echo \"${call#/calls/}=$?\"; done";
    let mut args = vec!["run", "--rm"];
    args.extend_from_slice(options);
    args.extend_from_slice(&[&image, "/bin/sh", "-c", script]);
    let text = host.run(&args).ok().text();
    let _ = host.run(&["rmi", &image]).ok();
    let line = |line: &str| {
        let (name, code) = line.split_once('=')?;
        Some((name.to_owned(), code.parse().ok()?))
    };
    Some(text.lines().filter_map(line).collect())
}

fn refused_calls() -> Vec<(String, Vec<u8>)> {
    let program = |(name, number, arguments): &(&str, u32, &[u64])| {
        ((*name).to_owned(), calls::native(*number, arguments))
    };
    REFUSED.iter().map(program).collect()
}

/// The exit codes of programs that ask for a socket of a family, in ways of 32-bit programs.
fn sockets_of_i386(host: &Host, options: &[&str]) -> Option<BTreeMap<String, i32>> {
    const SOCKET: u32 = 359;
    let programs = [
        ("socket of unix".to_owned(), calls::i386(SOCKET, &[UNIX, 1])),
        ("socket of vsock".to_owned(), calls::i386(SOCKET, &[VSOCK, 1])),
        ("socketcall of unix".to_owned(), calls::socketcall(UNIX)),
        ("socketcall of vsock".to_owned(), calls::socketcall(VSOCK)),
    ];
    run_calls(host, &programs, options)
}

pub(crate) const TESTS: &[Shared] = &[
    ("each_dangerous_call_is_refused_by_the_filter", |host| {
        let Some(ended) = run_calls(host, &refused_calls(), &[]) else { return };
        assert_eq!(ended.len(), REFUSED.len(), "{ended:?}");
        let other: Vec<_> = ended.iter().filter(|(_, code)| **code != EPERM).collect();
        assert!(other.is_empty(), "not refused: {other:?}");
    }),
    ("without_the_filter_the_kernel_itself_answers_those_calls", |host| {
        // The other side of the test above: the programs ask what they say they ask.
        let Some(ended) = run_calls(host, &refused_calls(), &["--privileged"]) else { return };
        assert_eq!(ended.len(), REFUSED.len(), "{ended:?}");
        let refused: Vec<_> = ended.iter().filter(|(_, code)| **code == EPERM).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }),
    ("no_capability_that_can_be_added_brings_back_vsock", |host| {
        let all = ["--cap-add", "ALL"];
        let program = [("vsock".to_owned(), calls::native(41, &[u64::from(VSOCK), 1]))];
        let Some(ended) = run_calls(host, &program, &all) else { return };
        assert_eq!(ended["vsock"], EPERM);
    }),
    ("a_32_bit_program_gets_no_vsock_socket_either", |host| {
        let Some(ended) = sockets_of_i386(host, &[]) else { return };
        // The negative of a descriptor, in eight bits.
        assert!(ended["socket of unix"] > 200, "the control works: {ended:?}");
        assert_eq!(ended["socket of vsock"], EPERM);
        // Its arguments cannot be looked at: as if the kernel did not have it.
        assert_eq!(ended["socketcall of unix"], ENOSYS);
        assert_eq!(ended["socketcall of vsock"], ENOSYS);
        let Some(free) = sockets_of_i386(host, &["--privileged"]) else { return };
        assert!(free["socketcall of unix"] > 200, "the control works: {free:?}");
    }),
    ("the_agent_answers_nobody_in_the_machine_whatever_its_privileges", |host| {
        let free = ["--privileged", "--network", "host", "--pid", "host"];
        for (cid, port) in [("1", "1024"), ("1", "1025"), ("3", "1024")] {
            let mut args = vec!["run", "--rm"];
            args.extend(free);
            args.extend([CHECKER, "/checker", "ask-vsock", cid, port]);
            let said = host.run(&args).ok().text();
            assert_ne!(said, "answered", "CID {cid}, port {port}");
        }
        for network in [&[][..], &["--network", "host"]] {
            let args =
                [&["run", "--rm"], network, &[CHECKER, "/checker", "ask-vsock", "1", "1024"]];
            assert_eq!(host.run(&args.concat()).ok().text(), "no socket: EPERM");
        }
    }),
    ("no_descriptor_or_folder_of_the_machine_can_be_the_working_directory", |host| {
        // CVE-2024-21626: a runtime that leaves a folder open.
        let look =
            "test -e ./sbin/linkspan-init -o -e ../../../sbin/linkspan-init && echo out; pwd";
        for number in 3..12 {
            let folder = format!("/proc/self/fd/{number}");
            let done = host.run(&["run", "--rm", "-w", &folder, "busybox", "sh", "-c", look]);
            assert!(!done.text().contains("out"), "{folder}: {done:?}");
            assert!(done.code != 0 || done.text().starts_with('/'), "{folder}: {done:?}");
        }
    }),
    ("the_runtimes_program_cannot_be_overwritten", |host| {
        // CVE-2019-5736: a container whose program is /proc/self/exe is the runtime for a moment.
        let name = unique("overwrite");
        let evil = "printf '#!/proc/self/exe\\n' > /evil; chmod 755 /evil; exec /checker overwrite-runtime 60";
        let _ = host.run(&["run", "-d", "--name", &name, CHECKER, "sh", "-c", evil]).ok();
        let logs = || host.run(&["logs", &name]).ok().text();
        assert!(wait_until(SOON, || logs().contains("ready")));
        let over = wait_until(SOON, || {
            let _ = host.run(&["exec", &name, "/evil"]);
            logs().contains("written")
        });
        assert!(over, "{}", logs());
        assert!(logs().contains("seen 3 written 0"), "{}", logs());
        let _ = host.run(&["rm", "-f", &name]).ok();
        assert_eq!(host.run(&["run", "--rm", "busybox", "echo", "whole"]).ok().text(), "whole");
    }),
    ("a_mount_behind_a_link_lands_inside_the_container", |host| {
        // CVE-2021-30465: a target that leads out while it is mounted.
        let (volume, first) = (unique("links"), unique("links"));
        let plant = "ln -s ../../../../../.. /volume/up; ln -s /proc/1/root /volume/magic";
        let mount = format!("{volume}:/volume");
        let _ = host.run(&["run", "--rm", "-v", &mount, "busybox", "sh", "-c", plant]).ok();
        let over = format!("{first}:/volume/up/planted");
        let args = ["run", "--rm", "-v", &mount, "-v", &over, "busybox", "ls", "-d", "/planted"];
        assert_eq!(host.run(&args).ok().text(), "/planted");
        let magic = format!("{first}:/volume/magic/planted");
        let done = host.run(&["run", "--rm", "-v", &mount, "-v", &magic, "busybox", "true"]);
        assert_ne!(done.code, 0, "a magic link is not followed: {done:?}");
        let look = ["machine", "shell", "--", "ls", "-d", "/planted"];
        assert_ne!(host.run(&look).code, 0, "it appeared in the machine");
        let _ = host.run(&["volume", "rm", &volume, &first]).ok();
    }),
    ("a_read_only_mount_stays_so", |host| {
        let volume = unique("ro");
        let mount = format!("{volume}:/volume:ro");
        let script = "echo x > /volume/file || mount -o remount,rw /volume || echo kept";
        let args = ["run", "--rm", "-v", &mount, "--cap-add", "SYS_ADMIN", "busybox", "sh", "-c"];
        // With CAP_SYS_ADMIN it may remount: that is what the capability is. Without, nothing.
        let plain = ["run", "--rm", "-v", &mount, "busybox", "sh", "-c", script];
        assert_eq!(host.run(&plain).ok().text(), "kept");
        assert_eq!(
            host.run(&[&args[..], &["echo x > /volume/file || echo kept"]].concat()).text(),
            "kept"
        );
        let _ = host.run(&["volume", "rm", &volume]).ok();
    }),
    ("nothing_of_the_machine_or_of_another_container_is_seen", |host| {
        let other = host.run(&["run", "-d", "busybox", "sleep", "4242"]).ok().text();
        let script = "cat /proc/net/unix | wc -l; cat /proc/[0-9]*/cmdline | grep -c 4242; \
                      ls /sys/firmware | wc -l; ls /data /sbin/linkspan-init 2>/dev/null | wc -l";
        let seen = host.run(&["run", "--rm", "busybox", "sh", "-c", script]).ok().text();
        // Of sockets only the heading; the shell that asks has the number in its own line.
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["1", "1", "0", "0"], "{seen}");
        let _ = host.run(&["rm", "-f", &other]).ok();
    }),
    ("networks_do_not_reach_each_other", |host| {
        let (one, two) = (unique("net"), unique("net"));
        for network in [&one, &two] {
            let _ = host.run(&["network", "create", network]).ok();
        }
        let target = host.run(&["run", "-d", "--network", &one, "busybox", "sleep", "300"]);
        let target = target.ok().text();
        let address = host.run(&["exec", &target, "hostname", "-i"]).ok().text();
        let ping = |network: &str| {
            let args = ["run", "--rm", "--network", network, "busybox"];
            host.run(&[&args[..], &["ping", "-c", "1", "-W", "2", &address]].concat()).code
        };
        assert_eq!(ping(&one), 0, "the control works");
        assert_ne!(ping(&two), 0, "{address} is reached from another network");
        let _ = host.run(&["rm", "-f", &target]).ok();
        let _ = host.run(&["network", "rm", &one, &two]).ok();
    }),
];
