//! What a process can see of the container it is in.

use std::{
    collections::BTreeMap,
    fs,
    io::IsTerminal as _,
    os::{linux::fs::MetadataExt as _, unix::fs::FileTypeExt as _},
    path::Path,
};

use nix::{
    sys::{
        resource::{Resource, getrlimit},
        utsname::uname,
    },
    unistd::{getegid, geteuid, getgroups, getpid, getppid},
};
use serde::Serialize;

/// The report. Plain facts, no judgement.
#[derive(Serialize)]
pub(crate) struct Report {
    pid: i32,
    ppid: i32,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    hostname: String,
    domainname: String,
    kernel: String,
    cwd: String,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    /// Kind of namespace -> `pid:[4026531836]`.
    namespaces: BTreeMap<String, String>,
    /// Lines of /proc/self/mountinfo: mount point -> type and options.
    mounts: BTreeMap<String, MountPoint>,
    /// CapEff and such of /proc/self/status, as hexadecimal.
    capabilities: BTreeMap<String, String>,
    /// Seccomp of /proc/self/status: 0 off, 2 filter.
    seccomp: String,
    no_new_privs: String,
    oom_score_adj: String,
    rlimits: BTreeMap<String, (u64, u64)>,
    /// /proc/self/cgroup as the process sees it.
    cgroup: String,
    /// Limit files of the cgroup that is mounted at /sys/fs/cgroup.
    cgroup_files: BTreeMap<String, String>,
    /// /dev: name -> `c 1:3 666`.
    devices: BTreeMap<String, String>,
    interfaces: Vec<String>,
    loopback_up: bool,
    /// Processes visible in /proc.
    processes: usize,
    /// Open file descriptors beyond the three standard ones (and the one that lists them).
    open_files: Vec<String>,
    stdin_is_terminal: bool,
    stdout_is_terminal: bool,
    root_is_writable: bool,
}

#[derive(Serialize)]
struct MountPoint {
    fstype: String,
    options: String,
    super_options: String,
}

impl Report {
    /// Looks at everything once.
    pub(crate) fn take() -> Self {
        let uts = uname().ok();
        let text = |value: Option<&std::ffi::OsStr>| {
            value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let status = status();
        let field = |name: &str| status.get(name).cloned().unwrap_or_default();
        Self {
            pid: getpid().as_raw(),
            ppid: getppid().as_raw(),
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()).collect(),
            hostname: text(uts.as_ref().map(|uts| uts.nodename())),
            domainname: read("/proc/sys/kernel/domainname"),
            kernel: text(uts.as_ref().map(|uts| uts.release())),
            cwd: std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default(),
            args: std::env::args().collect(),
            env: std::env::vars().collect(),
            namespaces: namespaces(),
            mounts: mounts(),
            capabilities: status
                .iter()
                .filter(|(name, _)| name.starts_with("Cap"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            seccomp: field("Seccomp"),
            no_new_privs: field("NoNewPrivs"),
            oom_score_adj: read("/proc/self/oom_score_adj"),
            rlimits: rlimits(),
            cgroup: read("/proc/self/cgroup"),
            cgroup_files: cgroup_files(),
            devices: devices(),
            interfaces: names("/sys/class/net"),
            // IFF_UP is bit 0 (linux/if.h).
            loopback_up: u32::from_str_radix(
                read("/sys/class/net/lo/flags").trim_start_matches("0x"),
                16,
            )
            .is_ok_and(|flags| flags & 1 == 1),
            processes: names("/proc")
                .iter()
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
                .count(),
            open_files: open_files(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            root_is_writable: root_is_writable(),
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn status() -> BTreeMap<String, String> {
    read("/proc/self/status")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn namespaces() -> BTreeMap<String, String> {
    names("/proc/self/ns")
        .into_iter()
        .filter_map(|name| {
            let link = fs::read_link(format!("/proc/self/ns/{name}")).ok()?;
            Some((name, link.display().to_string()))
        })
        .collect()
}

/// proc_pid_mountinfo(5): the fields after the lone `-` are type, source and super options.
fn mounts() -> BTreeMap<String, MountPoint> {
    read("/proc/self/mountinfo")
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let before: Vec<&str> = before.split(' ').collect();
            let after: Vec<&str> = after.split(' ').collect();
            let point = MountPoint {
                fstype: (*after.first()?).to_owned(),
                options: (*before.get(5)?).to_owned(),
                super_options: after.get(2).map(|&s| s.to_owned()).unwrap_or_default(),
            };
            Some(((*before.get(4)?).to_owned(), point))
        })
        .collect()
}

fn rlimits() -> BTreeMap<String, (u64, u64)> {
    [
        ("nofile", Resource::RLIMIT_NOFILE),
        ("nproc", Resource::RLIMIT_NPROC),
        ("core", Resource::RLIMIT_CORE),
        ("stack", Resource::RLIMIT_STACK),
        ("memlock", Resource::RLIMIT_MEMLOCK),
        ("fsize", Resource::RLIMIT_FSIZE),
    ]
    .into_iter()
    .filter_map(|(name, resource)| Some((name.to_owned(), getrlimit(resource).ok()?)))
    .collect()
}

fn cgroup_files() -> BTreeMap<String, String> {
    [
        "memory.max",
        "memory.swap.max",
        "memory.low",
        "cpu.max",
        "cpu.weight",
        "cpuset.cpus",
        "cpuset.mems",
        "pids.max",
        "cgroup.procs",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), read(format!("/sys/fs/cgroup/{name}"))))
    .collect()
}

fn devices() -> BTreeMap<String, String> {
    names("/dev")
        .into_iter()
        .filter_map(|name| {
            let path = format!("/dev/{name}");
            let meta = fs::symlink_metadata(&path).ok()?;
            let kind = meta.file_type();
            let shown = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).ok()?.display())
            } else if kind.is_char_device() || kind.is_block_device() {
                let device = meta.st_rdev();
                format!(
                    "{} {}:{} {:o}",
                    if kind.is_block_device() { 'b' } else { 'c' },
                    nix::sys::stat::major(device),
                    nix::sys::stat::minor(device),
                    meta.st_mode() & 0o7777
                )
            } else if kind.is_dir() {
                "dir".to_owned()
            } else {
                "file".to_owned()
            };
            Some((name, shown))
        })
        .collect()
}

fn open_files() -> Vec<String> {
    names("/proc/self/fd")
        .into_iter()
        .filter(|fd| !matches!(fd.as_str(), "0" | "1" | "2"))
        .filter_map(|fd| {
            let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
            let shown = link.display().to_string();
            // The folder that is being listed.
            (!shown.ends_with("/fd")).then(|| format!("{fd} -> {shown}"))
        })
        .collect()
}

fn root_is_writable() -> bool {
    let probe = "/.linkspan-checker-probe";
    let written = fs::write(probe, b"x").is_ok();
    let _ = fs::remove_file(probe);
    written
}
