//! RUN: a command in a container on top of the files below; what it wrote is the layer.
//!
//! Mount points that had to be made are no part of the layer, as in BuildKit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use linkspan_build::{Mount as Asked, Network, RunStep};
use linkspan_files::{Folder, Node as FileNode};
use linkspan_images::Scratch;
use linkspan_runtime::plan::{
    Bind, Mount, MountKind, Namespaces, Plan, Process, Resources, Rlimit, Rootfs, UserSpec,
};
use linkspan_runtime::{capabilities, defaults};
use rustix::fs::{Timespec, Timestamps};

use crate::error::{Error, Result};
use crate::layer::resolve;

/// What BuildKit calls the host of each RUN.
const HOSTNAME: &str = "buildkitsandbox";
/// Where the cgroups of builds are.
const CGROUPS: &str = "linkspan/builds";

/// What all RUNs of a build have in common.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// NAME:ADDRESS.
    pub extra_hosts: Vec<String>,
    /// Of /dev/shm, bytes; 0: the default.
    pub shm_size: u64,
    /// Replace the defaults of the same kinds.
    pub ulimits: Vec<Rlimit>,
    /// By id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// The ids of the SSH agents that the caller has.
    pub ssh: BTreeSet<String>,
    /// Of each command alone.
    pub resources: Resources,
}

/// The folders of a RUN.
pub(crate) struct Place<'a> {
    /// Of the files below, base first.
    pub(crate) lower: Vec<PathBuf>,
    /// On the disk: what is written.
    pub(crate) scratch: &'a Scratch,
}

/// What is to be mounted, before it has a place in the plan.
pub(crate) struct Bound {
    /// Which mount of the step it comes of; None: it is the script.
    pub(crate) of: Option<usize>,
    pub(crate) target: PathBuf,
    pub(crate) source: PathBuf,
    pub(crate) read_only: bool,
}

/// The plan of a command. `bound`: what its mounts came to.
pub(crate) fn plan(
    id: &str,
    step: &RunStep,
    options: &RunOptions,
    place: &Place<'_>,
    bound: Vec<Bound>,
) -> Result<Plan> {
    let folder = place.scratch.path();
    for name in ["upper", "work"] {
        let path = folder.join(name);
        fs::create_dir(&path).map_err(Error::io("create", &path))?;
        // The root of the container, whatever the mask of this process is.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("create", &path))?;
    }
    let mut env = step.env.clone();
    env.extend(step.proxy_env.iter().cloned());
    for mount in &step.mounts {
        if let Asked::Secret { id, env: Some(name), .. } = mount
            && let Some(secret) = options.secrets.get(id)
        {
            env.push(format!("{name}={}", String::from_utf8_lossy(secret)));
        }
    }
    let agent = step.mounts.iter().find_map(|mount| match mount {
        Asked::Ssh { id, target, .. } if options.ssh.contains(id) => Some(target),
        _ => None,
    });
    env.extend(agent.map(|socket| format!("SSH_AUTH_SOCK={socket}")));
    let shm = if options.shm_size == 0 { defaults::SHM_SIZE } else { options.shm_size };
    let mut rlimits = defaults::rlimits();
    for asked in &options.ulimits {
        rlimits.retain(|limit| limit.kind != asked.kind);
        rlimits.push(asked.clone());
    }
    let set = if step.insecure { capabilities::ALL } else { capabilities::DEFAULT };
    let own_network = step.network != Network::Host;
    let hidden = |paths: Vec<PathBuf>| if step.insecure { Vec::new() } else { paths };
    Ok(Plan {
        process: Process {
            args: step.arguments.clone(),
            env: last_wins(env),
            cwd: step.working_dir.clone().into(),
            user: UserSpec { user: step.user.clone(), additional_groups: Vec::new() },
            terminal: None,
            capabilities: capabilities::sets(set),
            no_new_privileges: false,
            rlimits,
            seccomp: Vec::new(),
            oom_score_adj: None,
            init: false,
            mapped_root: None,
        },
        rootfs: Rootfs {
            lower: place.lower.clone(),
            upper: folder.join("upper"),
            work: folder.join("work"),
            readonly: false,
        },
        mounts: mounts(step, shm, folder, &bound),
        hostname: HOSTNAME.to_owned(),
        domainname: String::new(),
        namespaces: Namespaces {
            pid: true,
            uts: true,
            ipc: true,
            network: own_network,
            cgroup: true,
        },
        user_namespace: None,
        cgroup: Path::new(CGROUPS).join(id),
        resources: options.resources.clone(),
        devices: defaults::devices(),
        device_rules: Vec::new(),
        all_devices: step.insecure,
        masked_paths: hidden(defaults::masked_paths()),
        readonly_paths: hidden(defaults::readonly_paths()),
        // Those of a namespace that is not the command's stay as they are.
        sysctls: if own_network { defaults::sysctls(None) } else { Vec::new() },
    })
}

/// No name twice; the place is that of the first.
fn last_wins(entries: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for entry in entries {
        let name = entry.split('=').next().unwrap_or_default();
        match kept.iter_mut().find(|other| other.split('=').next() == Some(name)) {
            Some(other) => *other = entry,
            None => kept.push(entry),
        }
    }
    kept
}

fn mounts(step: &RunStep, shm: u64, folder: &Path, bound: &[Bound]) -> Vec<Mount> {
    let bind = |destination: PathBuf, source: PathBuf, readonly| Mount {
        destination,
        kind: MountKind::Bind(Bind::of(source)),
        readonly,
        nosuid: false,
        nodev: false,
        noexec: false,
    };
    let mut mounts = defaults::mounts(step.insecure, shm);
    for name in ["resolv.conf", "hosts"] {
        mounts.push(bind(Path::new("/etc").join(name), folder.join(name), true));
    }
    let bound_of = |of: Option<usize>| {
        let all = bound.iter().filter(move |bound| bound.of == of);
        all.map(|bound| bind(bound.target.clone(), bound.source.clone(), bound.read_only))
    };
    // In their order: a later one may lie within an earlier one.
    for (number, mount) in step.mounts.iter().enumerate() {
        if let Asked::Tmpfs { target, size } = mount {
            let size = size.map_or_else(String::new, |size| format!(",size={size}"));
            mounts.push(Mount {
                destination: target.into(),
                kind: MountKind::Fs {
                    fstype: "tmpfs".into(),
                    source: "tmpfs".into(),
                    data: format!("mode=1777{size}"),
                },
                readonly: false,
                nosuid: true,
                nodev: true,
                noexec: true,
            });
        } else {
            mounts.extend(bound_of(Some(number)));
        }
    }
    mounts.extend(bound_of(None));
    mounts
}

/// Mount points that were not there before: where they will be, the innermost last, and the folder
/// below which they are made.
pub(crate) struct Stubs(Vec<(Vec<PathBuf>, PathBuf)>);

impl Stubs {
    /// To be called before the command runs.
    pub(crate) fn of(plan: &Plan, below: Option<&Folder>) -> Result<Self> {
        let mut all = Vec::new();
        for mount in &plan.mounts {
            let path = resolve(below, &mount.destination)?;
            let there = |path: &Path| -> Result<bool> {
                Ok(below.map(|root| root.find(path, false)).transpose()?.flatten().is_some())
            };
            let mut missing = Vec::new();
            let mut at = path.as_path();
            while !at.as_os_str().is_empty() && !there(at)? {
                missing.push(at.to_owned());
                at = at.parent().unwrap_or(Path::new(""));
            }
            missing.reverse();
            all.push((missing, at.to_owned()));
        }
        Ok(Self(all))
    }

    /// Takes them out of the layer, and with them what they changed of the folders above.
    pub(crate) fn remove(self, upper: &Path, below: Option<&Folder>) -> Result<()> {
        for (missing, parent) in self.0.into_iter().rev() {
            let mut removed = false;
            for stub in missing.iter().rev() {
                let path = upper.join(stub);
                let Ok(found) = fs::symlink_metadata(&path) else { continue };
                let gone = if found.is_dir() {
                    // It stays if something is in it.
                    fs::remove_dir(&path).is_ok()
                } else {
                    found.is_file() && found.len() == 0 && fs::remove_file(&path).is_ok()
                };
                removed |= gone;
                if !gone {
                    break;
                }
            }
            if removed && !parent.as_os_str().is_empty() {
                settle(upper, &parent, below)?;
            }
        }
        Ok(())
    }
}

/// A folder that was copied up only to make a mount point in it is as it was before: it goes if
/// nothing else is in it, and has its time back otherwise.
fn settle(upper: &Path, parent: &Path, below: Option<&Folder>) -> Result<()> {
    let path = upper.join(parent);
    let node = below.map(|root| root.find(parent, false)).transpose()?.flatten();
    let Some(FileNode::Folder(folder)) = node else { return Ok(()) };
    let old = folder.stat()?;
    let same = rustix::fs::stat(&path).is_ok_and(|new| {
        (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid)
    });
    if same && fs::remove_dir(&path).is_ok() {
        return Ok(());
    }
    let time = |tv_sec, nanos| Timespec { tv_sec, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(old.st_atime, old.st_atime_nsec),
        last_modification: time(old.st_mtime, old.st_mtime_nsec),
    };
    let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    match rustix::fs::utimensat(rustix::fs::CWD, &path, &times, nofollow) {
        // The command has removed it.
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::io("set the time of", &path)(errno)),
    }
}
