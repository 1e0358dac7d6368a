//! An image and a configuration become a [`Plan`], with Docker's defaults filled in.
//!
//! Pure, except for [`devices_of_the_vm`], which a privileged container needs.

use std::path::{Path, PathBuf};

use linkspan_runtime::{
    capabilities, defaults,
    devices::DeviceRule,
    plan::{
        Bind, CapabilitySets, Device, Mount, MountKind, Plan, Process, Resources, Rlimit, Rootfs,
        TerminalSize, UserNamespace, UserSpec,
    },
};

use crate::{
    Error,
    config::{Config, ExecConfig, Resolved, merge_env},
    devices, limits, namespaces,
    validate::{self, Seccomp},
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
    /// Devices of the VM: those asked for, and all for a privileged container.
    pub devices: Vec<Device>,
    /// What the device filter allows beside the standard.
    pub device_rules: Vec<DeviceRule>,
    /// What [`limits::disk_limits`] says.
    pub disk_limits: Resources,
    /// The compiled system call filter; only used where one is wanted.
    pub seccomp: Vec<u64>,
    /// How ids are mapped, if they are.
    pub user_namespace: Option<UserNamespace>,
    /// The terminal's size, when there is one.
    pub size: Option<(u16, u16)>,
}

/// What a container's processes are allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// What is left of root.
    pub capabilities: CapabilitySets,
    /// Whether a filter applies.
    pub seccomp: bool,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// No path of /proc and /sys is masked or made read-only.
    pub system_paths: bool,
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
            // As in Docker: a profile that is asked for holds for a privileged container too.
            seccomp: match security.seccomp {
                Seccomp::Default => !config.privileged,
                Seccomp::Unconfined => false,
                Seccomp::Profile(_) => true,
            },
            no_new_privileges: security.no_new_privileges,
            system_paths: config.privileged || security.system_paths,
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
    let mut plan = Plan {
        process: Process {
            args: resolved.args.clone(),
            env: resolved.env.clone(),
            cwd: resolved.working_dir.clone(),
            user: user(&resolved.user, &config.group_add),
            terminal: config.tty.then(|| terminal(around.size.or(config.terminal_size))),
            capabilities: permissions.capabilities,
            no_new_privileges: permissions.no_new_privileges,
            rlimits: rlimits(config),
            seccomp: if permissions.seccomp { around.seccomp } else { Vec::new() },
            oom_score_adj: config.oom_score_adj,
            init: config.init,
            mapped_root: around.user_namespace.as_ref().map(UserNamespace::root),
        },
        mounts: mounts(config, folder),
        rootfs: rootfs(config, resolved, folder),
        hostname: resolved.hostname.clone(),
        domainname: config.domainname.clone(),
        namespaces: namespaces::new_ones(config)?,
        cgroup: around.cgroup,
        resources: Resources {
            io_max: around.disk_limits.io_max,
            io_weights: around.disk_limits.io_weights,
            ..limits::resources(&config.limits)
        },
        all_devices: config.privileged,
        devices: with_standard(around.devices),
        device_rules: around.device_rules,
        masked_paths: if permissions.system_paths { Vec::new() } else { defaults::masked_paths() },
        readonly_paths: if permissions.system_paths {
            Vec::new()
        } else {
            defaults::readonly_paths()
        },
        sysctls: sysctls(config, around.user_namespace.as_ref()),
        user_namespace: around.user_namespace,
    };
    namespaces::change_shared_memory(config, &mut plan)?;
    Ok(plan)
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
    ids: Option<&UserNamespace>,
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
        mapped_root: ids.map(UserNamespace::root),
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

/// The defaults and what was asked for, which comes later and wins.
fn sysctls(config: &Config, ids: Option<&UserNamespace>) -> Vec<(String, String)> {
    let mut list = defaults::sysctls(ids);
    list.retain(|(name, _)| !config.sysctls.contains_key(name));
    list.extend(config.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())));
    list
}

fn with_standard(of_the_vm: Vec<Device>) -> Vec<Device> {
    let mut list = defaults::devices();
    for more in of_the_vm {
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
    // These come from the container's own devpts.
    if ["/dev/ptmx", "/dev/console", "/dev/tty"].iter().any(|own| path == Path::new(own)) {
        return None;
    }
    devices::node(path, metadata)
}

#[cfg(test)]
mod tests {
    use linkspan_runtime::plan::Namespaces;

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
        let vda = Device {
            path: "/dev/vda".into(),
            block: true,
            major: 254,
            minor: 0,
            mode: 0o600,
            uid: 0,
            gid: 0,
        };
        let around = Surroundings {
            cgroup: "linkspan/containers/x".into(),
            folder: "/var/lib/linkspan/containers/x".into(),
            devices: if config.privileged { vec![vda] } else { Vec::new() },
            device_rules: Vec::new(),
            disk_limits: Resources::default(),
            seccomp: vec![1, 2],
            user_namespace: None,
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
    fn what_is_shared_is_not_new_and_brings_its_shared_memory() {
        let modes = |pid: &str, ipc: &str, cgroup: &str| {
            plan(&Config {
                pid_mode: pid.into(),
                ipc_mode: ipc.into(),
                cgroupns_mode: cgroup.into(),
                ..Config::default()
            })
        };
        let shm = |plan: &Plan| {
            let at = |mount: &&Mount| mount.destination == Path::new("/dev/shm");
            plan.mounts.iter().find(at).map(|mount| mount.kind.clone())
        };
        let host = modes("host", "host", "host");
        let none = host.namespaces;
        assert!(!none.pid && !none.ipc && !none.cgroup && none.uts && none.network);
        assert!(matches!(shm(&host), Some(MountKind::Bind(_))));
        let joined = modes("container:a", "container:a", "private");
        assert!(!joined.namespaces.pid && !joined.namespaces.ipc && joined.namespaces.cgroup);
        assert_eq!(shm(&joined), Some(MountKind::JoinedSharedMemory));
        assert_eq!(shm(&modes("", "none", "")), None);
        assert!(matches!(shm(&modes("", "shareable", "")), Some(MountKind::Fs { .. })));
    }

    #[test]
    fn a_terminal_has_the_size_that_was_asked_for() {
        let size = |terminal_size, tty| {
            let plan = plan(&Config { terminal_size, tty, ..Config::default() });
            plan.process.terminal.map(|size| (size.rows, size.columns))
        };
        assert_eq!(size(Some((30, 100)), true), Some((30, 100)));
        assert_eq!(size(None, true), Some((24, 80)));
        assert_eq!(size(Some((30, 100)), false), None);
    }

    #[test]
    fn a_parameter_that_is_asked_for_replaces_the_default() {
        let name = "net.ipv4.ip_unprivileged_port_start".to_owned();
        let sysctls = vec![(name.clone(), "1024".to_owned())].into_iter().collect();
        let plan = plan(&Config { sysctls, ..Config::default() });
        let found: Vec<_> = plan.sysctls.iter().filter(|(known, _)| *known == name).collect();
        assert_eq!(found, [&(name, "1024".to_owned())]);
    }

    #[test]
    fn unconfined_system_paths_lift_the_masks_and_nothing_else() {
        let security_opts = vec!["systempaths=unconfined".to_owned()];
        let plan = plan(&Config { security_opts, ..Config::default() });
        assert!(plan.masked_paths.is_empty() && plan.readonly_paths.is_empty());
        assert_eq!(plan.process.seccomp, [1, 2]);
        assert!(readonly(&plan, "/sys") && !plan.all_devices);
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
        let process = exec(&config, &resolved, &asked, vec![7], None).unwrap();
        assert_eq!(process.user.user, "web");
        assert_eq!(process.env, resolved.env);
        assert_eq!(process.seccomp, [7]);
        let asked = ExecConfig { user: "0".into(), privileged: true, ..asked };
        let process = exec(&config, &resolved, &asked, vec![7], None).unwrap();
        assert_eq!((process.user.user.as_str(), process.seccomp.len()), ("0", 0));
        assert_eq!(process.capabilities.effective, capabilities::ALL);
    }
}
