//! The system calls that can be tried on any Linux machine, most of them by anyone.

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use linkspan_sys::process::{pidfd_open, pidfd_send_signal, wait_pidfd};
use linkspan_sys::spawn::{CloneFlags, Program, SpawnError, SpawnRequest, spawn_exec};
use linkspan_sys::{Errno, bpf, caps, fdpass, mount, net, process, seccomp, spawn, tty};
use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

fn strings(list: &[&str]) -> Vec<CString> {
    list.iter().map(|text| CString::new(*text).unwrap()).collect()
}

fn request<'a>(program: Program<'a>, arguments: &[&str]) -> SpawnRequest<'a> {
    SpawnRequest {
        program,
        arguments: strings(arguments),
        environment: strings(&["ONLY=this"]),
        fds: Vec::new(),
        namespaces: CloneFlags::empty(),
        cgroup: None,
    }
}

const SHELL: Program<'static> = Program::Path(c"/bin/sh");

fn read_all(fd: OwnedFd) -> String {
    let mut text = String::new();
    std::fs::File::from(fd).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_spawned_program_has_the_given_descriptors_and_environment_only() {
    let (output, ours) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let (input, feed) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let script = "read line <&5; echo $line $ONLY $HOME; ls /proc/self/fd | tr '\\n' ' '";
    let mut request = request(SHELL, &["sh", "-c", script]);
    // Crosswise: a target is the number of another source, or may be.
    request.fds = vec![(ours.as_fd(), 1), (input.as_fd(), 5)];
    let spawned = spawn_exec(request).unwrap();
    drop(ours);
    std::fs::File::from(feed).write_all(b"hello\n").unwrap();
    let text = read_all(output);
    assert!(text.starts_with("hello this\n"), "{text}");
    assert!(text.contains(" 5 "), "{text}");
    assert_eq!(wait_pidfd(&spawned.pidfd).unwrap(), 0);
}

#[test]
fn a_program_that_cannot_be_executed_is_reported_and_leaves_no_zombie() {
    let error = spawn_exec(request(Program::Path(c"/no/such/program"), &["x"])).unwrap_err();
    assert_eq!(error, SpawnError::Exec(Errno::ENOENT));
    let error = spawn_exec(request(Program::Path(c"/etc/passwd"), &["x"])).unwrap_err();
    assert_eq!(error, SpawnError::Exec(Errno::EACCES));
}

#[test]
fn many_threads_may_spawn_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|number: i32| {
            std::thread::spawn(move || {
                for round in 0..20 {
                    let code = (number * 20 + round) % 100;
                    let script = format!("exit {code}");
                    let spawned = spawn_exec(request(SHELL, &["sh", "-c", &script])).unwrap();
                    assert_eq!(wait_pidfd(&spawned.pidfd).unwrap(), code);
                    let missing = request(Program::Path(c"/no/such/program"), &["x"]);
                    assert_eq!(spawn_exec(missing).unwrap_err(), SpawnError::Exec(Errno::ENOENT));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_sealed_program_runs_and_cannot_be_changed() {
    let content = std::fs::read("/bin/sh").unwrap();
    let program = process::sealed_program(c"sh", &content).unwrap();
    let spawned =
        spawn_exec(request(Program::File(program.as_fd()), &["sh", "-c", "exit 3"])).unwrap();
    assert_eq!(wait_pidfd(&spawned.pidfd).unwrap(), 3);
    let mut file = std::fs::File::from(program);
    assert_eq!(file.write_all(b"x").unwrap_err().raw_os_error(), Some(Errno::EPERM as i32));
    assert!(file.set_len(0).is_err());
}

#[test]
fn a_signal_goes_to_the_process_behind_the_descriptor_and_to_no_later_one() {
    let spawned = spawn_exec(request(SHELL, &["sh", "-c", "exec sleep 1000"])).unwrap();
    let other = pidfd_open(spawned.pid).unwrap();
    pidfd_send_signal(&other, libc::SIGKILL).unwrap();
    assert_eq!(wait_pidfd(&spawned.pidfd).unwrap(), 128 + 9);
    assert_eq!(pidfd_send_signal(&other, libc::SIGKILL), Err(Errno::ESRCH));
    assert_eq!(wait_pidfd(&spawned.pidfd), Err(Errno::ECHILD));
    assert!(pidfd_open(Pid::from_raw(i32::MAX)).is_err());
}

#[test]
fn an_end_by_any_signal_is_told() {
    for signal in [libc::SIGTERM, libc::SIGABRT, libc::SIGRTMIN() + 3, libc::SIGRTMAX()] {
        let script = format!("kill -{signal} $$");
        let spawned = spawn_exec(request(SHELL, &["sh", "-c", &script])).unwrap();
        assert_eq!(wait_pidfd(&spawned.pidfd), Ok(128 + signal));
    }
}

#[test]
fn signals_are_unblocked_in_the_child_whatever_the_caller_blocks() {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
    std::thread::spawn(|| {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None).unwrap();
        let script = "kill -TERM $$; exit 9";
        let spawned = spawn_exec(request(SHELL, &["sh", "-c", script])).unwrap();
        assert_eq!(wait_pidfd(&spawned.pidfd).unwrap(), 128 + 15);
        let mut now = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut now)).unwrap();
        assert!(now.contains(Signal::SIGTERM), "the caller's own mask is as before");
        assert!(!now.contains(Signal::SIGINT));
    })
    .join()
    .unwrap();
}

#[test]
#[should_panic(expected = "only a single-threaded process may fork")]
fn forking_with_threads_is_refused() {
    // The test harness runs this on a thread of its own.
    let _ = spawn::fork_as_sibling(None);
}

#[test]
fn descriptors_travel_with_bytes() {
    let (one, other) = UnixStream::pair().unwrap();
    let (output, input) = pipe2(OFlag::O_CLOEXEC).unwrap();
    assert_eq!(fdpass::send(&one, b"abc", Some(input.as_fd())), Ok(3));
    drop(input);
    let mut buffer = [0; 8];
    let (count, mut fds) = fdpass::receive(&other, &mut buffer).unwrap();
    assert_eq!((&buffer[..count], fds.len()), (&b"abc"[..], 1));
    std::fs::File::from(fds.remove(0)).write_all(b"through").unwrap();
    assert_eq!(read_all(output), "through");
    drop(one);
    assert_eq!(fdpass::receive(&other, &mut buffer).unwrap().0, 0);
}

#[test]
fn an_inherited_descriptor_is_taken_once() {
    assert!(process::take_inherited(0).is_none(), "the standard streams are std's");
    assert!(process::take_inherited(63).is_none(), "not open");
    assert!(process::take_inherited(1000).is_none());
}

#[test]
fn capability_sets_are_those_of_proc() {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(value.trim_start_matches(':').trim(), 16).unwrap()
    };
    let sets = caps::get().unwrap();
    assert_eq!(sets.effective, field("CapEff"));
    assert_eq!(sets.permitted, field("CapPrm"));
    assert_eq!(caps::in_bounding(0), Ok(Some(field("CapBnd") & 1 == 1)));
    assert_eq!(caps::in_bounding(63), Ok(None));
    // What one has may be set again.
    std::thread::spawn(move || caps::set(sets).unwrap()).join().unwrap();
}

#[test]
fn a_bad_filter_is_refused() {
    assert!(seccomp::available());
    std::thread::spawn(|| {
        caps::set_no_new_privileges().unwrap();
        assert_eq!(seccomp::install(&[]), Err(Errno::EINVAL));
        assert_eq!(seccomp::install(&[seccomp::pack(0xffff, 0, 0, 0)]), Err(Errno::EINVAL));
        assert_eq!(seccomp::install(&vec![0; 70_000]), Err(Errno::EINVAL));
    })
    .join()
    .unwrap();
    assert!(bpf::load_device_filter(&[]).is_err());
}

#[test]
fn paths_are_resolved_inside_their_root() {
    let root = std::fs::File::open("/proc/self").unwrap();
    let open = |path: &str| mount::open_in_root(&root, Path::new(path), OFlag::O_PATH, 0);
    open("/../../status").unwrap();
    assert_eq!(open("/cwd").unwrap_err(), Errno::ELOOP);
    assert_eq!(open("/etc/passwd").unwrap_err(), Errno::ENOENT);
}

#[test]
fn names_of_interfaces_are_checked() {
    assert_eq!(net::interface_up("a-name-that-is-too-long"), Err(Errno::ENAMETOOLONG));
    assert_eq!(net::interface_up("nosuch0"), Err(Errno::ENODEV));
}

#[test]
fn a_terminal_has_two_ends_and_a_size() {
    let open = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master: OwnedFd =
        nix::fcntl::open("/dev/ptmx", open, nix::sys::stat::Mode::empty()).unwrap();
    tty::unlock_peer(&master).unwrap();
    let slave = tty::open_peer(&master).unwrap();
    tty::set_window_size(&master, 12, 34).unwrap();
    assert_eq!(tty::window_size(&slave), Ok((12, 34)));
    let number = tty::peer_number(&master).unwrap();
    assert_eq!(nix::unistd::ttyname(&slave).unwrap(), Path::new(&format!("/dev/pts/{number}")));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(tty::window_size(&file), Err(Errno::ENOTTY));
}
