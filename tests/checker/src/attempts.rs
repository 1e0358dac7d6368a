//! Things that a container must not be able to do. Each attempt reports how it ended: `done`, or
//! the errno that the kernel answered.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd, path::Path};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        ptrace,
        reboot::{RebootMode, reboot},
        socket::{AddressFamily, SockFlag, SockType, socket},
        stat::{Mode, SFlag, makedev, mknod},
    },
    unistd::{Pid, sethostname},
};

type Attempt = (&'static str, fn() -> Result<(), String>);

const ATTEMPTS: &[Attempt] = &[
    ("mount tmpfs", || {
        errno(mount(Some("none"), "/mnt", Some("tmpfs"), MsFlags::empty(), None::<&str>))
    }),
    ("remount / writable", || {
        errno(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REMOUNT, None::<&str>))
    }),
    ("set host name", || errno(sethostname("taken-over"))),
    ("reboot", || errno(reboot(RebootMode::RB_AUTOBOOT))),
    ("ptrace init", || errno(ptrace::attach(Pid::from_raw(1)))),
    ("vsock socket", || {
        errno(
            socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None)
                .map(|_: OwnedFd| ()),
        )
    }),
    ("raw block device", || {
        // proc(5): major, minor, blocks, name of each disk of the machine.
        let table = fs::read_to_string("/proc/partitions").map_err(|error| error.to_string())?;
        let disks = table.lines().filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let tried: Vec<_> =
            disks.map(|(major, minor)| device(SFlag::S_IFBLK, major, minor)).collect();
        tried.into_iter().find(Result::is_ok).unwrap_or_else(|| Err("none opened".into()))
    }),
    ("/dev/mem", || device(SFlag::S_IFCHR, 1, 1)),
    ("/dev/port", || device(SFlag::S_IFCHR, 1, 4)),
    ("/dev/kmsg", || device(SFlag::S_IFCHR, 1, 11)),
    ("/dev/fuse", || device(SFlag::S_IFCHR, 10, 229)),
    ("read /proc/kcore", || readable("/proc/kcore")),
    ("read /proc/keys", || readable("/proc/keys")),
    ("read /proc/timer_list", || readable("/proc/timer_list")),
    ("write /proc/irq/default_smp_affinity", || writable("/proc/irq/default_smp_affinity")),
    ("write /proc/sys/vm/drop_caches", || writable("/proc/sys/vm/drop_caches")),
    ("write /proc/sys/kernel/modprobe", || writable("/proc/sys/kernel/modprobe")),
    ("write /sys/kernel/uevent_helper", || writable("/sys/kernel/uevent_helper")),
    ("write cgroup.procs", || writable("/sys/fs/cgroup/cgroup.procs")),
    ("write /proc/sysrq-trigger", || writable("/proc/sysrq-trigger")),
    ("write /proc/sys/kernel/core_pattern", || writable("/proc/sys/kernel/core_pattern")),
    ("write /sys/kernel/mm/transparent_hugepage/enabled", || {
        writable("/sys/kernel/mm/transparent_hugepage/enabled")
    }),
    ("create a cgroup", || io(fs::create_dir("/sys/fs/cgroup/escape"))),
    ("write memory.max", || io(fs::write("/sys/fs/cgroup/memory.max", "max"))),
    ("see the VM's root", || {
        if Path::new("/proc/1/root/sbin/linkspan-init").exists() {
            Ok(())
        } else {
            Err("ENOENT".into())
        }
    }),
    ("see the agent", || {
        let agent = fs::read_to_string("/proc/1/comm").unwrap_or_default();
        if agent.contains("linkspan-agent") { Ok(()) } else { Err("not visible".into()) }
    }),
    // Last: they change what this process is, for the attempts that would follow.
    ("unshare mount namespace", || errno(unshare(CloneFlags::CLONE_NEWNS))),
    ("unshare user namespace", || errno(unshare(CloneFlags::CLONE_NEWUSER))),
];

/// Tries everything.
pub(crate) fn all() -> BTreeMap<&'static str, String> {
    ATTEMPTS
        .iter()
        // A reboot that succeeds would end the report; it is refused before it does anything
        // unless CAP_SYS_BOOT is held, so it is tried only without it.
        .filter(|(name, _)| *name != "reboot" || !holds_sys_boot())
        .map(|(name, attempt)| {
            let ended = match attempt() {
                Ok(()) => "done".to_owned(),
                Err(why) => why,
            };
            (*name, ended)
        })
        .collect()
}

/// Makes a device node and opens it.
fn device(kind: SFlag, major: u64, minor: u64) -> Result<(), String> {
    let path = "/tmp/.checker-device";
    let _ = fs::remove_file(path);
    errno(mknod(path, kind, Mode::S_IRUSR, makedev(major, minor)))?;
    let opened = io(fs::File::open(path).map(drop));
    let _ = fs::remove_file(path);
    opened
}

fn holds_sys_boot() -> bool {
    // CAP_SYS_BOOT is bit 22 (linux/capability.h).
    fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
        .is_none_or(|set| set & (1 << 22) != 0)
}

fn errno<T>(result: Result<T, Errno>) -> Result<(), String> {
    result.map(drop).map_err(|errno| format!("{errno:?}"))
}

fn io<T>(result: std::io::Result<T>) -> Result<(), String> {
    result.map(drop).map_err(|error| {
        error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number)))
    })
}

/// A masked file is `/dev/null`: it opens, and is empty.
fn readable(path: &str) -> Result<(), String> {
    use std::io::Read as _;
    let mut byte = [0];
    match fs::File::open(path).and_then(|mut file| file.read(&mut byte)) {
        Ok(0) => Err("empty".into()),
        Ok(_) => Ok(()),
        Err(error) => io(Err::<(), _>(error)),
    }
}

fn writable(path: &str) -> Result<(), String> {
    io(fs::OpenOptions::new().write(true).open(path))
}
