//! Between the wire's types and those of `containers`.

use std::time::Duration;

use jiff::Timestamp;
use linkspan_containers::{
    Changes, Error, Snapshot,
    config::{AttachConfig, Config, DeviceAmount, DeviceMapping, ExecConfig, Limits, Ulimit},
    error::Error as ContainerError,
    health::{Health, Healthcheck, ProbeResult},
    restart::RestartPolicy,
    state::{Kind, State},
    stats::{InterfaceUsage, Sample},
};
use linkspan_proto::{error::Failure, v1 as wire};

use super::{Guest, logs, mounts, networks, ports, stdio};
use crate::failure;

pub(super) fn nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or_default()
}

/// 0 means: no bound.
pub(super) fn bound(nanos: i64) -> Result<Option<Timestamp>, Error> {
    if nanos == 0 {
        return Ok(None);
    }
    Timestamp::from_nanosecond(nanos.into()).map(Some).map_err(|error| ContainerError::Invalid {
        option: "--since",
        why: format!("`{nanos}` is not a time: {error}"),
    })
}

fn policy(policy: &wire::RestartPolicy) -> Result<RestartPolicy, Error> {
    RestartPolicy::new(&policy.name, policy.maximum_retry_count)
}

fn restart_policy(asked: Option<&wire::RestartPolicy>) -> Result<RestartPolicy, Failure> {
    let asked = asked.map(policy).transpose();
    Ok(asked.map_err(|error| failure::of_container(&error))?.unwrap_or_default())
}

fn policy_to_wire(policy: RestartPolicy) -> wire::RestartPolicy {
    wire::RestartPolicy { name: policy.name().into(), maximum_retry_count: policy.max_retries() }
}

fn healthcheck(check: wire::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: check.test,
        interval: Duration::from_nanos(check.interval_nanos),
        timeout: Duration::from_nanos(check.timeout_nanos),
        start_period: Duration::from_nanos(check.start_period_nanos),
        start_interval: Duration::from_nanos(check.start_interval_nanos),
        retries: check.retries,
    }
}

fn healthcheck_to_wire(check: &Healthcheck) -> wire::Healthcheck {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    wire::Healthcheck {
        test: check.test.clone(),
        interval_nanos: nanos(check.interval),
        timeout_nanos: nanos(check.timeout),
        start_period_nanos: nanos(check.start_period),
        start_interval_nanos: nanos(check.start_interval),
        retries: check.retries,
    }
}

fn health_to_wire(health: &Health) -> wire::Health {
    let result = |result: &ProbeResult| wire::HealthResult {
        started_unix_nanos: nanos(result.started_at),
        finished_unix_nanos: nanos(result.finished_at),
        exit_code: result.exit_code,
        output: result.output.clone(),
    };
    wire::Health {
        status: health.status.word().into(),
        failing_streak: health.failing_streak,
        log: health.log.iter().map(result).collect(),
    }
}

/// Which container, and what changes.
pub(super) fn changes(request: wire::UpdateContainerRequest) -> Result<(String, Changes), Error> {
    let changes = Changes {
        memory: request.memory_bytes,
        memory_swap: request.memory_swap_bytes,
        memory_reservation: request.memory_reservation_bytes,
        nano_cpus: request.nano_cpus,
        cpu_shares: request.cpu_shares,
        cpuset_cpus: request.cpuset_cpus,
        cpuset_mems: request.cpuset_mems,
        pids: request.pids_limit,
        cpu_period: request.cpu_period_us,
        cpu_quota: request.cpu_quota_us,
        blkio_weight: request.blkio_weight,
        restart: request.restart_policy.as_ref().map(policy).transpose()?,
    };
    Ok((request.container, changes))
}

pub(super) fn sample(sample: Sample) -> wire::ContainerStats {
    wire::ContainerStats {
        id: sample.id.to_string(),
        name: sample.name,
        unix_nanos: nanos(sample.time),
        usage: sample.usage.map(|usage| wire::ContainerUsage {
            cpu_nanos: usage.cpu_ns,
            system_cpu_nanos: usage.system_ns,
            cpus: usage.cpus,
            memory_bytes: usage.memory,
            memory_limit_bytes: usage.memory_limit,
            pids: usage.pids,
            pids_limit: usage.pids_limit,
            block_read_bytes: usage.block_read,
            block_written_bytes: usage.block_written,
            interfaces: sample.interfaces.iter().map(interface).collect(),
        }),
        cpu_percent: sample.cpu_percent,
    }
}

fn interface(interface: &InterfaceUsage) -> wire::InterfaceUsage {
    let (received, sent) = (interface.received, interface.sent);
    wire::InterfaceUsage {
        name: interface.name.clone(),
        received_bytes: received.bytes,
        received_packets: received.packets,
        received_errors: received.errors,
        received_dropped: received.dropped,
        sent_bytes: sent.bytes,
        sent_packets: sent.packets,
        sent_errors: sent.errors,
        sent_dropped: sent.dropped,
    }
}

fn amounts(list: Vec<wire::DeviceAmount>) -> Vec<DeviceAmount> {
    list.into_iter()
        .map(|device| DeviceAmount { path: device.path.into(), amount: device.amount })
        .collect()
}

fn amounts_to_wire(list: &[DeviceAmount]) -> Vec<wire::DeviceAmount> {
    list.iter()
        .map(|device| wire::DeviceAmount {
            path: device.path.display().to_string(),
            amount: device.amount,
        })
        .collect()
}

/// Docker's resource options, not checked.
pub(crate) fn limits(limits: wire::Resources) -> Limits {
    Limits {
        memory: limits.memory_bytes,
        memory_swap: limits.memory_swap_bytes,
        memory_reservation: limits.memory_reservation_bytes,
        nano_cpus: limits.nano_cpus,
        cpu_shares: limits.cpu_shares,
        cpuset_cpus: limits.cpuset_cpus,
        cpuset_mems: limits.cpuset_mems,
        pids: limits.pids_limit,
        cpu_period: limits.cpu_period_us,
        cpu_quota: limits.cpu_quota_us,
        blkio_weight: limits.blkio_weight,
        blkio_weight_device: amounts(limits.blkio_weight_device),
        device_read_bps: amounts(limits.device_read_bps),
        device_write_bps: amounts(limits.device_write_bps),
        device_read_iops: amounts(limits.device_read_iops),
        device_write_iops: amounts(limits.device_write_iops),
    }
}

/// # Errors
/// What does not exist or cannot be: a restart policy, an address.
pub(super) fn config(config: wire::ContainerConfig) -> Result<Config, Failure> {
    Ok(Config {
        image: config.image,
        command: config.command,
        entrypoint: config.entrypoint.map(|entrypoint| entrypoint.args),
        env: config.env,
        working_dir: config.working_dir,
        user: config.user,
        hostname: config.hostname,
        domainname: config.domainname,
        tty: config.tty,
        terminal_size: stdio::size(config.terminal_size),
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        attach: AttachConfig {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
        },
        labels: config.labels.into_iter().collect(),
        auto_remove: config.auto_remove,
        read_only_rootfs: config.read_only_rootfs,
        cap_add: config.cap_add,
        cap_drop: config.cap_drop,
        privileged: config.privileged,
        limits: limits(config.resources.unwrap_or_default()),
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout_seconds,
        ulimits: config
            .ulimits
            .into_iter()
            .map(|ulimit| Ulimit { name: ulimit.name, soft: ulimit.soft, hard: ulimit.hard })
            .collect(),
        security_opts: config.security_opts,
        group_add: config.group_add,
        network: networks::config(config.network.unwrap_or_default())?,
        ports: ports::config(&config.ports, &config.exposed_ports, config.publish_all_ports)?,
        restart: restart_policy(config.restart_policy.as_ref())?,
        health: config.healthcheck.map(healthcheck),
        init: config.init,
        oom_score_adj: config.oom_score_adj,
        mounts: config.mounts.into_iter().map(mounts::from_wire).collect(),
        volumes_from: config.volumes_from,
        volume_driver: config.volume_driver,
        shm_size: config.shm_size_bytes,
        sysctls: config.sysctls.into_iter().collect(),
        pid_mode: config.pid_mode,
        ipc_mode: config.ipc_mode,
        uts_mode: config.uts_mode,
        cgroupns_mode: config.cgroupns_mode,
        userns_mode: config.userns_mode,
        annotations: config.annotations.into_iter().collect(),
        devices: config
            .devices
            .into_iter()
            .map(|device| DeviceMapping {
                host_path: device.host_path.into(),
                container_path: device.container_path.into(),
                permissions: device.permissions,
            })
            .collect(),
        device_cgroup_rules: config.device_cgroup_rules,
        log: logs::config(config.log_config.unwrap_or_default()),
    })
}

pub(super) fn exec(open: wire::ExecOpen) -> (String, ExecConfig) {
    let config = ExecConfig {
        id: open.id,
        args: open.args,
        env: open.env,
        working_dir: open.working_dir,
        user: open.user,
        tty: open.tty,
        stdin: open.stdin,
        privileged: open.privileged,
        detach: open.detach,
        size: super::stdio::size(open.size),
    };
    (open.container, config)
}

fn config_to_wire(config: &Config) -> wire::ContainerConfig {
    let limits = &config.limits;
    wire::ContainerConfig {
        image: config.image.clone(),
        command: config.command.clone(),
        entrypoint: config.entrypoint.clone().map(|args| wire::Entrypoint { args }),
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        user: config.user.clone(),
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        tty: config.tty,
        terminal_size: config.terminal_size.map(|(rows, columns)| wire::TerminalSize {
            rows: rows.into(),
            columns: columns.into(),
        }),
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        attach_stdin: config.attach.stdin,
        attach_stdout: config.attach.stdout,
        attach_stderr: config.attach.stderr,
        labels: config.labels.clone().into_iter().collect(),
        auto_remove: config.auto_remove,
        read_only_rootfs: config.read_only_rootfs,
        cap_add: config.cap_add.clone(),
        cap_drop: config.cap_drop.clone(),
        privileged: config.privileged,
        resources: Some(wire::Resources {
            memory_bytes: limits.memory,
            memory_swap_bytes: limits.memory_swap,
            memory_reservation_bytes: limits.memory_reservation,
            nano_cpus: limits.nano_cpus,
            cpu_shares: limits.cpu_shares,
            cpuset_cpus: limits.cpuset_cpus.clone(),
            cpuset_mems: limits.cpuset_mems.clone(),
            pids_limit: limits.pids,
            cpu_period_us: limits.cpu_period,
            cpu_quota_us: limits.cpu_quota,
            blkio_weight: limits.blkio_weight,
            blkio_weight_device: amounts_to_wire(&limits.blkio_weight_device),
            device_read_bps: amounts_to_wire(&limits.device_read_bps),
            device_write_bps: amounts_to_wire(&limits.device_write_bps),
            device_read_iops: amounts_to_wire(&limits.device_read_iops),
            device_write_iops: amounts_to_wire(&limits.device_write_iops),
        }),
        stop_signal: config.stop_signal.clone(),
        stop_timeout_seconds: config.stop_timeout,
        ulimits: config
            .ulimits
            .iter()
            .map(|ulimit| wire::Ulimit {
                name: ulimit.name.clone(),
                soft: ulimit.soft,
                hard: ulimit.hard,
            })
            .collect(),
        security_opts: config.security_opts.clone(),
        group_add: config.group_add.clone(),
        network: Some(networks::config_to_wire(&config.network)),
        ports: config.ports.published.iter().map(ports::mapping_to_wire).collect(),
        exposed_ports: config.ports.exposed.iter().map(ToString::to_string).collect(),
        publish_all_ports: config.ports.publish_all,
        restart_policy: Some(policy_to_wire(config.restart)),
        healthcheck: config.health.as_ref().map(healthcheck_to_wire),
        init: config.init,
        oom_score_adj: config.oom_score_adj,
        mounts: config.mounts.iter().map(mounts::to_wire).collect(),
        volumes_from: config.volumes_from.clone(),
        volume_driver: config.volume_driver.clone(),
        shm_size_bytes: config.shm_size,
        sysctls: config.sysctls.clone().into_iter().collect(),
        pid_mode: config.pid_mode.clone(),
        ipc_mode: config.ipc_mode.clone(),
        uts_mode: config.uts_mode.clone(),
        cgroupns_mode: config.cgroupns_mode.clone(),
        userns_mode: config.userns_mode.clone(),
        annotations: config.annotations.clone().into_iter().collect(),
        devices: config
            .devices
            .iter()
            .map(|device| wire::DeviceMapping {
                host_path: device.host_path.display().to_string(),
                container_path: device.container_path.display().to_string(),
                permissions: device.permissions.clone(),
            })
            .collect(),
        device_cgroup_rules: config.device_cgroup_rules.clone(),
        log_config: Some(logs::config_to_wire(&config.log)),
    }
}

pub(super) fn summary(container: &Snapshot) -> wire::ContainerSummary {
    let (record, state) = (&container.record, &container.status.state);
    let exit = state.exit();
    let started = match state.process() {
        Some((_, started_at)) => Some(started_at),
        None => exit.map(|exit| exit.started_at),
    };
    wire::ContainerSummary {
        id: record.id.to_string(),
        name: record.name.clone(),
        image: record.config.image.clone(),
        image_id: record.resolved.image_id.clone(),
        command: record.resolved.args.clone(),
        created_unix_nanos: nanos(record.created_at),
        state: match state.kind() {
            Kind::Created => wire::ContainerState::Created,
            Kind::Running => wire::ContainerState::Running,
            Kind::Paused => wire::ContainerState::Paused,
            Kind::Restarting => wire::ContainerState::Restarting,
            Kind::Exited => wire::ContainerState::Exited,
            Kind::Removing | Kind::Removed => wire::ContainerState::Removing,
            Kind::Dead => wire::ContainerState::Dead,
        }
        .into(),
        started_unix_nanos: started.map_or(0, nanos),
        finished_unix_nanos: exit.map_or(0, |exit| nanos(exit.finished_at)),
        exit_code: state.failed().map_or_else(
            || exit.map_or(0, |exit| exit.code),
            linkspan_containers::error::LaunchError::exit_code,
        ),
        labels: record.resolved.labels.clone().into_iter().collect(),
        health: container.status.health.as_ref().map_or("", |h| h.status.word()).into(),
        ports: container.status.ports.iter().map(ports::published_to_wire).collect(),
        exposed_ports: record.resolved.exposed.iter().map(ToString::to_string).collect(),
        mounts: mounts::points(container),
        networks: container.networks.clone(),
        size: None,
    }
}

/// What a container takes; None: it has just been removed.
pub(super) async fn size(guest: &Guest, container: &Snapshot) -> Option<wire::ContainerSize> {
    let record = &container.record;
    let rw_bytes = guest.containers.written(record.id.as_str()).await.ok()?;
    let root_fs_bytes = rw_bytes + guest.images.layers_bytes(&record.resolved.diff_ids);
    Some(wire::ContainerSize { rw_bytes, root_fs_bytes })
}

pub(super) fn detail(container: &Snapshot) -> wire::ContainerDetail {
    let (record, state) = (&container.record, &container.status.state);
    let resolved = &record.resolved;
    let exit = state.exit();
    let file = |name: &str| container.folder.join(name).display().to_string();
    let (entrypoint, command) =
        resolved.args.split_at(resolved.entrypoint.min(resolved.args.len()));
    wire::ContainerDetail {
        summary: Some(summary(container)),
        config: Some(config_to_wire(&record.config)),
        pid: state.process().map_or(0, |(pid, _)| pid),
        oom_killed: container.status.oom_killed,
        error: match state {
            State::Dead { error, .. } => error.clone(),
            _ => state
                .failed()
                .map(|failed| failed.message.clone())
                .or_else(|| exit.map(|exit| exit.error.clone()))
                .unwrap_or_default(),
        },
        log_path: logs::path(container.log_path.as_deref()),
        hostname: resolved.hostname.clone(),
        working_dir: resolved.working_dir.display().to_string(),
        env: resolved.env.clone(),
        user: resolved.user.clone(),
        cgroup_path: container.cgroup.display().to_string(),
        rootfs_upper_dir: container.folder.join("upper").display().to_string(),
        capabilities: linkspan_runtime::capabilities::names(container.capabilities)
            .map(|capability| capability.to_string())
            .collect(),
        stop_signal: resolved.stop_signal.to_string(),
        start_trace: container
            .status
            .trace
            .iter()
            .map(|step| wire::TraceStep {
                name: step.name.clone(),
                started_us: step.started_us,
                duration_us: step.duration_us,
            })
            .collect(),
        endpoints: container.endpoints.iter().map(networks::endpoint).collect(),
        restart_count: container.status.restarts,
        health: container.status.health.as_deref().map(health_to_wire),
        healthcheck: resolved.health.as_ref().map(healthcheck_to_wire),
        mounts: mounts::points(container),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        resolv_conf_path: file("resolv.conf"),
        rootfs_lower_dirs: resolved.layers.iter().map(|path| path.display().to_string()).collect(),
        exec_ids: container.execs.iter().map(ToString::to_string).collect(),
        entrypoint: entrypoint.to_vec(),
        command: command.to_vec(),
    }
}
