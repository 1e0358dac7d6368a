//! `Config` and `HostConfig` of a container that exists.

use linkspan_proto::v1::{self as wire, ContainerConfig, ContainerDetail};

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
        let anonymous = asked.mounts.iter().filter(|mount| mount::is_anonymous_flag(mount));
        let main = asked.network.as_ref().and_then(|network| network.endpoints.first());
        let volumes = set(anonymous.map(|mount| &mount.target));
        Self {
            hostname: detail.hostname.clone(),
            domainname: asked.domainname,
            user: detail.user.clone(),
            // Docker sets the one where the other is.
            attach_stdin: asked.attach_stdin,
            attach_stdout: asked.attach_stdout,
            attach_stderr: asked.attach_stderr,
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
            mac_address: main.map(|endpoint| endpoint.mac_address.clone()).unwrap_or_default(),
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
            console_size: asked.terminal_size.map_or([0, 0], |size| [size.rows, size.columns]),
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
        } else if !mount::is_anonymous_flag(one) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn shown(config: ContainerConfig) -> Value {
        let detail = ContainerDetail { config: Some(config), ..ContainerDetail::default() };
        serde_json::to_value(HostConfig::from(&detail)).expect("JSON")
    }

    fn mounted(kind: wire::MountType, source: &str, target: &str) -> wire::Mount {
        wire::Mount {
            r#type: kind.into(),
            source: source.into(),
            target: target.into(),
            ..wire::Mount::default()
        }
    }

    #[test]
    fn each_mount_is_shown_once_and_in_the_form_of_its_flag() {
        use wire::MountType::{Bind, Tmpfs, Volume};
        let mode = |mode: &str, mount| wire::Mount { mode: mode.into(), ..mount };
        let mounts = vec![
            mounted(Bind, "/srv", "/a"),
            wire::Mount { read_only: true, ..mode("ro,rslave", mounted(Bind, "/srv", "/b")) },
            mounted(Volume, "data", "/c"),
            wire::Mount { no_copy: true, ..mode("nocopy", mounted(Volume, "data", "/d")) },
            wire::Mount { tmpfs_options: "size=1m".into(), ..mounted(Tmpfs, "", "/e") },
            // What only `--mount` says.
            wire::Mount { read_only: true, ..mounted(Bind, "/srv", "/f") },
            wire::Mount { subpath: "x".into(), ..mounted(Volume, "data", "/g") },
            wire::Mount { tmpfs_size_bytes: 7, ..mounted(Tmpfs, "", "/h") },
            mounted(Volume, "", "/i"),
            wire::Mount { read_only: true, ..mounted(Volume, "", "/j") },
        ];
        let value = shown(ContainerConfig { mounts, ..ContainerConfig::default() });
        assert_eq!(
            value["Binds"],
            json!(["/srv:/a", "/srv:/b:ro,rslave", "data:/c", "data:/d:nocopy"])
        );
        assert_eq!(value["Tmpfs"], json!({"/e": "size=1m"}));
        assert_eq!(
            value["Mounts"],
            json!([
                {"Type": "bind", "Source": "/srv", "Target": "/f", "ReadOnly": true},
                {"Type": "volume", "Source": "data", "Target": "/g",
                    "VolumeOptions": {"Subpath": "x"}},
                {"Type": "tmpfs", "Target": "/h", "TmpfsOptions": {"SizeBytes": 7}},
                {"Type": "volume", "Target": "/j", "ReadOnly": true},
            ])
        );
    }

    #[test]
    fn what_the_agent_fills_in_keeps_a_bind_a_bind() {
        let mut mount = mounted(wire::MountType::Bind, "/srv", "/a");
        mount.set_propagation(wire::MountPropagation::Rprivate);
        mount.set_recursive(wire::BindRecursive::Enabled);
        assert_eq!(mount::as_bind(&mount).as_deref(), Some("/srv:/a"));
        mount.set_recursive(wire::BindRecursive::Disabled);
        assert_eq!(mount::as_bind(&mount), None);
    }

    /// As Docker shows a container of `docker create IMAGE`.
    #[test]
    fn a_container_without_flags_has_dockers_defaults() {
        assert_eq!(
            shown(ContainerConfig::default()),
            json!({
                "Binds": null, "ContainerIDFile": "",
                "LogConfig": {"Type": "json-file", "Config": {}}, "NetworkMode": "bridge",
                "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
                "AutoRemove": false, "VolumeDriver": "", "VolumesFrom": null,
                "ConsoleSize": [0, 0], "CapAdd": null, "CapDrop": null, "CgroupnsMode": "private",
                "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null,
                "GroupAdd": null, "IpcMode": "private", "Cgroup": "", "Links": null,
                "OomScoreAdj": 0, "PidMode": "", "Privileged": false, "PublishAllPorts": false,
                "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "",
                "ShmSize": 67_108_864, "Runtime": "linkspan-init", "Isolation": "", "CpuShares": 0,
                "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
                "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [],
                "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CpuPeriod": 0,
                "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "",
                "CpusetMems": "", "Devices": [], "DeviceCgroupRules": null,
                "DeviceRequests": null, "MemoryReservation": 0, "MemorySwap": 0,
                "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": null,
                "Ulimits": [], "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0,
                "IOMaximumBandwidth": 0, "MaskedPaths": MASKED, "ReadonlyPaths": READONLY,
                "Init": false,
            })
        );
    }

    #[test]
    fn no_path_is_covered_for_those_who_asked() {
        let privileged = shown(ContainerConfig { privileged: true, ..ContainerConfig::default() });
        let security_opts = vec!["systempaths=unconfined".into()];
        let unconfined = shown(ContainerConfig { security_opts, ..ContainerConfig::default() });
        for field in ["MaskedPaths", "ReadonlyPaths"] {
            assert_eq!(privileged.get(field), Some(&Value::Null), "{field}");
            assert_eq!(unconfined[field], json!([]), "{field}");
        }
    }

    /// Host and guest meet in the contract only, which does not name these paths.
    #[test]
    fn the_covered_paths_are_the_runtimes() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-agent/runtime/src/defaults.rs");
        let source = std::fs::read_to_string(file).expect("the runtime's source is beside ours");
        for (function, ours) in [("masked_paths", MASKED), ("readonly_paths", READONLY)] {
            let (_, rest) =
                source.split_once(&format!("pub fn {function}()")).expect("the function is there");
            let (body, _) = rest.split_once("\n}").expect("it ends");
            let theirs: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
            assert_eq!(theirs, ours, "{function}");
        }
    }
}
