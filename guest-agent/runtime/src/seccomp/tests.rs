use linkspan_sys::nix::libc;

use super::compile::{NATIVE, run};
use super::*;
use crate::capabilities::{ALL, Capability, DEFAULT};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

fn answer(bounding: u64, call: libc::c_long, first_argument: u64) -> u32 {
    let filter = default_filter(bounding);
    run(&filter, NATIVE, call as u32, [first_argument, 0, 0, 0, 0, 0])
}

#[test]
fn ordinary_calls_pass_and_dangerous_ones_do_not() {
    for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_execve, libc::SYS_ptrace] {
        assert_eq!(answer(DEFAULT, call, 0), ALLOW, "{call}");
    }
    for call in [
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_io_uring_setup,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_userfaultfd,
        libc::SYS_reboot,
    ] {
        assert_eq!(answer(DEFAULT, call, 0), EPERM, "{call}");
    }
}

#[test]
fn new_namespaces_need_sys_admin() {
    let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
    assert_eq!(answer(DEFAULT, libc::SYS_clone, thread), ALLOW);
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        let flags = thread | flag as u64;
        assert_eq!(answer(DEFAULT, libc::SYS_clone, flags), EPERM, "{flag:#x}");
        let admin = DEFAULT | bit(Capability::SYS_ADMIN);
        assert_eq!(answer(admin, libc::SYS_clone, flags), ALLOW, "{flag:#x}");
    }
}

#[test]
fn clone3_does_not_exist_so_that_libc_falls_back() {
    assert_eq!(answer(DEFAULT, libc::SYS_clone3, 0), ENOSYS);
    assert_eq!(answer(ALL, libc::SYS_clone3, 0), ALLOW);
}

#[test]
fn vsock_is_refused_even_to_the_privileged_profile() {
    for bounding in [0, DEFAULT, ALL] {
        assert_eq!(answer(bounding, libc::SYS_socket, libc::AF_VSOCK as u64), EPERM);
        assert_eq!(answer(bounding, libc::SYS_socket, libc::AF_INET as u64), ALLOW);
        // The kernel looks at 32 bits: bits above must not make AF_VSOCK look like another.
        let disguised = (1 << 32) | libc::AF_VSOCK as u64;
        assert_eq!(answer(bounding, libc::SYS_socket, disguised), EPERM);
    }
}

#[test]
fn personality_takes_dockers_five_values() {
    for value in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
        assert_eq!(answer(DEFAULT, libc::SYS_personality, value), ALLOW, "{value:#x}");
    }
    for value in [1, 0x40000, 0x400000] {
        assert_eq!(answer(DEFAULT, libc::SYS_personality, value), EPERM, "{value:#x}");
    }
}

#[test]
fn capabilities_bring_their_calls() {
    for (capability, call) in [
        (Capability::SYS_TIME, libc::SYS_clock_settime),
        (Capability::SYS_CHROOT, libc::SYS_chroot),
        (Capability::SYS_MODULE, libc::SYS_finit_module),
        (Capability::SYSLOG, libc::SYS_syslog),
        (Capability::SYS_BOOT, libc::SYS_reboot),
        (Capability::SYS_ADMIN, libc::SYS_mount),
        (Capability::BPF, libc::SYS_bpf),
    ] {
        assert_eq!(answer(bit(capability), call, 0), ALLOW, "{capability}");
        assert_eq!(answer(0, call, 0), EPERM, "{capability}");
    }
}

#[test]
fn calls_of_the_future_and_of_other_architectures_do_not_exist() {
    assert_eq!(answer(DEFAULT, 467, 0), ENOSYS);
    assert_eq!(answer(DEFAULT, 5000, 0), ENOSYS);
    let filter = default_filter(DEFAULT);
    let arm = 0x4000_0028;
    assert_eq!(run(&filter, arm, libc::SYS_read as u32, [0; 6]), ENOSYS);
    // x32 is x86-64 with a bit in the number.
    assert_eq!(run(&filter, NATIVE, 0x4000_0000, [0; 6]), ENOSYS);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_program_is_let_through_as_a_64_bit_one_is() {
    use super::compile::I386;
    use syscalls::x86::Sysno;

    let answer = |bounding, call: Sysno, argument| {
        run(&default_filter(bounding), I386, call as u32, [argument, 0, 0, 0, 0, 0])
    };
    for call in [Sysno::read, Sysno::mmap2, Sysno::fstatat64, Sysno::clock_gettime64, Sysno::ipc] {
        assert_eq!(answer(DEFAULT, call, 0), ALLOW, "{call}");
    }
    for call in [Sysno::mount, Sysno::umount, Sysno::keyctl, Sysno::bpf, Sysno::stime] {
        assert_eq!(answer(DEFAULT, call, 0), EPERM, "{call}");
        let all = if call == Sysno::keyctl { EPERM } else { ALLOW };
        assert_eq!(answer(ALL, call, 0), all, "{call}");
    }
    let vsock = libc::AF_VSOCK as u64;
    assert_eq!(answer(ALL, Sysno::socket, vsock), EPERM);
    assert_eq!(answer(ALL, Sysno::socket, libc::AF_INET as u64), ALLOW);
    // Its arguments cannot be seen.
    assert_eq!(answer(ALL, Sysno::socketcall, 1), ENOSYS);
    assert_eq!(answer(DEFAULT, Sysno::clone, libc::CLONE_NEWUSER as u64), EPERM);
    assert_eq!(answer(DEFAULT, Sysno::clone3, 0), ENOSYS);
}

/// The search tree against an independent compiler that makes a plain chain.
#[test]
fn every_number_answers_as_a_plain_chain_of_comparisons_does() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    let architecture =
        if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    for bounding in [0, DEFAULT, ALL] {
        let unconditional = rules(bounding)
            .into_iter()
            .filter(|(_, rule)| *rule == Rule::Allow)
            .map(|(number, _)| (i64::from(number), Vec::new()))
            .collect();
        let chain: BpfProgram = SeccompFilter::new(
            unconditional,
            SeccompAction::Errno(libc::EPERM as u32),
            SeccompAction::Allow,
            architecture,
        )
        .and_then(TryInto::try_into)
        .unwrap();
        let chain: Vec<u64> =
            chain.iter().map(|i| linkspan_sys::seccomp::pack(i.code, i.jt, i.jf, i.k)).collect();
        let tree = default_filter(bounding);
        for number in 0..=lists::NEWEST {
            if lists::CONDITIONAL.iter().any(|(conditional, _)| *conditional == number) {
                continue;
            }
            let expected = run(&chain, NATIVE, number, [0; 6]);
            assert_eq!(run(&tree, NATIVE, number, [0; 6]), expected, "number {number}");
        }
    }
}

#[test]
fn filters_are_compiled_once_and_short() {
    let first = default_filter(DEFAULT);
    // A capability without calls of its own makes no difference.
    let second = default_filter(DEFAULT & !bit(Capability::CHOWN));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(first.len() < 1000, "{}", first.len());
}
