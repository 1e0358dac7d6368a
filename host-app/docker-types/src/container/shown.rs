//! `Config` and `HostConfig` of a container that exists.

use linkspan_proto::v1::{self as wire, ContainerConfig, ContainerDetail, MountType};

use super::config::{Config, Healthcheck};
use super::host_config::{
    Device, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use super::refused::RUNTIME;
use super::{mount, network, port};
use crate::{pairs, set, some};

/// Docker's stop time-out of -1, in seconds on the wire.
pub(crate) const FOR_EVER: u32 = u32::MAX;

/// The runtime's `defaults::masked_paths`, which a test compares.
pub(crate) const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// The runtime's `defaults::readonly_paths`.
pub(crate) const READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Numbers of the wire that Docker has as signed ones.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<&wire::Healthcheck> for Healthcheck {
    fn from(check: &wire::Healthcheck) -> Self {
        Self {
            test: check.test.clone(),
            interval: signed(check.interval_nanos),
            timeout: signed(check.timeout_nanos),
            start_period: signed(check.start_period_nanos),
            start_interval: signed(check.start_interval_nanos),
            retries: check.retries.into(),
        }
    }
}

impl From<&ContainerDetail> for Config {
    fn from(detail: &ContainerDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        let asked = detail.config.clone().unwrap_or_default();
        let is_anonymous = |mount: &&wire::Mount| {
            let kind = mount.r#type();
            mount.source.is_empty() && matches!(kind, MountType::Volume | MountType::Unspecified)
        };
        let volumes = set(asked.mounts.iter().filter(is_anonymous).map(|mount| &mount.target));
        Self {
            hostname: detail.hostname.clone(),
            domainname: asked.domainname,
            user: detail.user.clone(),
            // Docker sets the one where the other is.
            attach_stdin: asked.stdin_once,
            attach_stdout: false,
            attach_stderr: false,
            exposed_ports: set(&summary.exposed_ports),
            tty: asked.tty,
            open_stdin: asked.open_stdin,
            stdin_once: asked.stdin_once,
            env: Some(detail.env.clone()),
            cmd: some(&detail.command),
            healthcheck: detail.healthcheck.as_ref().map(Healthcheck::from),
            args_escaped: false,
            image: summary.image,
            volumes: (!volumes.is_empty()).then_some(volumes),
            working_dir: detail.working_dir.clone(),
            entrypoint: some(&detail.entrypoint),
            network_disabled: false,
            mac_address: String::new(),
            on_build: None,
            labels: pairs(&summary.labels),
            stop_signal: detail.stop_signal.clone(),
            stop_timeout: asked.stop_timeout_seconds.map(|seconds| match seconds {
                FOR_EVER => -1,
                seconds => seconds.into(),
            }),
            shell: None,
        }
    }
}

impl From<&ContainerDetail> for HostConfig {
    fn from(detail: &ContainerDetail) -> Self {
        let asked = detail.config.clone().unwrap_or_default();
        let limits = asked.resources.clone().unwrap_or_default();
        let asked_network = asked.network.clone().unwrap_or_default();
        let mut shown = Self {
            log_config: log(asked.log_config.as_ref()),
            network_mode: network::mode(asked.network.as_ref()),
            port_bindings: port::bindings(&asked.ports),
            restart_policy: restart(asked.restart_policy.as_ref()),
            auto_remove: asked.auto_remove,
            volume_driver: asked.volume_driver.clone(),
            volumes_from: some(&asked.volumes_from),
            annotations: pairs(&asked.annotations),
            cap_add: some(&asked.cap_add),
            cap_drop: some(&asked.cap_drop),
            cgroupns_mode: or_private(&asked.cgroupns_mode),
            dns: asked_network.dns_servers,
            dns_options: asked_network.dns_options,
            dns_search: asked_network.dns_search,
            extra_hosts: some(&asked_network.extra_hosts),
            group_add: some(&asked.group_add),
            ipc_mode: or_private(&asked.ipc_mode),
            oom_score_adj: asked.oom_score_adj.unwrap_or(0),
            pid_mode: asked.pid_mode.clone(),
            privileged: asked.privileged,
            publish_all_ports: asked.publish_all_ports,
            readonly_rootfs: asked.read_only_rootfs,
            security_opt: some(&asked.security_opts),
            uts_mode: asked.uts_mode.clone(),
            userns_mode: asked.userns_mode.clone(),
            shm_size: match asked.shm_size_bytes {
                0 => 64 << 20,
                size => signed(size),
            },
            sysctls: pairs(&asked.sysctls),
            runtime: RUNTIME.into(),
            devices: asked.devices.iter().map(Device::from).collect(),
            device_cgroup_rules: some(&asked.device_cgroup_rules),
            ulimits: asked.ulimits.iter().map(Ulimit::from).collect(),
            masked_paths: covered(&asked, MASKED),
            readonly_paths: covered(&asked, READONLY),
            init: Some(asked.init),
            ..Self::default()
        };
        limit(&mut shown, &limits);
        mount_all(&mut shown, &asked.mounts);
        shown
    }
}

fn limit(shown: &mut HostConfig, limits: &wire::Resources) {
    let weight = |device: &wire::DeviceAmount| WeightDevice {
        path: device.path.clone(),
        weight: u16::try_from(device.amount).unwrap_or(u16::MAX),
    };
    shown.cpu_shares = signed(limits.cpu_shares);
    shown.memory = signed(limits.memory_bytes);
    shown.nano_cpus = signed(limits.nano_cpus);
    shown.blkio_weight = u16::try_from(limits.blkio_weight).unwrap_or(u16::MAX);
    shown.blkio_weight_device = limits.blkio_weight_device.iter().map(weight).collect();
    shown.blkio_device_read_bps = rates(&limits.device_read_bps);
    shown.blkio_device_write_bps = rates(&limits.device_write_bps);
    shown.blkio_device_read_iops = rates(&limits.device_read_iops);
    shown.blkio_device_write_iops = rates(&limits.device_write_iops);
    shown.cpu_period = signed(limits.cpu_period_us);
    shown.cpu_quota = limits.cpu_quota_us;
    shown.cpuset_cpus.clone_from(&limits.cpuset_cpus);
    shown.cpuset_mems.clone_from(&limits.cpuset_mems);
    shown.memory_reservation = signed(limits.memory_reservation_bytes);
    shown.memory_swap = limits.memory_swap_bytes;
    shown.pids_limit = Some(limits.pids_limit).filter(|limit| *limit != 0);
}

fn mount_all(shown: &mut HostConfig, mounts: &[wire::Mount]) {
    for one in mounts {
        if let Some(bind) = mount::as_bind(one) {
            shown.binds.get_or_insert_default().push(bind);
        } else if mount::is_tmpfs_flag(one) {
            shown.tmpfs.insert(one.target.clone(), one.tmpfs_options.clone());
        } else {
            shown.mounts.push(one.into());
        }
    }
}

fn log(config: Option<&wire::LogConfig>) -> LogConfig {
    let config = config.cloned().unwrap_or_default();
    let driver = if config.driver.is_empty() { "json-file".into() } else { config.driver };
    LogConfig { r#type: driver, config: pairs(&config.options) }
}

fn restart(policy: Option<&wire::RestartPolicy>) -> RestartPolicy {
    let policy = policy.cloned().unwrap_or_default();
    let name = if policy.name.is_empty() { "no".into() } else { policy.name };
    RestartPolicy { name, maximum_retry_count: policy.maximum_retry_count.into() }
}

fn or_private(mode: &str) -> String {
    if mode.is_empty() { "private".into() } else { mode.to_owned() }
}

fn rates(list: &[wire::DeviceAmount]) -> Vec<ThrottleDevice> {
    let rate = |device: &wire::DeviceAmount| ThrottleDevice {
        path: device.path.clone(),
        rate: device.amount,
    };
    list.iter().map(rate).collect()
}

impl From<&wire::DeviceMapping> for Device {
    fn from(device: &wire::DeviceMapping) -> Self {
        let or = |own: &String, other: &str| {
            if own.is_empty() { other.to_owned() } else { own.clone() }
        };
        Self {
            path_on_host: device.host_path.clone(),
            path_in_container: or(&device.container_path, &device.host_path),
            cgroup_permissions: or(&device.permissions, "rwm"),
        }
    }
}

impl From<&wire::Ulimit> for Ulimit {
    fn from(limit: &wire::Ulimit) -> Self {
        // Docker's number for no limit is -1.
        let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
        Self { name: limit.name.clone(), hard: number(limit.hard), soft: number(limit.soft) }
    }
}

/// Docker: none at all for a privileged container, an empty list where it was asked for.
fn covered(asked: &ContainerConfig, paths: &[&str]) -> Option<Vec<String>> {
    let unconfined =
        |option: &String| option.split_once(['=', ':']) == Some(("systempaths", "unconfined"));
    if asked.privileged {
        return None;
    }
    let open = asked.security_opts.iter().any(unconfined);
    Some(if open { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() })
}
