//! `--version`, `features` (features.md, features-linux.md) and `spec`.

use std::path::Path;

use linkspan_runtime::{capabilities, defaults};
use serde_json::{Value, json};

use crate::config::option_names;
use crate::error::Error;
use crate::state::replace;

/// The newest version of the specification that this was written from.
const NEWEST: &str = "1.2.0";

pub(crate) fn version() -> String {
    format!("linkspan-init version {}\nspec: {NEWEST}", env!("CARGO_PKG_VERSION"))
}

fn capability_names(set: u64) -> Vec<String> {
    capabilities::names(set).map(|capability| capability.to_string()).collect()
}

/// What a caller may rely on, as JSON.
pub(crate) fn features() -> String {
    let architecture = if cfg!(target_arch = "aarch64") {
        json!(["SCMP_ARCH_AARCH64"])
    } else {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    };
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": NEWEST,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart",
            "poststop"],
        "mountOptions": option_names(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time",
                "user", "uts"],
            "capabilities": capability_names(capabilities::ALL),
            "cgroup": { "v1": false, "v2": true, "systemd": false, "systemdUser": false,
                "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL",
                    "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
                    "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"],
                "operators": ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE",
                    "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"],
                "archs": architecture,
                "knownFlags": ["SECCOMP_FILTER_FLAG_TSYNC"],
                "supportedFlags": ["SECCOMP_FILTER_FLAG_TSYNC"]
            },
            "apparmor": { "enabled": false },
            "selinux": { "enabled": false },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": false } }
        }
    });
    format!("{features:#}")
}

/// Writes a config.json to begin with: a shell, with Docker's limits.
pub(crate) fn write_spec(bundle: &Path) -> Result<(), Error> {
    let path = bundle.join("config.json");
    if path.exists() {
        let source = std::io::ErrorKind::AlreadyExists.into();
        return Err(Error::File { action: "write", path, source });
    }
    replace(&path, format!("{:#}\n", spec()).as_bytes())
}

fn spec() -> Value {
    let names = capability_names(capabilities::DEFAULT);
    let mount = |destination: &str, fstype: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": fstype, "source": source, "options": options });
    let restricted = ["nosuid", "noexec", "nodev"];
    json!({
        "ociVersion": NEWEST,
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": { "bounding": names, "effective": names, "permitted": names },
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "linkspan",
        "mounts": [
            mount("/proc", "proc", "proc", &restricted),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance",
                "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777",
                "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &restricted),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"])
        ],
        "linux": {
            "namespaces": [{ "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }],
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "maskedPaths": defaults::masked_paths(),
            "readonlyPaths": defaults::readonly_paths()
        }
    })
}
