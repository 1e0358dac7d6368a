//! `Config` and `HostConfig` as the wire has them. Every field is taken apart by name, so that a new
//! one does not compile until it is honoured or refused.

use linkspan_proto::v1::{self as wire, ContainerConfig, Entrypoint, Mount, MountType};

use super::config::{Config, Healthcheck};
use super::host_config::{
    Device, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit, WeightDevice,
};
use super::refused::{self, RUNTIME};
use super::{mount, port, shown};
use crate::error::Refused;

/// A millisecond in nanoseconds (`container.MinimumDuration`).
const SHORTEST: i64 = 1_000_000;

fn unsupported<T>(field: &'static str, why: &'static str) -> Result<T, Refused> {
    Err(Refused::Unsupported { field, why })
}

fn invalid<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Invalid(why.into()))
}

/// The first of these that is given is refused.
pub(crate) fn refuse(given: &[(bool, &'static str, &'static str)]) -> Result<(), Refused> {
    match given.iter().find(|(given, _, _)| *given) {
        Some((_, field, why)) => unsupported(field, why),
        None => Ok(()),
    }
}

pub(crate) fn amount(field: &str, value: i64) -> Result<u64, Refused> {
    u64::try_from(value).or_else(|_| invalid(format!("invalid {field}: {value} is negative")))
}

fn list(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default()
}

/// What of a `Config` goes into the wire's, and whether it wants no network.
pub(crate) fn config(config: Config) -> Result<(ContainerConfig, bool), Refused> {
    let Config {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports,
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        healthcheck,
        // Of Windows; Docker Engine on Linux does not look at it either.
        args_escaped: _,
        image,
        volumes,
        working_dir,
        entrypoint,
        network_disabled,
        // Moved to its network by `compat::create`.
        mac_address: _,
        on_build,
        labels,
        stop_signal,
        stop_timeout,
        shell,
    } = config;
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|all| !all.is_empty());
    refuse(&[
        (given(&on_build), "Config.OnBuild", "triggers belong to images"),
        (given(&shell), "Config.Shell", "a shell of its own belongs to images"),
    ])?;
    let anonymous = volumes.unwrap_or_default().into_keys().map(|target| Mount {
        r#type: MountType::Volume.into(),
        target,
        ..Mount::default()
    });
    // Less than nothing: Docker waits for ever.
    let stop_timeout_seconds =
        stop_timeout.map(|seconds| u32::try_from(seconds).unwrap_or(shown::FOR_EVER));
    // The command line's `--entrypoint ''` arrives as one empty string.
    let entrypoint = entrypoint
        .map(|args| Entrypoint { args: if args == [String::new()] { Vec::new() } else { args } });
    let wire = ContainerConfig {
        image,
        command: list(cmd),
        entrypoint,
        env: list(env),
        working_dir,
        user,
        hostname,
        domainname,
        tty,
        open_stdin,
        stdin_once,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        labels: labels.into_iter().collect(),
        stop_signal,
        stop_timeout_seconds,
        healthcheck: healthcheck
            .map(probe)
            .transpose()?
            .filter(|probe| *probe != Default::default()),
        mounts: anonymous.collect(),
        exposed_ports: port::exposed(&exposed_ports)?,
        ..ContainerConfig::default()
    };
    Ok((wire, network_disabled))
}

/// Docker's `validateHealthCheck`.
pub(crate) fn probe(check: Healthcheck) -> Result<wire::Healthcheck, Refused> {
    let Healthcheck { test, interval, timeout, start_period, start_interval, retries } = check;
    let span = |name: &str, nanos: i64| match nanos {
        0 => Ok(0),
        nanos if nanos < SHORTEST => {
            invalid(format!("{name} in Healthcheck cannot be less than one millisecond"))
        }
        nanos => Ok(nanos.unsigned_abs()),
    };
    Ok(wire::Healthcheck {
        test,
        interval_nanos: span("Interval", interval)?,
        timeout_nanos: span("Timeout", timeout)?,
        start_period_nanos: span("StartPeriod", start_period)?,
        start_interval_nanos: span("StartInterval", start_interval)?,
        retries: u32::try_from(retries)
            .or_else(|_| invalid("Retries in Healthcheck cannot be negative"))?,
    })
}

/// Puts a `HostConfig` into the wire's configuration. What it says of networks is the caller's.
pub(crate) fn host_config(host: HostConfig, wire: &mut ContainerConfig) -> Result<(), Refused> {
    let HostConfig {
        binds,
        // The client writes it.
        container_id_file: _,
        log_config,
        // Of networks: see `create`.
        network_mode: _,
        port_bindings,
        restart_policy,
        auto_remove,
        volume_driver,
        volumes_from,
        // How the terminal begins: clients say its size again when the container runs.
        console_size: _,
        annotations,
        cap_add,
        cap_drop,
        cgroupns_mode,
        dns: _,
        dns_options: _,
        dns_search: _,
        extra_hosts: _,
        group_add,
        ipc_mode,
        cgroup,
        links,
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt,
        tmpfs,
        uts_mode,
        userns_mode,
        shm_size,
        sysctls,
        runtime,
        isolation,
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices,
        device_cgroup_rules,
        device_requests,
        // Docker Engine discards both, with a warning; see `create`.
        kernel_memory: _,
        kernel_memory_tcp: _,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits,
        cpu_count,
        cpu_percent,
        io_maximum_iops,
        io_maximum_bandwidth,
        mounts,
        masked_paths,
        readonly_paths,
        init,
    } = host;
    let links = list(links);
    refuse(&[
        (!links.is_empty(), "HostConfig.Links", refused::LINKS),
        (!storage_opt.is_empty(), "HostConfig.StorageOpt", refused::STORAGE),
        (!cgroup.is_empty(), "HostConfig.Cgroup", refused::CGROUP),
        (!cgroup_parent.is_empty(), "HostConfig.CgroupParent", refused::CGROUP),
        (
            device_requests.is_some_and(|all| !all.is_empty()),
            "HostConfig.DeviceRequests",
            refused::DEVICE_REQUESTS,
        ),
        (cpu_realtime_period != 0, "HostConfig.CpuRealtimePeriod", refused::REAL_TIME),
        (cpu_realtime_runtime != 0, "HostConfig.CpuRealtimeRuntime", refused::REAL_TIME),
        // -1 is the command line's word for nothing.
        (
            memory_swappiness.is_some_and(|value| value != -1),
            "HostConfig.MemorySwappiness",
            refused::SWAPPINESS,
        ),
        (oom_kill_disable == Some(true), "HostConfig.OomKillDisable", refused::OOM_KILL_DISABLE),
        (!["", RUNTIME].contains(&runtime.as_str()), "HostConfig.Runtime", refused::ONE_RUNTIME),
        (
            !["", "default"].contains(&isolation.to_ascii_lowercase().as_str()),
            "HostConfig.Isolation",
            refused::WINDOWS,
        ),
        (cpu_count != 0, "HostConfig.CpuCount", refused::WINDOWS),
        (cpu_percent != 0, "HostConfig.CpuPercent", refused::WINDOWS),
        (io_maximum_iops != 0, "HostConfig.IOMaximumIOps", refused::WINDOWS),
        (io_maximum_bandwidth != 0, "HostConfig.IOMaximumBandwidth", refused::WINDOWS),
    ])?;
    wire.restart_policy = restart(&restart_policy, auto_remove)?;
    wire.auto_remove = auto_remove;
    wire.log_config = log(log_config);
    wire.ports = port::mappings(&port_bindings)?;
    wire.publish_all_ports = publish_all_ports;
    wire.volume_driver = volume_driver;
    wire.volumes_from = list(volumes_from);
    wire.annotations = annotations.into_iter().collect();
    wire.cap_add = list(cap_add);
    wire.cap_drop = list(cap_drop);
    wire.group_add = list(group_add);
    wire.cgroupns_mode = cgroupns_mode;
    wire.ipc_mode = ipc_mode;
    wire.pid_mode = pid_mode;
    wire.uts_mode = uts_mode;
    wire.userns_mode = userns_mode;
    wire.privileged = privileged;
    wire.read_only_rootfs = readonly_rootfs;
    wire.security_opts = list(security_opt);
    wire.security_opts.extend(uncovered(masked_paths, readonly_paths)?);
    wire.sysctls = sysctls.into_iter().collect();
    wire.init = init.unwrap_or(false);
    wire.oom_score_adj = (oom_score_adj != 0).then_some(oom_score_adj);
    wire.shm_size_bytes = match shm_size {
        size if size < 0 => return invalid("SHM size can not be less than 0"),
        size => size.unsigned_abs(),
    };
    wire.devices = devices.into_iter().map(device).collect();
    wire.device_cgroup_rules = list(device_cgroup_rules);
    wire.ulimits = ulimits.into_iter().map(ulimit).collect();
    wire.resources = Some(wire::Resources {
        memory_bytes: amount("Memory", memory)?,
        memory_swap_bytes: memory_swap,
        memory_reservation_bytes: amount("MemoryReservation", memory_reservation)?,
        nano_cpus: amount("NanoCpus", nano_cpus)?,
        cpu_shares: amount("CpuShares", cpu_shares)?,
        cpuset_cpus,
        cpuset_mems,
        pids_limit: pids_limit.filter(|limit| *limit > 0).unwrap_or(0),
        cpu_period_us: amount("CpuPeriod", cpu_period)?,
        cpu_quota_us: cpu_quota,
        blkio_weight: blkio_weight.into(),
        blkio_weight_device: blkio_weight_device.into_iter().map(weight).collect(),
        device_read_bps: rates(blkio_device_read_bps),
        device_write_bps: rates(blkio_device_write_bps),
        device_read_iops: rates(blkio_device_read_iops),
        device_write_iops: rates(blkio_device_write_iops),
    });
    mount_all(wire, &list(binds), &mounts, &tmpfs)
}

/// All four lists of mounts. An image's or a client's anonymous volume gives way to what is mounted
/// in its place.
fn mount_all(
    wire: &mut ContainerConfig,
    binds: &[String],
    mounts: &[mount::Mount],
    tmpfs: &crate::Pairs,
) -> Result<(), Refused> {
    let mut all = Vec::new();
    for text in binds {
        all.push(mount::bind(text).map_err(Refused::Invalid)?);
    }
    for mount in mounts {
        all.push(mount.read()?);
    }
    all.extend(tmpfs.iter().map(|(target, options)| mount::tmpfs(target, options)));
    let place = |target: &str| target.trim_end_matches('/').to_owned();
    wire.mounts.retain(|own| !all.iter().any(|other| place(&other.target) == place(&own.target)));
    all.append(&mut wire.mounts);
    wire.mounts = all;
    Ok(())
}

/// `ValidateRestartPolicy`
pub(crate) fn restart(
    policy: &RestartPolicy,
    auto_remove: bool,
) -> Result<Option<wire::RestartPolicy>, Refused> {
    let RestartPolicy { name, maximum_retry_count } = policy;
    let about = "invalid restart policy: maximum retry count";
    match name.as_str() {
        "" => return Ok(None),
        "no" | "always" | "unless-stopped" if *maximum_retry_count == 0 => {}
        "no" | "always" | "unless-stopped" => {
            let more = if *maximum_retry_count < 0 { " and cannot be negative" } else { "" };
            return invalid(format!("{about} can only be used with 'on-failure'{more}"));
        }
        "on-failure" if *maximum_retry_count >= 0 => {}
        "on-failure" => return invalid(format!("{about} cannot be negative")),
        other => {
            return invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    }
    if auto_remove && name != "no" {
        return invalid("can't create 'AutoRemove' container with restart policy");
    }
    Ok(Some(wire::RestartPolicy {
        name: name.clone(),
        maximum_retry_count: u32::try_from(*maximum_retry_count)
            .or_else(|_| invalid(format!("{about} is too large")))?,
    }))
}

fn log(config: LogConfig) -> Option<wire::LogConfig> {
    let LogConfig { r#type, config } = config;
    let empty = r#type.is_empty() && config.is_empty();
    (!empty).then(|| wire::LogConfig { driver: r#type, options: config.into_iter().collect() })
}

fn device(device: Device) -> wire::DeviceMapping {
    let Device { path_on_host, path_in_container, cgroup_permissions } = device;
    wire::DeviceMapping {
        host_path: path_on_host,
        container_path: path_in_container,
        permissions: cgroup_permissions,
    }
}

fn ulimit(limit: Ulimit) -> wire::Ulimit {
    let Ulimit { name, hard, soft } = limit;
    // -1 is no limit.
    let number = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    wire::Ulimit { name, soft: number(soft), hard: number(hard) }
}

fn weight(device: WeightDevice) -> wire::DeviceAmount {
    wire::DeviceAmount { path: device.path, amount: device.weight.into() }
}

fn rates(devices: Vec<ThrottleDevice>) -> Vec<wire::DeviceAmount> {
    let rate =
        |device: ThrottleDevice| wire::DeviceAmount { path: device.path, amount: device.rate };
    devices.into_iter().map(rate).collect()
}

/// The client turns `systempaths=unconfined` into two empty lists.
fn uncovered(
    masked: Option<Vec<String>>,
    readonly: Option<Vec<String>>,
) -> Result<Option<String>, Refused> {
    let own = |list: &Option<Vec<String>>, ours: &[&str]| {
        list.as_ref().is_none_or(|list| list.iter().map(String::as_str).eq(ours.iter().copied()))
    };
    match (&masked, &readonly) {
        (Some(masked), Some(readonly)) if masked.is_empty() && readonly.is_empty() => {
            Ok(Some("systempaths=unconfined".into()))
        }
        _ if !own(&masked, shown::MASKED) => {
            unsupported("HostConfig.MaskedPaths", "all of the usual paths are covered, or none")
        }
        _ if !own(&readonly, shown::READONLY) => {
            unsupported("HostConfig.ReadonlyPaths", "all of the usual paths are covered, or none")
        }
        _ => Ok(None),
    }
}
