//! Our runtime against crun and runc, on one bundle in one VM.
//!
//! All three are driven by their command lines from inside a privileged container of the VM, so
//! that kernel, root file system, namespaces, limits, filter and mounts are the same and the
//! bridge to the host is not part of the figure.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::{figure::Figure, host::Host};

/// The image with the tools that measure; [`import`] makes it.
pub(crate) const IMAGE: &str = "bench-tools";

/// The runtimes to compare with.
const RUNTIMES: &[&str] = &["crun", "runc"];
/// What pulls and unpacks images, to compare with.
const IMAGE_TOOLS: &[&str] = &["skopeo", "umoci"];

/// What this machine has of these programs, by name.
pub(crate) fn programs(names: &[&'static str]) -> Vec<(&'static str, PathBuf)> {
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    names
        .iter()
        .filter_map(|&name| {
            let found = places.iter().map(|place| Path::new(place).join(name));
            let path = found.into_iter().find(|path| path.is_file());
            if path.is_none() {
                println!("skipped: {name} is not installed on this machine");
            }
            Some((name, path?))
        })
        .collect()
}

/// Gives the machine an image with the checker, busybox, the runtimes and a bundle.
pub(crate) fn import(host: &Host, target: &Path) -> Result<()> {
    let guest = |name: &str| -> Result<PathBuf> {
        let path = target.join("guest/x86_64-unknown-linux-gnu/guest").join(name);
        ensure!(path.is_file(), "{} is not there: `make image` first", path.display());
        Ok(path)
    };
    let mut tar = Builder::new(Vec::new());
    let mut files = BTreeSet::new();
    for (_, program) in programs(&[RUNTIMES, IMAGE_TOOLS].concat()) {
        files.extend(libraries(&program)?);
        files.insert(program);
    }
    for path in files {
        file(&mut tar, &path.to_string_lossy(), &path)?;
    }
    let busybox = Path::new("/bin/busybox");
    file(&mut tar, "checker", &guest("linkspan-checker")?)?;
    file(&mut tar, "linkspan-init", &guest("linkspan-init")?)?;
    file(&mut tar, "bin/busybox", busybox)?;
    file(&mut tar, "bundle/rootfs/bin/busybox", busybox)?;
    link(&mut tar, "bundle/rootfs/bin/true", "busybox")?;
    for name in
        ["tmp", "var/tmp", "work", "bundle/rootfs/proc", "bundle/rootfs/sys", "bundle/rootfs/dev"]
    {
        folder(&mut tar, name)?;
    }
    let config = serde_json::to_vec(&bundle())?;
    bytes(&mut tar, "bundle/config.json", 0o644, &config)?;
    let path = host.home().join("bench-tools.tar");
    fs::write(&path, tar.into_inner()?).with_context(|| path.display().to_string())?;
    host.run(&["import", &path.to_string_lossy(), IMAGE])?;
    Ok(())
}

/// create, start, wait and delete of `true` by each runtime.
pub(crate) fn oci(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    let mut runtimes = vec![("linkspan", "/linkspan-init oci".to_owned())];
    runtimes.extend(
        programs(RUNTIMES)
            .into_iter()
            .map(|(name, path)| (name, path.to_string_lossy().into_owned())),
    );
    let mut figures = Vec::new();
    for (name, command) in runtimes {
        let flags =
            ["run", "--rm", "--privileged", "--cgroupns", "host", "-v", "bench-bundle:/bundle"];
        let count = runs.to_string();
        let tool = [IMAGE, "/checker", "time-runtime", &command, "/bundle", &count];
        let output = host.run(&[&flags[..], &tool].concat())?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        for (part, label) in [("whole", "create to delete"), ("create", "create alone")] {
            let name = format!("oci {name}: {label}");
            figures.push(Figure::new(name, "ms", numbers(&report[part])?));
        }
    }
    Ok(figures)
}

fn numbers(value: &Value) -> Result<Vec<f64>> {
    let array = value.as_array().context("the checker printed no array")?;
    array.iter().map(|v| v.as_f64().context("the checker printed no number")).collect()
}

/// What Docker asks of a runtime for `docker run -m 64m --pids-limit 100 --cpus 1`, short of the
/// network: the namespaces, masked paths and mounts of its default specification.
fn bundle() -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    let namespaces =
        ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({"type": kind}));
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "timed",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "cgroupsPath": "/timed",
            "resources": {
                "memory": {"limit": 64 << 20},
                "pids": {"limit": 100},
                "cpu": {"quota": 100_000, "period": 100_000},
            },
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{
                    "names": ["kexec_load", "mount", "umount2", "reboot", "ptrace", "bpf"],
                    "action": "SCMP_ACT_ERRNO",
                }],
            },
        },
    })
}

/// The shared libraries that a program loads, its loader among them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd does not start")?;
    // ldd(1): `name => /path (address)`, or `/path (address)` for the loader.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.lines().filter_map(|line| {
        let path = line.split_whitespace().find(|word| word.starts_with('/'))?;
        Some(PathBuf::from(path))
    });
    Ok(paths.collect())
}

fn file(tar: &mut Builder<Vec<u8>>, name: &str, from: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| from.display().to_string())?;
    bytes(tar, name.trim_start_matches('/'), 0o755, &content)
}

fn bytes(tar: &mut Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    Ok(tar.append_data(&mut header, name, content)?)
}

fn link(tar: &mut Builder<Vec<u8>>, name: &str, to: &str) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    Ok(tar.append_link(&mut header, name, to)?)
}

fn folder(tar: &mut Builder<Vec<u8>>, name: &str) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    Ok(tar.append_data(&mut header, name, std::io::empty())?)
}
