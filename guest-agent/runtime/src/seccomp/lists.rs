//! Which system calls the default filter lets through: Docker's list (moby,
//! `profiles/seccomp/default_linux.go`), by why they are there.
//!
//! Names are `libc`'s, checked by the compiler; an architecture that lacks a call lacks the line.

#![allow(clippy::unreadable_literal, reason = "numbers as the kernel's tables print them")]

#[cfg(target_arch = "x86_64")]
use std::collections::BTreeMap;

use linkspan_sys::nix::libc;

use super::compile::{Argument, Rule};
use crate::capabilities::Capability;

macro_rules! calls {
    ($($name:ident)*) => {
        &[$(libc::$name as u32),*]
    };
}

/// Allowed whatever the arguments: what ordinary programs live on. Left out on purpose, as in
/// Docker's list: key management (keyrings are not namespaced), io_uring (Docker, since 25.0),
/// userfaultfd, swap, kexec, NFS, obsolete calls; and what has a group of its own below.
pub(super) const ALWAYS: &[u32] = calls!(
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir
    SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close
    SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1
    SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit
    SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fanotify_mark
    SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync
    SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_getcpu SYS_getcwd SYS_getdents64
    SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid
    SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid
    SYS_get_robust_list SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid
    SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1
    SYS_inotify_rm_watch SYS_io_cancel SYS_ioctl SYS_io_destroy SYS_io_getevents SYS_ioprio_get
    SYS_ioprio_set SYS_io_setup SYS_io_submit SYS_kill SYS_landlock_add_rule
    SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen
    SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise
    SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock
    SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify SYS_mq_open
    SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_mseal SYS_msgctl SYS_msgget
    SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap SYS_name_to_handle_at
    SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open SYS_pidfd_send_signal
    SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64
    SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_pselect6 SYS_pwrite64
    SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom
    SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat2
    SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask
    SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
    SYS_sched_get_priority_max SYS_sched_get_priority_min SYS_sched_getscheduler
    SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam
    SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget SYS_semop
    SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid SYS_setfsuid
    SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid
    SYS_setresuid SYS_setreuid SYS_set_robust_list SYS_setsid SYS_setsockopt SYS_set_tid_address
    SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown
    SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat
    SYS_sync SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete
    SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create
    SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname
    SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
    // Allowed because every supported kernel is newer than 4.8, where ptrace(2) stopped being a
    // way around seccomp. Access still needs the target's capabilities.
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev
);

/// Newer than `libc`'s tables. From 424 on numbers are the same on every architecture.
pub(super) const ALWAYS_RECENT: &[u32] = &[
    451, // cachestat
    452, // fchmodat2
    453, // map_shadow_stack
    454, // futex_wake
    455, // futex_wait
    456, // futex_requeue
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
];

/// The highest number that this profile has an opinion on. Beyond it the answer is ENOSYS: what a
/// kernel of this profile's age would say, so that a newer libc falls back to the older call.
pub(super) const NEWEST: u32 = 466;

/// Calls that only older architectures have, among them those that libc still prefers there.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: &[u32] = calls!(
    SYS_access SYS_alarm SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_ctl_old
    SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp
    SYS_getrlimit SYS_get_thread_area SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir
    SYS_mknod SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir
    SYS_select SYS_setrlimit SYS_set_thread_area SYS_signalfd SYS_stat SYS_symlink
    SYS_sync_file_range SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
    // What the x86 runtime linker and Wine-like programs need of the processor.
    SYS_arch_prctl SYS_modify_ldt
);

/// Of the generic table, as arm64 has it.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: &[u32] = &[
    38,  // renameat
    84,  // sync_file_range
    163, // getrlimit
    164, // setrlimit
    292, // io_pgetevents
];

/// io_pgetevents and uretprobe, which `libc` does not name.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE_RECENT: &[u32] = &[333, 335];
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE_RECENT: &[u32] = &[];

/// Calls that come with a capability.
pub(super) const WITH_CAPABILITY: &[(Capability, &[u32])] = &[
    (Capability::DAC_READ_SEARCH, calls!(SYS_open_by_handle_at)),
    (
        // Everything about mounts and namespaces, and what else the kernel files under it.
        Capability::SYS_ADMIN,
        calls!(
            SYS_bpf SYS_clone SYS_clone3 SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen
            SYS_fspick SYS_lookup_dcookie SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree
            SYS_perf_event_open SYS_quotactl SYS_quotactl_fd SYS_setdomainname SYS_sethostname
            SYS_setns SYS_syslog SYS_umount2 SYS_unshare
        ),
    ),
    (Capability::SYS_ADMIN, &[457, 458]), // statmount, listmount
    (Capability::SYS_BOOT, calls!(SYS_reboot)),
    (Capability::SYS_CHROOT, calls!(SYS_chroot)),
    (Capability::SYS_MODULE, calls!(SYS_delete_module SYS_init_module SYS_finit_module)),
    (Capability::SYS_PACCT, calls!(SYS_acct)),
    (Capability::SYS_PTRACE, calls!(SYS_kcmp SYS_pidfd_getfd SYS_process_madvise)),
    #[cfg(target_arch = "x86_64")]
    (Capability::SYS_RAWIO, calls!(SYS_iopl SYS_ioperm)),
    (Capability::SYS_TIME, calls!(SYS_settimeofday SYS_clock_settime)),
    (Capability::SYS_TTY_CONFIG, calls!(SYS_vhangup)),
    (
        Capability::SYS_NICE,
        calls!(SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node),
    ),
    (Capability::SYSLOG, calls!(SYS_syslog)),
    (Capability::BPF, calls!(SYS_bpf)),
    (Capability::PERFMON, calls!(SYS_perf_event_open)),
];

/// `CLONE_NEW*` of all namespaces (NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET):
/// without CAP_SYS_ADMIN no new namespace, not even a user namespace, in which one would have it.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// AF_VSOCK. Refused: vsock is not namespaced, so a container could talk to the host side and to
/// the agent of its own VM as if it were the VM.
const AF_VSOCK: u32 = 40;

/// Allowed for some arguments. The kernel reads these arguments as 32 bits, or the bits in
/// question are in the lower half, so comparing that half is enough.
pub(super) const CONDITIONAL: &[(u32, Rule)] = &[
    (
        // PER_LINUX and PER_LINUX32, each also without address randomisation, and the question.
        libc::SYS_personality as u32,
        Rule::AnyOf(Argument(0), &[0x0, 0x8, 0x20000, 0x20008, 0xffff_ffff]),
    ),
    (libc::SYS_socket as u32, Rule::NotEqual(Argument(0), AF_VSOCK)),
    (libc::SYS_clone as u32, Rule::NoneOf(Argument(0), NEW_NAMESPACES)),
    // Its flags lie in memory, where a filter cannot look. ENOSYS makes libc use clone.
    (libc::SYS_clone3 as u32, Rule::Errno(libc::ENOSYS as u16)),
];

/// Calls that only 32-bit programs have: the same as their 64-bit sisters, with other widths.
/// Left out: `socketcall`, whose arguments lie in memory, so that AF_VSOCK could not be refused.
#[cfg(target_arch = "x86_64")]
const I386_ONLY: &[&str] = &[
    "_llseek",
    "_newselect",
    "chown32",
    "clock_adjtime64",
    "clock_getres_time64",
    "clock_gettime64",
    "clock_nanosleep_time64",
    "fadvise64_64",
    "fchown32",
    "fcntl64",
    "fstat64",
    "fstatat64",
    "fstatfs64",
    "ftruncate64",
    "futex_time64",
    "getegid32",
    "geteuid32",
    "getgid32",
    "getgroups32",
    "getresgid32",
    "getresuid32",
    "getuid32",
    "io_pgetevents_time64",
    "ipc",
    "lchown32",
    "lstat64",
    "mmap2",
    "mq_timedreceive_time64",
    "mq_timedsend_time64",
    "nice",
    "ppoll_time64",
    "pselect6_time64",
    "recvmmsg_time64",
    "rt_sigtimedwait_time64",
    "sched_rr_get_interval_time64",
    "semtimedop_time64",
    "sendfile64",
    "setfsgid32",
    "setfsuid32",
    "setgid32",
    "setgroups32",
    "setregid32",
    "setresgid32",
    "setresuid32",
    "setreuid32",
    "setuid32",
    "sgetmask",
    "sigaction",
    "signal",
    "sigpending",
    "sigprocmask",
    "sigreturn",
    "sigsuspend",
    "ssetmask",
    "stat64",
    "statfs64",
    "timer_gettime64",
    "timer_settime64",
    "timerfd_gettime64",
    "timerfd_settime64",
    "truncate64",
    "ugetrlimit",
    "utimensat_time64",
    "waitpid",
];

/// The same rules for 32-bit programs: by the calls' names, for the numbers are others.
#[cfg(target_arch = "x86_64")]
pub(super) fn i386(native: &BTreeMap<u32, Rule>) -> BTreeMap<u32, Rule> {
    let number = |name: &str| {
        name.parse::<syscalls::x86::Sysno>().ok().map(|call| call.id().cast_unsigned())
    };
    let sisters = native.iter().filter_map(|(native, rule)| {
        let name = syscalls::Sysno::new(*native as usize)?.name();
        Some((number(name)?, *rule))
    });
    let mut rules: BTreeMap<u32, Rule> = sisters.collect();
    rules.extend(I386_ONLY.iter().filter_map(|name| Some((number(name)?, Rule::Allow))));
    // With the call that is their 64-bit sister's.
    for (name, sister) in [
        ("umount", libc::SYS_umount2),
        ("stime", libc::SYS_settimeofday),
        ("clock_settime64", libc::SYS_clock_settime),
    ] {
        if let (Some(number), Some(rule)) = (number(name), native.get(&(sister as u32))) {
            rules.insert(number, *rule);
        }
    }
    // As if the kernel did not have it: libc then uses socket(2) and its like.
    rules.extend(number("socketcall").map(|number| (number, Rule::Errno(libc::ENOSYS as u16))));
    rules
}
