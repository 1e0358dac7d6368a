//! One new process running one program: clone3(2) and execve(2).
//!
//! `std::process::Command` and posix_spawn(3) know neither namespaces nor `CLONE_INTO_CGROUP`.
//! [`spawn_exec`] does, and costs less than a fork: the child borrows the parent's memory until it
//! has executed the program (`CLONE_VM | CLONE_VFORK`), so no page table of a large agent is
//! copied and no page is written twice. What the child does is therefore bounded tightly: it runs
//! [`child_main`], on a stack of its own, with parts that were prepared before, makes system calls
//! and nothing else.
//!
//! [`fork_into`] is the other way, for `linkspan-init` only: an ordinary fork of a program that is
//! known to have a single thread.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::Pid;

use crate::process::CStrArray;
use crate::{Errno, Result, check};

pub use nix::sched::CloneFlags;

/// clone_args of linux/sched.h; `libc` has it for some of our targets only.
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The numbers below this belong to `SpawnRequest::fds`' targets; sources are moved out of the way.
const FIRST_FREE_FD: RawFd = 16;

/// What to execute.
#[derive(Debug, Clone, Copy)]
pub enum Program<'a> {
    /// A path, resolved in the parent's root.
    Path(&'a CStr),
    /// An open file, such as [`sealed_program`](crate::process::sealed_program)'s.
    File(BorrowedFd<'a>),
}

/// A process to be.
#[derive(Debug)]
pub struct SpawnRequest<'a> {
    /// What to execute.
    pub program: Program<'a>,
    /// The arguments, the first being the name by convention.
    pub arguments: Vec<CString>,
    /// KEY=VALUE.
    pub environment: Vec<CString>,
    /// Which descriptors the child has, at which number (below 16). Whatever else is open here
    /// and not closed on exec is inherited too: open everything with CLOEXEC.
    pub fds: Vec<(BorrowedFd<'a>, RawFd)>,
    /// CLONE_NEW* only.
    pub namespaces: CloneFlags,
    /// A folder of cgroup2, opened (O_PATH will do): the child is born in it.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A process that is.
#[derive(Debug)]
pub struct Spawned {
    /// Its number in the caller's pid namespace. Good until it is waited for.
    pub pid: Pid,
    /// The process itself.
    pub pidfd: OwnedFd,
}

/// What went wrong in [`spawn_exec`]. No process is left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpawnError {
    /// No process could be made: clone3(2), or moving descriptors before it.
    Clone(Errno),
    /// A descriptor could not be put at its number.
    Fd(Errno),
    /// The program could not be executed.
    Exec(Errno),
}

impl SpawnError {
    /// The kernel's answer.
    #[must_use]
    pub fn errno(self) -> Errno {
        match self {
            Self::Clone(errno) | Self::Fd(errno) | Self::Exec(errno) => errno,
        }
    }
}

impl std::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, errno) = match self {
            Self::Clone(errno) => ("cannot create a process", errno),
            Self::Fd(errno) => ("cannot hand a file descriptor to the new process", errno),
            Self::Exec(errno) => ("cannot execute the program of the new process", errno),
        };
        write!(f, "{what}: {}", errno.desc())
    }
}

impl std::error::Error for SpawnError {}

/// A number for `fd` that no target can overwrite.
fn out_of_the_way(
    fd: BorrowedFd<'_>,
    copies: &mut Vec<OwnedFd>,
) -> std::result::Result<RawFd, SpawnError> {
    if fd.as_raw_fd() >= FIRST_FREE_FD {
        return Ok(fd.as_raw_fd());
    }
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE_FD)).map_err(SpawnError::Clone)?;
    // SAFETY: fcntl has just made this descriptor for us and nobody else knows it.
    copies.push(unsafe { OwnedFd::from_raw_fd(copy) });
    Ok(copy)
}

/// [`Program`] with the descriptor's final number.
#[derive(Clone, Copy)]
enum ChildProgram<'a> {
    Path(&'a CStr),
    File(RawFd),
}

/// All that the child touches, made before it exists.
struct Child<'a> {
    program: ChildProgram<'a>,
    arguments: CStrArray,
    environment: CStrArray,
    fds: Vec<(RawFd, RawFd)>,
    signal_mask: libc::sigset_t,
    /// Written by the child (which shares our memory), read after it has executed or ended.
    failure: Option<SpawnError>,
}

/// Makes a process in new namespaces and a cgroup, and returns when it has executed the program.
///
/// The calling thread is suspended for that time; other threads run on. Signals are blocked in
/// the caller meanwhile, and all signals are unblocked and at their default in the child, except
/// those that the caller ignores.
pub fn spawn_exec(request: SpawnRequest<'_>) -> std::result::Result<Spawned, SpawnError> {
    // Dropped at the end: the copies have to live until the child has its own.
    let mut copies = Vec::new();
    let mut fds = Vec::with_capacity(request.fds.len());
    for &(source, target) in &request.fds {
        debug_assert!((0..FIRST_FREE_FD).contains(&target));
        fds.push((out_of_the_way(source, &mut copies)?, target));
    }
    let program = match request.program {
        Program::Path(path) => ChildProgram::Path(path),
        Program::File(file) => ChildProgram::File(out_of_the_way(file, &mut copies)?),
    };
    let mut child = Child {
        program,
        arguments: CStrArray::new(request.arguments),
        environment: CStrArray::new(request.environment),
        fds,
        signal_mask: *SigSet::empty().as_ref(),
        failure: None,
    };
    let mut stack = ChildStack::new();
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArgs {
        flags: libc::CLONE_VM as u64
            | libc::CLONE_VFORK as u64
            | CLONE_PIDFD
            | CLONE_CLEAR_SIGHAND
            | u64::from(request.namespaces.bits().cast_unsigned()),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.base() as u64,
        stack_size: ChildStack::SIZE as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = request.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // A handler of ours must not run in the child, in our memory, before CLONE_CLEAR_SIGHAND's
    // work is done; and vfork's suspension is not interrupted then.
    let mut previous = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut previous))
        .map_err(SpawnError::Clone)?;
    // SAFETY: the stack and everything `child` refers to live on this frame until the call
    // returns, which CLONE_VFORK makes happen after the child has stopped using our memory;
    // child_main upholds what is asked of it.
    let result = unsafe { arch::clone3_on_stack(&arguments, &raw mut child) };
    let restored = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&previous), None);
    debug_assert!(restored.is_ok());
    drop(copies);
    if result < 0 {
        return Err(SpawnError::Clone(Errno::from_raw((-result) as i32)));
    }
    // SAFETY: CLONE_PIDFD has made this descriptor for us and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: `child` is a live local; a volatile read, because the writer was another process.
    let failure = unsafe { std::ptr::read_volatile(&raw const child.failure) };
    if let Some(failure) = failure {
        // It has ended. ECHILD: a reaper of all children was faster.
        let _ = crate::process::wait_pidfd(&pidfd);
        return Err(failure);
    }
    Ok(Spawned { pid: Pid::from_raw(result as i32), pidfd })
}

/// The child's life until its program takes over.
///
/// Runs in the parent's memory on a small stack while the parent's thread is suspended. It must
/// not allocate, lock, panic or return; the only memory of the parent that it changes is
/// `failure` and the thread's errno.
///
/// # Safety
/// `child` is valid and used by nobody else until this process has executed or exited.
unsafe extern "C" fn child_main(child: *mut Child<'_>) -> ! {
    // SAFETY: promised by the caller.
    let child = unsafe { &mut *child };
    let errno = || Errno::from_raw(nix::errno::Errno::last_raw());
    'failed: {
        for &(source, target) in &child.fds {
            // SAFETY: integers only. dup2 clears CLOEXEC on the target.
            if unsafe { libc::dup2(source, target) } < 0 {
                child.failure = Some(SpawnError::Fd(errno()));
                break 'failed;
            }
        }
        let (arguments, environment) = (child.arguments.as_ptr(), child.environment.as_ptr());
        // SAFETY: the signal set lives in `child`; nothing is written. The C strings and arrays
        // live in `child` as well. execve returns only when it fails.
        unsafe {
            libc::sigprocmask(
                libc::SIG_SETMASK,
                &raw const child.signal_mask,
                std::ptr::null_mut(),
            );
            match child.program {
                ChildProgram::Path(path) => {
                    libc::execve(path.as_ptr(), arguments, environment);
                }
                ChildProgram::File(file) => {
                    libc::syscall(
                        libc::SYS_execveat,
                        file,
                        c"".as_ptr(),
                        arguments,
                        environment,
                        libc::AT_EMPTY_PATH,
                    );
                }
            }
        }
        child.failure = Some(SpawnError::Exec(errno()));
    }
    // SAFETY: ends this process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

/// The stack of the child: its frames are small and few.
struct ChildStack(Vec<u128>);

impl ChildStack {
    /// Bytes. Debug builds need about 2 KiB.
    const SIZE: usize = 32 * 1024;

    fn new() -> Self {
        // u128: the alignment of 16 that both ABIs ask of a stack. Not initialised to more than
        // zero pages: the allocator hands untouched memory out for vec![0].
        Self(vec![0; Self::SIZE / size_of::<u128>()])
    }

    fn base(&mut self) -> *mut u128 {
        self.0.as_mut_ptr()
    }
}

/// clone3 with a stack cannot be called through libc::syscall: the child would return from that
/// function on a stack that has no frame of it. So the few instructions around the system call
/// are ours: the child calls `child_main` and never comes back.
#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{Child, CloneArgs, child_main};

    /// Returns the child's pid, or minus an errno.
    ///
    /// # Safety
    /// The arguments must describe CLONE_VM | CLONE_VFORK with a live, exclusive stack; `child`
    /// must meet the demands of `child_main`.
    pub(super) unsafe fn clone3_on_stack(args: &CloneArgs, child: *mut Child<'_>) -> i64 {
        let result: i64;
        // SAFETY: per the x86-64 ABI of Linux, syscall changes rax, rcx and r11 only, all
        // declared. The child branch never leaves the block. It runs on its own stack, whose top
        // is 16-byte aligned, so the call sees the alignment it expects.
        unsafe {
            core::arch::asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "mov rdi, r12",
                "call r13",
                "ud2",
                "2:",
                inlateout("rax") libc::SYS_clone3 => result,
                in("rdi") std::ptr::from_ref(args),
                in("rsi") size_of::<CloneArgs>(),
                in("r12") child,
                in("r13") child_main as unsafe extern "C" fn(*mut Child<'_>) -> !,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
        result
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{Child, CloneArgs, child_main};

    /// Returns the child's pid, or minus an errno.
    ///
    /// # Safety
    /// The arguments must describe CLONE_VM | CLONE_VFORK with a live, exclusive stack; `child`
    /// must meet the demands of `child_main`.
    pub(super) unsafe fn clone3_on_stack(args: &CloneArgs, child: *mut Child<'_>) -> i64 {
        let result: i64;
        // SAFETY: the arm64 system call ABI of Linux preserves everything but x0. The child
        // branch never leaves the block. It runs on its own stack, whose top is 16-byte aligned.
        unsafe {
            core::arch::asm!(
                "svc 0",
                "cbnz x0, 2f",
                "mov x29, xzr",
                "mov x30, xzr",
                "mov x0, x20",
                "blr x21",
                "brk 1",
                "2:",
                in("x8") libc::SYS_clone3,
                inlateout("x0") std::ptr::from_ref(args) => result,
                in("x1") size_of::<CloneArgs>(),
                in("x20") child,
                in("x21") child_main as unsafe extern "C" fn(*mut Child<'_>) -> !,
                lateout("x30") _,
            );
        }
        result
    }
}

/// Which side of [`fork_into`] one is on.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The old one, with the new one's number and pidfd.
    Parent(Spawned),
}

/// Forks the calling process; with `cgroup`, the child is born there. The child is a child of the
/// caller's *parent* (`CLONE_PARENT`): whoever waits for the caller waits for it too.
///
/// # Panics
/// When the process has more than one thread: the child would inherit locks held by threads that
/// it does not have.
pub fn fork_as_sibling(cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    assert_eq!(thread_count(), Some(1), "only a single-threaded process may fork");
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArgs {
        // CLONE_PARENT takes the exit signal from the caller; clone3 refuses another one.
        flags: libc::CLONE_PARENT as u64 | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_fd().as_raw_fd().cast_unsigned());
    }
    // SAFETY: the kernel reads one clone_args of the given size and writes the pidfd of this
    // frame. Without CLONE_VM and a stack this is a fork: the child returns here in a copy of
    // the memory, and there was no other thread whose locks it could miss.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>())
    })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: CLONE_PIDFD has made this descriptor for us and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent(Spawned { pid: Pid::from_raw(pid as i32), pidfd }))
}

/// The number of threads: the link count of /proc/self/task minus `.` and `..`.
pub(crate) fn thread_count() -> Option<u64> {
    let stat = nix::sys::stat::stat("/proc/self/task").ok()?;
    Some(u64::from(stat.st_nlink as u32).saturating_sub(2))
}
