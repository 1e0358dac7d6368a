//! An image and a configuration become a [`Plan`], with Docker's defaults filled in.
//!
//! Pure, except for [`devices_of_the_vm`], which a privileged container needs.

use std::path::{Path, PathBuf};

use linkspan_runtime::{
    capabilities, defaults,
    plan::{
        Bind, CapabilitySets, Device, Mount, MountKind, Namespaces, Plan, Process, Rlimit, Rootfs,
        TerminalSize, UserSpec,
    },
};

use crate::{
    Error,
    config::{Config, ExecConfig, Resolved, merge_env},
    limits, validate,
};

/// Where the containers' cgroups are, relative to the cgroup2 mount.
pub const CGROUP_PARENT: &str = "linkspan/containers";

/// What a plan needs beside the configuration.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The container's cgroup.
    pub cgroup: PathBuf,
    /// The container's folder: `upper`, `work`, `hosts`, `hostname`, `resolv.conf`.
    pub folder: PathBuf,
    /// Devices of the VM; only used by a privileged container.
    pub devices: Vec<Device>,
    /// The compiled system call filter; only used where one is wanted.
    pub seccomp: Vec<u64>,
    /// The terminal's size, when there is one.
    pub size: Option<(u16, u16)>,
}

/// What a container's processes are allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// What is left of root.
    pub capabilities: CapabilitySets,
    /// Whether the default filter applies.
    pub seccomp: bool,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
}

impl Permissions {
    /// Of the container's first process.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn of(config: &Config) -> Result<Self, Error> {
        let capabilities = validate::capabilities(config)?;
        let security = validate::security(&config.security_opts)?;
        Ok(Self {
            capabilities,
            seccomp: !config.privileged && !security.seccomp_unconfined,
            no_new_privileges: security.no_new_privileges,
        })
    }

    /// Of one more process.
    ///
    /// # Errors
    /// When the container's configuration is not valid.
    pub fn of_exec(config: &Config, exec: &ExecConfig) -> Result<Self, Error> {
        let own = Self::of(config)?;
        if !exec.privileged {
            return Ok(own);
        }
        let capabilities = capabilities::sets(capabilities::ALL);
        Ok(Self { capabilities, seccomp: false, ..own })
    }
}

/// The plan of a container.
///
/// # Errors
/// When the configuration is not valid.
pub fn build(config: &Config, resolved: &Resolved, around: Surroundings) -> Result<Plan, Error> {
    let permissions = Permissions::of(config)?;
    let folder = &around.folder;
    Ok(Plan {
        process: Process {
            args: resolved.args.clone(),
            env: resolved.env.clone(),
            cwd: resolved.working_dir.clone(),
            user: user(&resolved.user, &config.group_add),
            terminal: config.tty.then(|| terminal(around.size)),
            capabilities: permissions.capabilities,
            no_new_privileges: permissions.no_new_privileges,
            rlimits: rlimits(config),
            seccomp: if permissions.seccomp { around.seccomp } else { Vec::new() },
            oom_score_adj: config.oom_score_adj,
            init: config.init,
        },
        mounts: mounts(config, folder),
        rootfs: rootfs(config, resolved, folder),
        hostname: resolved.hostname.clone(),
        domainname: config.domainname.clone(),
        namespaces: Namespaces { pid: true, uts: true, ipc: true, network: true, cgroup: true },
        cgroup: around.cgroup,
        resources: limits::resources(&config.limits),
        all_devices: config.privileged,
        devices: devices(config.privileged.then_some(around.devices)),
        masked_paths: if config.privileged { Vec::new() } else { defaults::masked_paths() },
        readonly_paths: if config.privileged { Vec::new() } else { defaults::readonly_paths() },
        sysctls: defaults::sysctls(),
    })
}

/// One more process in a container.
///
/// # Errors
/// When a configuration is not valid.
pub fn exec(
    config: &Config,
    resolved: &Resolved,
    exec: &ExecConfig,
    seccomp: Vec<u64>,
) -> Result<Process, Error> {
    let permissions = Permissions::of_exec(config, exec)?;
    let mut env = resolved.env.clone();
    if exec.tty {
        merge_env(&mut env, &["TERM=xterm".into()]);
    }
    merge_env(&mut env, &exec.env);
    let own_user = !exec.user.is_empty();
    Ok(Process {
        args: exec.args.clone(),
        env,
        cwd: if exec.working_dir.is_empty() {
            resolved.working_dir.clone()
        } else {
            exec.working_dir.clone().into()
        },
        user: user(if own_user { &exec.user } else { &resolved.user }, &config.group_add),
        terminal: exec.tty.then(|| terminal(exec.size)),
        capabilities: permissions.capabilities,
        no_new_privileges: permissions.no_new_privileges,
        rlimits: rlimits(config),
        seccomp: if permissions.seccomp { seccomp } else { Vec::new() },
        oom_score_adj: config.oom_score_adj,
        init: false,
    })
}

fn user(user: &str, additional_groups: &[String]) -> UserSpec {
    UserSpec { user: user.into(), additional_groups: additional_groups.to_vec() }
}

fn terminal(size: Option<(u16, u16)>) -> TerminalSize {
    // What a VT has; programs fall back to the same.
    let (rows, columns) = size.unwrap_or((24, 80));
    TerminalSize { rows, columns }
}

fn rlimits(config: &Config) -> Vec<Rlimit> {
    let mut limits = defaults::rlimits();
    for asked in &config.ulimits {
        limits.retain(|limit| limit.kind != asked.name);
        limits.push(Rlimit { kind: asked.name.clone(), soft: asked.soft, hard: asked.hard });
    }
    limits
}

/// The layers of a container.
pub(crate) fn rootfs(config: &Config, resolved: &Resolved, folder: &Path) -> Rootfs {
    Rootfs {
        lower: resolved.layers.clone(),
        upper: folder.join("upper"),
        work: folder.join("work"),
        readonly: config.read_only_rootfs,
    }
}

/// The files in /etc that the engine writes.
pub(crate) fn engine_files(folder: &Path) -> Vec<Mount> {
    let bind = |name: &str| Mount {
        destination: Path::new("/etc").join(name),
        kind: MountKind::Bind(Bind::of(folder.join(name))),
        readonly: false,
        nosuid: false,
        nodev: false,
        noexec: false,
    };
    ["resolv.conf", "hostname", "hosts"].map(bind).to_vec()
}

fn mounts(config: &Config, folder: &Path) -> Vec<Mount> {
    let shm_size = if config.shm_size == 0 { defaults::SHM_SIZE } else { config.shm_size };
    let mut mounts = defaults::mounts(config.privileged, shm_size);
    mounts.extend(engine_files(folder));
    mounts
}

fn devices(of_the_vm: Option<Vec<Device>>) -> Vec<Device> {
    let mut list = defaults::devices();
    for more in of_the_vm.into_iter().flatten() {
        if list.iter().all(|known| known.path != more.path) {
            list.push(more);
        }
    }
    list
}

/// Device nodes under /dev of the VM, without terminals' and consoles' own.
///
/// # Errors
/// When /dev cannot be read.
pub fn devices_of_the_vm() -> std::io::Result<Vec<Device>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            // A device can vanish between the listing and the look at it.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                // Shared memory and other terminals are not the container's.
                if !["/dev/pts", "/dev/shm", "/dev/mqueue"].iter().any(|own| path == Path::new(own))
                {
                    folders.push(path);
                }
            } else if let Some(device) = device_node(path, &metadata) {
                found.push(device);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn device_node(path: PathBuf, metadata: &std::fs::Metadata) -> Option<Device> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

    let kind = metadata.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    // These come from the container's own devpts.
    if ["/dev/ptmx", "/dev/console", "/dev/tty"].iter().any(|own| path == Path::new(own)) {
        return None;
    }
    let rdev = metadata.rdev();
    Some(Device {
        path,
        block: kind.is_block_device(),
        // The encoding of glibc's gnu_dev_major and gnu_dev_minor.
        major: (((rdev >> 8) & 0xfff) | ((rdev >> 32) & !0xfff)) as u32,
        minor: ((rdev & 0xff) | ((rdev >> 12) & !0xff)) as u32,
        mode: metadata.mode() & 0o777,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::ContainerId, launch::ImageView};

    fn plan(config: &Config) -> Plan {
        let image = ImageView {
            id: "sha256:1".into(),
            reference: "demo".into(),
            command: vec!["true".into()],
            ..ImageView::default()
        };
        let resolved = Resolved::new(&ContainerId::generate(), config, &image).unwrap();
        let around = Surroundings {
            cgroup: "linkspan/containers/x".into(),
            folder: "/var/lib/linkspan/containers/x".into(),
            devices: vec![Device {
                path: "/dev/vda".into(),
                block: true,
                major: 254,
                minor: 0,
                mode: 0o600,
            }],
            seccomp: vec![1, 2],
            size: None,
        };
        build(config, &resolved, around).unwrap()
    }

    fn readonly(plan: &Plan, destination: &str) -> bool {
        let at = |mount: &&Mount| mount.destination == Path::new(destination);
        plan.mounts.iter().find(at).unwrap().readonly
    }

    #[test]
    fn a_plain_container_is_confined_as_dockers_are() {
        let plan = plan(&Config::default());
        assert_eq!(plan.process.capabilities.bounding, 0xa804_25fb);
        assert_eq!(plan.process.seccomp, [1, 2]);
        assert!(plan.masked_paths.contains(&"/proc/kcore".into()));
        assert!(readonly(&plan, "/sys") && readonly(&plan, "/sys/fs/cgroup"));
        assert!(plan.devices.iter().all(|device| !device.block));
        let all_new = Namespaces { pid: true, uts: true, ipc: true, network: true, cgroup: true };
        assert_eq!(plan.namespaces, all_new);
    }

    #[test]
    fn privileged_lifts_every_confinement_but_the_namespaces() {
        let plan = plan(&Config { privileged: true, ..Config::default() });
        assert_eq!(plan.process.capabilities.bounding, capabilities::ALL);
        assert!(plan.process.seccomp.is_empty());
        assert!(plan.masked_paths.is_empty() && plan.readonly_paths.is_empty());
        assert!(!readonly(&plan, "/sys"));
        assert!(plan.devices.iter().any(|device| device.path == Path::new("/dev/vda")));
        assert!(plan.namespaces.pid && plan.namespaces.network);
    }

    #[test]
    fn mounts_come_parents_first() {
        let plan = plan(&Config::default());
        for (index, mount) in plan.mounts.iter().enumerate() {
            let covers_earlier = plan.mounts[..index]
                .iter()
                .any(|earlier| earlier.destination.starts_with(&mount.destination));
            assert!(!covers_earlier, "{:?} would cover an earlier mount", mount.destination);
        }
    }

    #[test]
    fn one_more_process_takes_the_containers_view_unless_told_otherwise() {
        let config = Config { user: "web".into(), ..Config::default() };
        let image = ImageView { command: vec!["true".into()], ..ImageView::default() };
        let resolved = Resolved::new(&ContainerId::generate(), &config, &image).unwrap();
        let asked = ExecConfig { args: vec!["id".into()], ..ExecConfig::default() };
        let process = exec(&config, &resolved, &asked, vec![7]).unwrap();
        assert_eq!(process.user.user, "web");
        assert_eq!(process.env, resolved.env);
        assert_eq!(process.seccomp, [7]);
        let asked = ExecConfig { user: "0".into(), privileged: true, ..asked };
        let process = exec(&config, &resolved, &asked, vec![7]).unwrap();
        assert_eq!((process.user.user.as_str(), process.seccomp.len()), ("0", 0));
        assert_eq!(process.capabilities.effective, capabilities::ALL);
    }
}
