//! What a container's process cannot see or do.

use linkspan_runtime::{capabilities, seccomp};

use crate::bench::bench;

#[test]
fn the_first_process_has_namespaces_of_its_own() {
    let Some(bench) = bench() else { return };
    let script = "echo $$; hostname; cat /proc/sys/kernel/domainname; cat /proc/self/cgroup | tail -n 1; \
        ip link show lo | grep -c LOOPBACK,UP; ip link | grep -c eth; ps > /tmp/ps; wc -l < /tmp/ps";
    // The heading, the shell and ps.
    assert_eq!(bench.run(&bench.plan(script)).stdout, "1\nbox\nexample\n0::/\n1\n0\n3\n");
}

#[test]
fn what_is_not_new_is_shared() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("readlink /proc/self/ns/net; readlink /proc/self/ns/uts; hostname");
    plan.namespaces.network = false;
    plan.namespaces.uts = false;
    plan.sysctls.clear();
    let ours = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let host = nix::unistd::gethostname().unwrap();
    let expected =
        format!("{}\n{}\n{}\n", ours("net").display(), ours("uts").display(), host.display());
    assert_eq!(bench.run(&plan).stdout, expected);
}

#[test]
fn kernel_interfaces_are_masked_or_read_only() {
    let Some(bench) = bench() else { return };
    let script = "cat /proc/keys /proc/timer_list /proc/interrupts /proc/kcore 2>/dev/null | wc -c; \
        ls /sys/firmware 2>/dev/null | wc -l; \
        echo 1 > /proc/sys/vm/drop_caches || echo refused; \
        touch /sys/fs/cgroup/x || echo refused; echo x > /sys/kernel/profiling || echo refused";
    assert_eq!(bench.run(&bench.plan(script)).stdout, "0\n0\nrefused\nrefused\nrefused\n");
}

#[test]
fn sysctls_of_the_plan_are_set_and_read_only_afterwards() {
    let Some(bench) = bench() else { return };
    let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let plan = bench.plan(&format!("cat {path}; echo 5 > {path} || echo refused"));
    assert_eq!(bench.run(&plan).stdout, "0\nrefused\n");
    let mut plan = bench.plan("true");
    plan.sysctls = vec![("no.such.thing".into(), "1".into())];
    assert_eq!(
        bench.try_run(&plan).unwrap_err().to_string(),
        "cannot set a kernel parameter: `no.such.thing` to `1`: no such file or directory"
    );
}

#[test]
fn the_device_filter_lets_nodes_be_made_and_not_used() {
    let Some(bench) = bench() else { return };
    // 1:1 is /dev/mem, the memory of the whole machine.
    let script = "mknod /tmp/mem c 1 1 && echo made; \
        head -c 1 /tmp/mem 2>&1 >/dev/null | grep -c 'not permitted'; \
        mknod /tmp/zero c 1 5 && head -c 2 /tmp/zero | wc -c";
    assert_eq!(bench.run(&bench.plan(script)).stdout, "made\n1\n2\n");
    let mut open =
        bench.plan("mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg >/dev/null && echo read");
    open.all_devices = true;
    let syslog = capabilities::bit(capabilities::Capability::SYSLOG);
    open.process.capabilities = capabilities::sets(capabilities::DEFAULT | syslog);
    assert_eq!(bench.run(&open).stdout, "read\n");
}

#[test]
fn capabilities_are_the_plans_and_nothing_more() {
    let Some(bench) = bench() else { return };
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr '\\t' ' '";
    let root = "CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\n\
        CapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n";
    assert_eq!(bench.run(&bench.plan(script)).stdout, root);
    let user = "CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\n\
        CapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: 1\nSeccomp: 2\n";
    let mut plan = bench.plan(script);
    plan.process.user.user = "app".into();
    plan.process.no_new_privileges = true;
    assert_eq!(bench.run(&plan).stdout, user);
}

#[test]
fn ambient_capabilities_survive_for_a_user_who_is_not_root() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("grep CapEff /proc/self/status; id -u");
    let net_raw = capabilities::bit(capabilities::Capability::NET_RAW);
    plan.process.user.user = "app".into();
    plan.process.capabilities.inheritable = net_raw;
    plan.process.capabilities.ambient = net_raw;
    assert_eq!(bench.run(&plan).stdout, format!("CapEff:\t{net_raw:016x}\n1000\n"));
}

#[test]
fn the_filter_refuses_namespaces_and_the_unconfined_have_none() {
    let Some(bench) = bench() else { return };
    let refused = bench.run(&bench.plan("unshare -U true || echo refused"));
    assert_eq!(refused.stdout, "refused\n");
    assert!(refused.stderr.contains("not permitted"), "{}", refused.stderr);
    let mut plan =
        bench.plan("grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted");
    plan.process.seccomp.clear();
    plan.process.capabilities = capabilities::sets(capabilities::ALL);
    // What this test itself does not have, nobody can pass on.
    let own = linkspan_sys::caps::get().unwrap().permitted;
    plan.process.capabilities = capabilities::sets(capabilities::ALL & own);
    assert_eq!(bench.run(&plan).stdout, "Seccomp:\t0\nmounted\n");
}

#[test]
fn the_filter_works_on_a_thread_as_the_interpreter_says() {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let answers = std::thread::spawn(|| {
        // Both hold for this thread only, which ends at once.
        linkspan_sys::caps::set_no_new_privileges().unwrap();
        linkspan_sys::seccomp::install(&seccomp::default_filter(capabilities::DEFAULT)).unwrap();
        let open = |family| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).err();
        (open(AddressFamily::Vsock), open(AddressFamily::Unix), open(AddressFamily::Inet))
    })
    .join()
    .unwrap();
    assert_eq!(answers, (Some(nix::errno::Errno::EPERM), None, None));
}

#[test]
fn no_descriptor_of_ours_is_left_open() {
    let Some(bench) = bench() else { return };
    // 3 is the folder that ls itself reads.
    assert_eq!(bench.run(&bench.plan("ls /proc/self/fd")).stdout, "0\n1\n2\n3\n");
}

/// A 32-bit program: write(1, "ok\n", 3), then exit with the errno of keyctl(0, 0).
#[cfg(target_arch = "x86_64")]
fn program_of_32_bits() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    let code: &[u8] = &[
        0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, // mov eax, 4 (write); mov ebx, 1
        0xb9, 0x80, 0x80, 0x04, 0x08, 0xba, 3, 0, 0, 0, // mov ecx, text; mov edx, 3
        0xcd, 0x80, // int 0x80
        0xb8, 0x20, 1, 0, 0, 0x31, 0xdb, 0x31, 0xc9, // mov eax, 288 (keyctl); ebx = ecx = 0
        0xcd, 0x80, // int 0x80
        0xf7, 0xd8, 0x89, 0xc3, // neg eax; mov ebx, eax
        0xb8, 1, 0, 0, 0, 0xcd, 0x80, // mov eax, 1 (exit); int 0x80
    ];
    let text = b"ok\n";
    let size = u32::try_from(84 + code.len() + text.len()).unwrap();
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
    let word = |elf: &mut Vec<u8>, value: u32| elf.extend(value.to_le_bytes());
    // ET_EXEC, EM_386
    half(&mut elf, 2);
    half(&mut elf, 3);
    // Version, entry, program headers, section headers, flags.
    for value in [1, BASE + 84, 52, 0, 0] {
        word(&mut elf, value);
    }
    for value in [52, 32, 1, 0, 0, 0] {
        half(&mut elf, value);
    }
    // PT_LOAD: all of the file, readable and executable.
    for value in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        word(&mut elf, value);
    }
    elf.extend(code);
    elf.extend(text);
    assert_eq!(BASE + size - 3, 0x0804_8080, "where the code says that the text is");
    elf
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_program_of_32_bits_runs_and_is_filtered() {
    use std::os::unix::fs::PermissionsExt as _;

    let Some(bench) = bench() else { return };
    let path = bench.path("base/bin/small");
    std::fs::write(&path, program_of_32_bits()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut plan = bench.plan("");
    plan.process.args = vec!["small".into()];
    plan.process.seccomp = Vec::new();
    let free = match bench.try_run(&plan) {
        Ok(outcome) => outcome,
        Err(error) => {
            println!("skipped: this kernel runs no 32-bit programs: {error}");
            return;
        }
    };
    assert_eq!(free.stdout, "ok\n");
    let mut plan = bench.plan("");
    plan.process.args = vec!["small".into()];
    let filtered = bench.run(&plan);
    assert_eq!((filtered.stdout.as_str(), filtered.code), ("ok\n", 1), "unfiltered: {free:?}");
}
