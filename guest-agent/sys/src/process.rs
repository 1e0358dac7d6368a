//! Processes: pidfds, waiting for them, joining their namespaces, user and group ids, signals.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sched::CloneFlags;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Pid, Uid};

use crate::{Errno, Result, check, check_int};

/// A descriptor of a process that exists now (pidfd_open(2)). `ESRCH`: it does not.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: integers in, a new descriptor out.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Signals exactly the process behind the pidfd, never one that got its number later. `ESRCH`: it
/// has ended. Takes a number because real-time signals have no name in [`Signal`].
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed: the kernel fills in what kill(2) would.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) }).map(drop)
}

/// Waits until the child behind the pidfd has ended, and reaps it. What a shell would say of its
/// end: the exit code, or 128 + the signal.
/// `ECHILD`: not our child, or somebody else has reaped it.
pub fn wait_pidfd(pidfd: impl AsFd) -> Result<i32> {
    let pidfd = pidfd.as_fd().as_raw_fd().cast_unsigned();
    loop {
        // SAFETY: integers and null pointers, which a siginfo_t of zeroes consists of, are valid.
        let mut info = unsafe { std::mem::zeroed::<libc::siginfo_t>() };
        // SAFETY: the kernel writes one siginfo_t, which lives on this frame.
        let ended = unsafe { libc::waitid(libc::P_PIDFD, pidfd, &raw mut info, libc::WEXITED) };
        match check_int(ended) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => {
                // SAFETY: waitid(2) fills in the status.
                let status = unsafe { info.si_status() };
                let by_itself = info.si_code == libc::CLD_EXITED;
                return Ok(if by_itself { status } else { 128 + status });
            }
        }
    }
}

/// Waits for any child, and reaps it; its end as [`wait_pidfd`] says it. For the one reaper of the
/// agent. `ECHILD`: there is none.
pub fn wait_any() -> Result<(Pid, i32)> {
    loop {
        match reap(0) {
            Err(Errno::EINTR) | Ok(None) => {}
            Ok(Some(ended)) => return Ok(ended),
            Err(errno) => return Err(errno),
        }
    }
}

/// Reaps any child that has ended already. `ECHILD`: there is none at all.
pub fn reap_any() -> Result<Option<(Pid, i32)>> {
    reap(libc::WNOHANG)
}

/// Not nix's: it has no name for a real-time signal, and loses the child that one has ended.
fn reap(flags: libc::c_int) -> Result<Option<(Pid, i32)>> {
    let mut status = 0;
    // SAFETY: the kernel writes one int, which lives on this frame.
    let pid = check_int(unsafe { libc::waitpid(-1, &raw mut status, flags) })?;
    let by_itself = libc::WIFEXITED(status);
    let code = if by_itself { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    Ok((pid != 0).then(|| (Pid::from_raw(pid), code)))
}

/// Forks the calling process: None in the child, the child's number in the parent.
///
/// # Panics
/// When the process has more than one thread: the child would inherit locks held by threads that
/// it does not have.
pub fn fork() -> Result<Option<Pid>> {
    assert_eq!(crate::spawn::thread_count(), Some(1), "only a single-threaded process may fork");
    // SAFETY: there is no other thread whose locks the child could miss.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(None),
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child)),
    }
}

/// Lets a process of its own do `enter`, and `look` look at it; it ends after that.
///
/// # Errors
/// Those of `enter`, or those of `look`; `ECHILD` when the process was killed.
///
/// # Panics
/// As [`fork`].
pub fn beside<T, E: From<Errno>>(
    enter: impl FnOnce() -> Result<()>,
    look: impl FnOnce(Pid) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let broken = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let (mut ours, mut theirs) = UnixStream::pair().map_err(broken)?;
    let Some(child) = fork()? else {
        drop(ours);
        let errno = enter().err().map_or(0, |errno| errno as i32);
        if theirs.write_all(&errno.to_le_bytes()).is_ok() {
            // Until the other end is closed.
            let _ = theirs.read(&mut [0]);
        }
        std::process::exit(0);
    };
    drop(theirs);
    let mut errno = [0; 4];
    let result = match ours.read_exact(&mut errno).map(|()| i32::from_le_bytes(errno)) {
        Ok(0) => look(child),
        Ok(errno) => Err(Errno::from_raw(errno).into()),
        Err(_) => Err(Errno::ECHILD.into()),
    };
    drop(ours);
    waitpid(child, None)?;
    result
}

/// Blocks every signal that can be blocked; returns what was blocked before.
pub fn block_signals() -> Result<SigSet> {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)
}

/// Takes [`block_signals`] back.
pub fn restore_signals(before: &SigSet) -> Result<()> {
    before.thread_set_mask()
}

/// Waits for any signal that is blocked, and takes it. By number: real-time signals have no name
/// in [`Signal`].
pub fn wait_signal() -> Result<i32> {
    // SAFETY: the set is initialised by sigfillset before it is read; a null siginfo is allowed.
    check_int(unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::sigwaitinfo(&raw const set, std::ptr::null_mut())
    })
}

/// Sends a process a signal by number.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
}

/// Closes every descriptor from `first` on, whoever owns it: only for a process that will use
/// none of them any more, nor drop their owners.
pub fn close_from(first: u32) {
    // SAFETY: integers only. It cannot fail with these flags (close_range(2)); by contract no
    // owner of a closed descriptor is used or dropped.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Joins the namespaces in `which` of the process behind the pidfd, all of them or none
/// (setns(2), Linux 5.8). The pid namespace takes effect for children only.
pub fn setns(pidfd: impl AsFd, which: CloneFlags) -> Result<()> {
    nix::sched::setns(pidfd, which)
}

/// A time namespace (time_namespaces(7)), which nix does not name. unshare(2) makes one for the
/// caller's children.
pub const CLONE_NEWTIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

/// Marks every descriptor from `first` on as closed by execve(2) (close_range(2), Linux 5.11).
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    let (first, last) = (first.cast_unsigned(), u32::MAX);
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: only sets a flag on descriptors; whoever owns them keeps them.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Another descriptor of the same open file, closed on exec, at `lowest` or above.
pub fn duplicate_above(fd: impl AsFd, lowest: RawFd) -> Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: fcntl has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Puts what the descriptors `from` stand for at the numbers from `first` on, open over execve(2).
/// What was open there is gone, whoever owned it: only for a process that is about to execute.
/// None of `from` may be among the new numbers.
pub fn place_descriptors(from: &[RawFd], first: RawFd) -> Result<()> {
    for (source, target) in from.iter().zip(first..) {
        // SAFETY: integers only; by contract nobody uses the replaced descriptor any more.
        check_int(unsafe { libc::dup2(*source, target) })?;
    }
    Ok(())
}

/// The supplementary groups of the process.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the length describe one live slice of gid_t (u32).
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Real, effective and saved group id. One thread only: meant for a single-threaded program.
pub fn set_gid(gid: u32) -> Result<()> {
    nix::unistd::setresgid(Gid::from_raw(gid), Gid::from_raw(gid), Gid::from_raw(gid))
}

/// Real, effective and saved user id. One thread only: meant for a single-threaded program.
pub fn set_uid(uid: u32) -> Result<()> {
    nix::unistd::setresuid(Uid::from_raw(uid), Uid::from_raw(uid), Uid::from_raw(uid))
}

/// Does something on a thread of its own whose new files belong to `uid` and `gid` (setfsuid(2)),
/// and that keeps every capability of the caller.
///
/// # Panics
/// When `work` does.
pub fn as_file_owner<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> T + Send) -> Result<T> {
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
    let as_them = || {
        let whole = crate::caps::get()?;
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        // Leaving user 0 has taken those that concern files.
        crate::caps::set(whole)?;
        Ok(work())
    };
    std::thread::scope(|scope| match scope.spawn(as_them).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// setdomainname(2).
pub fn set_domain_name(name: &str) -> Result<()> {
    // SAFETY: the pointer and the length describe the bytes of one live string.
    check_int(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Back to what a program expects at its start: an ignored signal stays ignored over execve(2), as
/// SIGPIPE, which the Rust runtime ignores, and whatever the caller's caller had ignored. A shell
/// cannot even trap such a signal.
pub fn default_signals() -> Result<()> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    Signal::iterator()
        .filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP))
        .try_for_each(|signal| {
            // SAFETY: the default disposition runs no code of ours.
            unsafe { sigaction(signal, &action) }.map(drop)
        })
}

/// setrlimit(2) by the kernel's number of the limit (RLIMIT_*). `u64::MAX`: unlimited.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none = std::ptr::null_mut::<libc::rlimit64>();
    // SAFETY: the kernel reads one rlimit64 that lives on this frame, and writes nothing.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, none) })
        .map(drop)
}

/// Raises the hard limit to `hard` if it is lower; the soft one stays. Needs CAP_SYS_RESOURCE in
/// the first user namespace.
pub fn raise_hard_limit(resource: u32, hard: u64) -> Result<()> {
    let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit, which lives on this frame.
    check_int(unsafe { libc::getrlimit(resource, &raw mut present) })?;
    if present.rlim_max >= hard {
        return Ok(());
    }
    set_rlimit(resource, present.rlim_cur, hard)
}

/// A read-only copy of `content` in memory that can be executed and that nobody can change: not
/// even root of a container that gets hold of it through /proc/PID/exe.
pub fn sealed_program(name: &std::ffi::CStr, content: &[u8]) -> std::io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use std::io::Write as _;

    // MFD_EXEC is asked for where the kernel knows it (6.3): vm.memfd_noexec may forbid the default.
    const MFD_EXEC: libc::c_uint = 0x10;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(name, flags | MFdFlags::from_bits_retain(MFD_EXEC))
        .or_else(|_| memfd_create(name, flags))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Takes a descriptor that the parent has put at an agreed number. None: it is not open, or has
/// been taken already.
#[must_use]
pub fn take_inherited(number: RawFd) -> Option<OwnedFd> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static TAKEN: AtomicU64 = AtomicU64::new(0);

    // The standard streams are std's own; numbers beyond 63 have no bit.
    let bit = (3..64).contains(&number).then(|| 1_u64 << number)?;
    if TAKEN.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return None;
    }
    // SAFETY: F_GETFD takes no further argument and changes nothing.
    check_int(unsafe { libc::fcntl(number, libc::F_GETFD) }).ok()?;
    // SAFETY: it is open, and only one caller ever gets here for this number. That no other code
    // of the process has opened it is the protocol: the parent did, before this program began.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// execve(2). Returns only when it fails. Kept here, and not taken from `nix`, because the arrays
/// are prepared once and tried for every folder of PATH.
pub fn exec(path: &std::ffi::CStr, arguments: &CStrArray, environment: &CStrArray) -> Errno {
    // SAFETY: the path is a C string, both arrays are null-terminated arrays of C strings that
    // live until the call returns; it returns only on failure, and then has changed nothing.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Errno::last()
}

/// C strings with the null-terminated array of pointers that execve(2) wants.
#[derive(Debug)]
pub struct CStrArray {
    /// Owns what `pointers` points to; never touched after construction.
    _strings: Vec<std::ffi::CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStrArray {
    /// Keeps the strings and points at them.
    #[must_use]
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|string| string.as_ptr())
            .chain(std::iter::once(std::ptr::null()))
            .collect();
        // Moving the vector moves the CStrings, not their heap blocks: the pointers stay good.
        Self { _strings: strings, pointers }
    }

    /// The array; lives as long as `self`.
    #[must_use]
    pub fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}
